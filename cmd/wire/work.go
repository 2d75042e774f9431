package wire

import (
	"context"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/store/offline"
)

// Work is a work area of the tables' store as batch knows it. It is a batch.Work.
type Work struct {
	*offline.Work
	// Keep says which rows of tables are kept.
	Keep offline.Keep
}

// Begin implements batch.Work.
func (w Work) Begin(ctx context.Context, unit string, memory int) (batch.Output, error) {
	o, err := w.Work.Begin(ctx, unit, memory, w.Keep)
	if err != nil {
		return nil, err // not a nil *offline.Output in a batch.Output
	}
	return o, nil
}
