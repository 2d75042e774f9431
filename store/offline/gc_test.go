package offline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"
)

// gcRig is a root of the tables of one view.
type gcRig struct {
	*testing.T
	root   *Root
	tables *Tables
}

func newGCRig(t *testing.T, root *Root) *gcRig {
	t.Helper()
	tables, err := root.Tables(testView(t, testDefinition))
	if err != nil {
		t.Fatal(err)
	}
	return &gcRig{t, root, tables}
}

func (g *gcRig) publish(seed uint64, entities int, end int64) *run {
	g.Helper()
	r := randomRun(g.tables.view, seed, entities)
	if _, err := r.publish(g.T, g.tables, publishOptions{end: end}); err != nil {
		g.Fatal(err)
	}
	return r
}

// gc runs after a time has passed, by its clock.
func (g *gcRig) gc(after time.Duration, dry bool) map[string]GCTable {
	g.Helper()
	told := 0
	list, err := g.root.GC(g.Context(), GCOptions{Retain: 7 * 24 * time.Hour, Now: time.Now().Add(after), DryRun: dry, File: func(string) { told++ }})
	if err != nil {
		g.Fatal(err)
	}
	out := map[string]GCTable{}
	sum := int64(0)
	for _, t := range list {
		out[strings.TrimPrefix(t.Table, "v/")] = t
		sum += t.Removed + t.Staged
	}
	if len(list) != len(tableOrder) || int64(told) != sum {
		g.Errorf("%d tables, %d files told, %d counted", len(list), told, sum)
	}
	return out
}

// files returns the Parquet files of all tables.
func (g *gcRig) files() map[string]bool {
	g.Helper()
	out := map[string]bool{}
	for name, t := range g.tables.tables {
		var walk func(dir string)
		walk = func(dir string) {
			entries, err := t.store.List(g.Context(), dir)
			if err != nil {
				g.Fatal(err)
			}
			for _, e := range entries {
				if path := strings.TrimPrefix(dir+"/"+e.Name, "./"); e.Dir {
					walk(path)
				} else if strings.HasSuffix(path, ".parquet") {
					out[string(name)+"/"+path] = true
				}
			}
		}
		walk(".")
	}
	return out
}

// named returns the files that a version of each table names.
func (g *gcRig) named(version int64) map[string]bool {
	g.Helper()
	out := map[string]bool{}
	for name, t := range g.tables.tables {
		s, err := t.Snapshot(g.Context(), version)
		if err != nil {
			g.Fatal(err)
		}
		for _, f := range s.Files {
			out[string(name)+"/"+f.Path] = true
		}
	}
	return out
}

const day = 24 * time.Hour

// testGC: B2. GC takes what is old and unnamed, all of it and nothing else: not the
// newest version, not one that was it within the retention, not what a run stages.
func testGC(t *testing.T, root *Root) {
	g := newGCRig(t, root)
	g.publish(1, 6, 1)
	last := g.publish(2, 6, 2)
	_, killed := randomRun(g.tables.view, 3, 2).must(t, g.tables)
	before := g.files()
	if first := g.named(0); maps.Equal(first, g.named(1)) || len(first) == 0 {
		t.Fatal("the versions name the same files: the test looks at nothing")
	}

	for name, c := range g.gc(6*day, false) {
		if c.Removed+c.Staged+c.Uploads != 0 || c.Versions != 2 {
			t.Errorf("B2: %s is young: %+v", name, c)
		}
	}
	dry := g.gc(8*day, true)
	if !maps.Equal(g.files(), before) {
		t.Error("a dry run removes files")
	}
	for name, c := range g.gc(8*day, false) {
		if c != dry[name] {
			t.Errorf("%s: %+v, the dry run says %+v", name, c, dry[name])
		}
		if c.Versions != 1 || (c.Removed == 0 || c.Bytes == 0) && name != string(Quarantine) || c.Staged != 1 { // both runs quarantine the same
			t.Errorf("B2: %s: %+v", name, c)
		}
	}
	if got, want := g.files(), g.named(Latest); !maps.Equal(got, want) {
		t.Errorf("B2: %d files stay, the newest version names %d", len(got), len(want))
	}
	if got := readBack(t, g.tables).String(); got != last.sorted().String() {
		t.Error("B2: the newest publication reads otherwise")
	}
	if _, err := killed.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"}); !errors.Is(err, ErrConflict) {
		t.Errorf("a run whose staged files are gone publishes: %v", err)
	}
	again := g.gc(8*day, false)
	for name, c := range again {
		if c.Removed+c.Staged != 0 {
			t.Errorf("%s: a second run removes %+v", name, c)
		}
	}
	if r := g.publish(1, 6, 3); readBack(t, g.tables).String() != r.sorted().String() {
		t.Error("B1: what was removed does not come back with its next publication")
	}
}

