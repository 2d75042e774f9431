package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Newer tells whether the table has a version after the given one, by one look.
func (t *Table) Newer(ctx context.Context, version int64) (bool, error) {
	_, err := t.store.Read(ctx, logName(version+1))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("table %s, version %d: %w", t.name, version+1, err)
	}
	return true, nil
}
