package offline

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
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
	last := ""
	ageFiles(t, g, func(path string) bool { // written eight days ago, all but one
		old := last != "" && strings.Contains(path, staging)
		last = path
		return old
	})
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

// B2, B4: a publication that was killed has moved files to their places; a rerun days later
// makes them young before the log names them, and GC beside it leaves them.
func TestGCBesideALateRerun(t *testing.T) {
	root := localRoot(t, RootOptions{})
	g := newGCRig(t, root)
	g.publish(1, 4, 1)
	r := randomRun(g.tables.view, 2, 4)
	o := stageOptions{id: "x", seed: 1, work: NewScratch(t.TempDir()), end: 2}
	for _, name := range tableOrder { // each time before the commit of one more table
		at := newGCRig(t, root).tables
		at.tables[name].store = &failing{Store: at.tables[name].store}
		if err := r.interrupted(t.Context(), t, at, o); !errors.Is(err, errFailing) {
			t.Fatal(err)
		}
		ageFiles(t, g, func(string) bool { return true })
		s := r.resumed(t, newGCRig(t, root).tables, o)
		if _, err := s.settle(t.Context(), name, false); err != nil {
			t.Fatal(err)
		}
		if _, err := root.GC(t.Context(), GCOptions{Retain: 7 * day, Now: time.Now()}); err != nil {
			t.Fatalf("gc: %v", err)
		}
		have := g.files()
		for _, f := range s.Files[name] {
			if !have[string(name)+"/"+f.Path] {
				t.Errorf("B2: gc takes %s of %s, which the rerun is about to name", f.Path, name)
			}
		}
	}
	if err := r.interrupted(t.Context(), t, newGCRig(t, root).tables, o); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, newGCRig(t, root).tables).String(); got != r.sorted().String() {
		t.Error("B4: the tables read otherwise")
	}
}

// resumed is what a run has staged that was killed.
func (r *run) resumed(t *testing.T, tables *Tables, o stageOptions) *Staged {
	t.Helper()
	to, err := newRun(t, tables, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := to.Staged(t.Context(), o.theCut())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// B2: to make files young costs a call where one is found in its place unnamed, and none
// where it is moved there or the version before names it.
func TestCallsToSettle(t *testing.T) {
	calls := NewCalls(0)
	root := localRoot(t, RootOptions{Calls: calls})
	g := newGCRig(t, root)
	r := randomRun(g.tables.view, 2, 4)
	o := stageOptions{id: "x", seed: 1, work: NewScratch(t.TempDir()), end: 2}
	_, s, err := r.stage(t.Context(), t, g.tables, o)
	if err != nil {
		t.Fatal(err)
	}
	cost := func(what string, s *Staged, copies, heads int) {
		t.Helper()
		before, n := calls.Counts(), len(s.Files[Tiles])
		if _, err := s.settle(t.Context(), Tiles, false); err != nil {
			t.Fatal(err)
		}
		if c := calls.Counts().Since(before); c != (CallCounts{Copy: int64(copies * n), Head: int64(heads * n)}) {
			t.Errorf("B2: %d files %s: %+v", n, what, c)
		}
	}
	cost("that wait", s, 1, 0)
	cost("in their places", r.resumed(t, newGCRig(t, root).tables, o), 2, 1)
	if _, err := s.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"}); err != nil {
		t.Fatal(err)
	}
	cost("that are named", r.resumed(t, newGCRig(t, root).tables, o), 1, 1)
}

// ageFiles makes files of tables, staged ones among them, eight days old.
func ageFiles(t *testing.T, g *gcRig, which func(path string) bool) {
	t.Helper()
	for _, name := range tableOrder {
		s, err := g.root.store(g.tables.view.Name, string(name))
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := s.(*counted); ok {
			s = c.store
		}
		l := s.(*Local)
		err = filepath.WalkDir(l.root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".parquet") && which(path) {
				rel, _ := filepath.Rel(l.root, path)
				setTime(t, l, filepath.ToSlash(rel), time.Now().Add(-8*day))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
