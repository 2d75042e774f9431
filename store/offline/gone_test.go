package offline

import (
	"context"
	"errors"
	"testing"
)

// goneAfter removes the work area once a file has been looked at.
type goneAfter struct {
	Store
	dir string
}

func (g *goneAfter) Stat(ctx context.Context, name string) (Entry, error) {
	e, err := g.Store.Stat(ctx, name)
	return e, errors.Join(err, g.RemoveAll(ctx, g.dir))
}

// B4: the same job in two processes, of which one publishes and cleans up: the other one
// finds that a unit is not finished, and begins again, whenever the files go.
func TestWorkThatGoesIsUnfinished(t *testing.T) {
	files := NewScratch(t.TempDir())
	out, err := NewWork(files, "job", nil).Begin(t.Context(), "read-0", 1<<20, Keep{})
	if err == nil {
		err = errors.Join(out.Put(0, 0, []byte("row")), out.Finish(t.Context(), nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	w := NewWork(&goneAfter{files, "job"}, "job", nil)
	defer w.Close()
	err = w.Rows(t.Context(), "read-0", 0, 0, func([]byte) error { return nil })
	var unfinished *UnfinishedError
	if !errors.As(err, &unfinished) {
		t.Errorf("%v", err)
	}
}
