package offline

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"
	"time"
)

// gcBefore runs something before a commit takes its name.
type gcBefore struct {
	Store
	run func()
}

func (g *gcBefore) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if g.run != nil {
		g.run()
		g.run = nil
	}
	return g.Store.PutIfAbsent(ctx, name, data)
}

// B2: what a job has moved to its place is young, however long it was staged: a unit that
// wrote days ago, of a large job or of one that the gate held. GC that runs just before
// the log names it leaves it.
func TestGCBesideALongJob(t *testing.T) {
	root := localRoot(t, RootOptions{})
	g := newGCRig(t, root)
	g.publish(1, 4, 1)
	r := randomRun(g.tables.view, 2, 4)
	w, s := r.must(t, g.tables)
	defer w.Clean(t.Context())
	old := time.Now().Add(-8 * day)
	var last string
	for _, table := range g.tables.tables { // written eight days ago, all but the last one
		l := table.store.(*Local)
		err := filepath.WalkDir(filepath.Join(l.root, staging), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(l.root, path)
				if last != "" {
					setTime(t, l, filepath.ToSlash(rel), old)
				}
				last = path
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	features := g.tables.tables[Features]
	features.store = &gcBefore{features.store, func() {
		if _, err := root.GC(t.Context(), GCOptions{Retain: 7 * day, Now: time.Now()}); err != nil {
			t.Fatalf("gc: %v", err)
		}
	}}
	if _, err := s.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"}); err != nil {
		t.Fatal(err)
	}
	g.tables = newGCRig(t, root).tables
	have := g.files()
	for name := range g.named(Latest) {
		if !have[name] {
			t.Errorf("B2: %s is published, and gone; neither the job nor gc said a word", name)
		}
	}
	if !t.Failed() && readBack(t, g.tables).String() != r.sorted().String() {
		t.Error("the tables read otherwise")
	}
}