func localRoot(t *testing.T, opt RootOptions) *Root {
	t.Helper()
	r, err := OpenRoot(t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGC(t *testing.T) { testGC(t, localRoot(t, RootOptions{})) }

// B2: a publication that was killed before its last commit leaves features at the
// versions before: these stay, however old.
func TestGCKeepsHalfPublished(t *testing.T) {
	g := newGCRig(t, localRoot(t, RootOptions{}))
	last := g.publish(1, 5, 1)
	w, s := randomRun(g.tables.view, 2, 5).must(t, g.tables)
	g.tables.tables[Features].store = &failing{Store: g.tables.tables[Features].store}
	if _, err := s.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"}); !errors.Is(err, errFailing) {
		t.Fatal(err)
	}
	g.tables = newGCRig(t, g.root).tables
	if v, err := g.tables.tables[Tiles].Snapshot(t.Context(), Latest); err != nil || v.Version != 1 {
		t.Fatalf("version %d, %v: the test looks at nothing", v.Version, err)
	}
	g.gc(100*day, false)
	if got := readBack(t, g.tables).String(); got != last.sorted().String() {
		t.Error("B2: the publication that features names reads otherwise")
	}
	w.Clean(t.Context())
}

var errFailing = errors.New("the disk is on fire")

// failing is a store that takes no commit.
type failing struct{ Store }

func (f *failing) PutIfAbsent(context.Context, string, []byte) error { return errFailing }

// B2: what stands in its place unnamed since long ago, and is needed again, is made
// young by the run that needs it, before its log names it.
func TestGCLeavesWhatIsAboutToBePublished(t *testing.T) {
	root := localRoot(t, RootOptions{})
	g := newGCRig(t, root)
	g.publish(1, 4, 1)
	old := time.Now().Add(-100 * day)
	w, s := randomRun(g.tables.view, 2, 4).must(t, g.tables)
	defer w.Clean(t.Context())
	f := s.Files[Tiles][0]
	tiles := g.tables.tables[Tiles].store.(*Local)
	put(t, tiles, f.Path, strings.Repeat("x", int(f.Info.Bytes))) // of the same size, by which it is known
	setTime(t, tiles, f.Path, old)
	if _, err := s.settle(t.Context(), Tiles, false); err != nil {
		t.Fatal(err)
	}
	if e, err := tiles.Stat(t.Context(), f.Path); err != nil || time.Since(e.Modified) > time.Hour || e.Size != f.Info.Bytes {
		t.Errorf("%+v, %v", e, err)
	}
	if read(t, tiles, f.Path) == strings.Repeat("x", int(f.Info.Bytes)) {
		t.Error("what stood in its place is taken for it")
	}
	if c := g.gc(0, false)["tiles"]; c.Removed != 0 || c.Young == 0 {
		t.Errorf("B2: %+v", c)
	}
}

func setTime(t *testing.T, l *Local, name string, at time.Time) {
	t.Helper()
	p, err := l.path(name)
	if err == nil {
		err = os.Chtimes(p, at, at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// B2: where a job publishes a file that GC has just found unnamed and old, GC says
// so, and the same replay puts it back.
func TestGCTellsOfALostFile(t *testing.T) {
	g := newGCRig(t, localRoot(t, RootOptions{}))
	g.publish(1, 4, 1)
	w, s := randomRun(g.tables.view, 2, 4).must(t, g.tables)
	defer w.Clean(t.Context())
	if _, err := s.settle(t.Context(), Tiles, false); err != nil {
		t.Fatal(err)
	}
	published := false
	opt := GCOptions{Retain: 7 * day, Now: time.Now().Add(8 * day), File: func(name string) {
		if strings.HasSuffix(name, s.Files[Tiles][0].Path) && !published { // removed, and now the job's turn
			published = true
			base := s.r.base[Tiles]
			info := Info{Format: infoFormat, Publication: Publication{Mode: ReplaceTable}, ID: "x"}
			for _, f := range s.Files[Tiles] {
				info.Rows += f.Info.Rows
			}
			c, err := s.change(Tiles, &info)
			if err == nil {
				_, err = g.tables.tables[Tiles].Commit(t.Context(), base, *c)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}}
	_, err := g.root.GC(t.Context(), opt)
	var lost *LostFileError
	if !published || !errors.As(err, &lost) || lost.Version != 1 {
		t.Fatalf("%v, %v", published, err)
	}
	g.tables = newGCRig(t, g.root).tables
	if r := g.publish(2, 4, 3); readBack(t, g.tables).String() != r.sorted().String() {
		t.Error("the replay does not put it back")
	}
}

// B2: a commit that is lost names files which nothing else names, and may come back
// from a copy.
func TestGCRefusesALostCommit(t *testing.T) {
	g := newGCRig(t, localRoot(t, RootOptions{}))
	g.publish(1, 3, 1)
	g.publish(2, 3, 2)
	before, tiles := g.files(), g.tables.tables[Tiles]
	last, err := tiles.Snapshot(t.Context(), Latest)
	if err != nil {
		t.Fatal(err)
	}
	if err := tiles.store.Remove(t.Context(), logName(last.Version)); err != nil {
		t.Fatal(err)
	}
	_, err = g.root.GC(t.Context(), GCOptions{Retain: 7 * day, Now: time.Now().Add(30 * day)})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("has no version %d", last.Version)) {
		t.Errorf("%v", err)
	}
	for f := range before {
		if strings.HasPrefix(f, string(Tiles)+"/") && !g.files()[f] {
			t.Errorf("%s is gone, which the lost commit names", f)
		}
	}
}

// GC removes nothing where it does not read the whole log, and nothing but tables.
func TestGCRefuses(t *testing.T) {
	g := newGCRig(t, localRoot(t, RootOptions{}))
	g.publish(1, 3, 1)
	g.publish(2, 3, 2)
	before := g.files()
	now := GCOptions{Retain: 7 * day, Now: time.Now().Add(30 * day)}
	open := g.tables.tables[Features].store
	if err := open.PutIfAbsent(t.Context(), logName(2), []byte(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.root.GC(t.Context(), now); err == nil || !strings.Contains(err.Error(), "protocol version 3") {
		t.Errorf("%v", err)
	}
	if !maps.Equal(g.files(), before) {
		t.Error("files are gone of a table whose log is not read")
	}
	now.Retain = time.Hour
	if _, err := g.root.GC(t.Context(), now); err == nil {
		t.Error("an hour is taken")
	}
	now.Retain, now.Views = 7*day, []string{"none"}
	if _, err := g.root.GC(t.Context(), now); err == nil || !strings.Contains(err.Error(), "no tables of a view none") {
		t.Errorf("%v", err)
	}
	other := localRoot(t, RootOptions{})
	s, err := other.store("photos", "features")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "summer/1.parquet", "x")
	now.Views = nil
	if list, err := other.GC(t.Context(), now); err != nil || len(list) != 0 || read(t, s, "summer/1.parquet") != "x" {
		t.Errorf("%v, %v", list, err)
	}
}

// B2: readers list nothing; GC lists no more than each directory once.
func TestWhoLists(t *testing.T) {
	calls := NewCalls(0)
	g := newGCRig(t, localRoot(t, RootOptions{Calls: calls}))
	g.publish(1, 4, 1)
	before := calls.Counts()
	readBack(t, g.tables)
	n := calls.Counts().Since(before)
	if n.List != 0 || n.Get < int64(len(g.named(Latest))) || n.Put+n.Copy+n.Delete != 0 {
		t.Errorf("B2: reading: %+v", n)
	}
	dirs := map[string]bool{}
	for f := range g.files() {
		for i := strings.LastIndexByte(f, '/'); i > 0; i = strings.LastIndexByte(f[:i], '/') {
			dirs[f[:i]] = true
		}
	}
	before = calls.Counts()
	g.gc(8*day, false)
	n = calls.Counts().Since(before)
	// A table's log is listed twice and its staging once; the root and _replay, once.
	if want := int64(len(dirs) + 3*len(tableOrder) + 2); n.List != want || n.Delete != 0 {
		t.Errorf("B2: %d directories: %+v, want %d lists", len(dirs), n, want)
	}
}

// B4: what a killed replay has left in its work area goes once it is old, also that of
// a view without tables; and at once, where a run that began later has published.
func TestKilledWorkGoes(t *testing.T) {
	root := localRoot(t, RootOptions{})
	v := testView(t, testDefinition)
	tables, err := root.Tables(v)
	if err != nil {
		t.Fatal(err)
	}
	leave := func(view, id string) *Work {
		t.Helper()
		w, err := root.Work(root, view, id, nil)
		if err == nil {
			err = w.finish(t.Context(), unitRecord{Unit: "read-0-0"}, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	left := func(w *Work) bool {
		t.Helper()
		ok, err := w.Record(t.Context(), "read-0-0", nil)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	killed, other, own := leave(v.Name, "killed"), leave("other", "killed"), leave(v.Name, "own")
	r := randomRun(v, 1, 4)
	run, err := tables.NewRun(t.Context(), own, RunOptions{ID: "own", Units: testUnits, SpillDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	later := leave(v.Name, "later")
	s, err := r.stageTo(t.Context(), run, stageOptions{end: 1})
	if err == nil {
		_, err = s.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"})
	}
	if err == nil {
		err = run.Clean(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if left(own) || left(killed) || !left(later) || !left(other) {
		t.Errorf("B4: after a publication its own is left %v, a killed one's %v, one's that began later %v, another view's %v", left(own), left(killed), left(later), left(other))
	}
	for _, c := range []struct {
		after time.Duration
		dry   bool
		want  int64
	}{{6 * day, false, 0}, {8 * day, true, 2}, {8 * day, false, 2}, {8 * day, false, 0}} {
		list, err := root.GC(t.Context(), GCOptions{Retain: 7 * day, Now: time.Now().Add(c.after), DryRun: c.dry})
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, x := range list {
			n += x.Staged
		}
		if gone := c.want > 0 && !c.dry; n != c.want || c.after > 7*day && gone && (left(later) || left(other)) {
			t.Errorf("B4: gc after %v removes %d work areas, want %d", c.after, n, c.want)
		}
	}
}
