package offline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
)

// testUnits are the units of a run in tests: each has the rows of some shards.
var testUnits = []string{"fold-0", "fold-1", "fold-2"}

// stageOptions vary a run without varying its files.
type stageOptions struct {
	id     string // "" = one of its own
	memory int
	seed   uint64
	disk   *spill.Disk
	work   Store             // nil = a directory of its own
	end    int64             // of testCut
	cut    *schemas.TopicCut // in the place of testCut
}

func (o *stageOptions) theCut() schemas.TopicCut {
	if o.cut != nil {
		return *o.cut
	}
	return testCut(o.end)
}

// newRun begins a run in its own work area.
func newRun(t testing.TB, tables *Tables, o stageOptions) (*Run, error) {
	t.Helper()
	if o.id == "" {
		o.id = fmt.Sprint("run-", rand.Uint64())
	}
	if o.work == nil {
		o.work = NewScratch(t.TempDir())
	}
	work := NewWork(o.work, o.id, o.disk)
	t.Cleanup(func() { work.Close() })
	return tables.NewRun(t.Context(), work, RunOptions{ID: o.id, Units: testUnits, SpillDir: t.TempDir(), Memory: o.memory, Disk: o.disk})
}

// write runs the units, in a random order; those of its rows whose order is free
// come in any.
func (r *run) write(ctx context.Context, to *Run, o stageOptions) error {
	rnd := rand.New(rand.NewPCG(o.seed, 9))
	sorted := r.sorted()
	sorted.quarantine = r.quarantine
	for _, u := range rnd.Perm(len(testUnits)) {
		out, err := to.work.Begin(ctx, testUnits[u], o.memory, Keep{to.t, true})
		if err != nil {
			return err
		}
		shards := to.t.view.Spec.Shards
		mine := func(shard int) bool { return shard*len(testUnits)/shards == u }
		if err := sorted.unit(out, mine, rnd, u); err != nil {
			out.Abort()
			return err
		}
		if err := out.Finish(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) unit(out *Output, mine func(int) bool, rnd *rand.Rand, u int) error {
	for _, f := range r.features {
		if mine(f.Shard) {
			if err := out.Feature(f); err != nil {
				return err
			}
		}
	}
	for _, x := range r.tiles {
		if mine(x.Shard) {
			if err := out.Tile(x); err != nil {
				return err
			}
		}
	}
	for _, x := range r.open {
		if mine(x.Shard) {
			if err := out.Open(x); err != nil {
				return err
			}
		}
	}
	for _, i := range rnd.Perm(len(r.quarantine)) {
		if i%len(testUnits) == u {
			if err := out.Quarantine(r.quarantine[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// stage is a run up to its publication. It may be left as a kill would leave it.
func (r *run) stage(ctx context.Context, t testing.TB, tables *Tables, o stageOptions) (*Run, *Staged, error) {
	t.Helper()
	to, err := newRun(t, tables, o)
	if err != nil {
		return nil, nil, err
	}
	s, err := r.stageTo(ctx, to, o)
	return to, s, err
}

func (r *run) stageTo(ctx context.Context, to *Run, o stageOptions) (*Staged, error) {
	if err := r.write(ctx, to, o); err != nil {
		return nil, err
	}
	for _, i := range rand.New(rand.NewPCG(o.seed, 1)).Perm(WriteUnits) {
		if err := to.Write(ctx, i, o.theCut()); err != nil {
			return nil, err
		}
	}
	return to.Staged(ctx, o.theCut())
}

// B1, B4: whoever runs which unit, once or twice, with however much memory, the
// files are the same.
func TestUnitsGiveTheSameFiles(t *testing.T) {
	v := testView(t, testDefinition)
	r := randomRun(v, 5, 60)
	var want map[string]string
	for i, o := range []stageOptions{{seed: 1}, {seed: 2, memory: 1}, {seed: 3, id: "twice"}} {
		root := t.TempDir()
		run, s, err := r.stage(t.Context(), t, openTables(t, root, v), o)
		if err != nil {
			t.Fatal(err)
		}
		if o.id == "twice" { // every unit runs again, and is what counts
			if s, err = r.stageTo(t.Context(), run, stageOptions{seed: 9}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"}); err != nil {
			t.Fatal(err)
		}
		if err := run.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := tree(t, root)
		if i > 0 && !slices.Equal(sortedKeys(got), sortedKeys(want)) {
			t.Fatalf("B1: other files: %v, not %v", sortedKeys(got), sortedKeys(want))
		}
		for name, b := range want {
			if got[name] != b {
				t.Errorf("B1: %s has other bytes", name)
			}
		}
		want = got
	}
	if len(want) < 10 {
		t.Errorf("%d files only", len(want))
	}
}

func sortedKeys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// B4: a unit's record in which any byte has changed counts as none.
func TestChangedRecordIsNotFinished(t *testing.T) {
	dir := t.TempDir()
	to, err := newRun(t, openTables(t, t.TempDir(), testView(t, testDefinition)), stageOptions{id: "r", work: NewScratch(dir)})
	if err != nil {
		t.Fatal(err)
	}
	if err := randomRun(to.t.view, 1, 9).write(t.Context(), to, stageOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "r", "fold-1.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := slices.Clone(whole)
		changed[i] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if ok, err := to.work.Record(t.Context(), "fold-1", nil); err != nil || ok {
			t.Errorf("%s passes for %s: %v", changed, whole, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if ok, err := to.work.Record(t.Context(), "fold-1", nil); err != nil || !ok {
		t.Error("as it was written it is not finished: ", ok, err)
	}
}

// B4: what a power failure leaves of a unit's record or rows counts as a unit that
// is not finished.
func TestTornUnitIsNotFinished(t *testing.T) {
	v := testView(t, testDefinition)
	for _, pattern := range []string{"fold-1.json", "fold-1-*.rows"} {
		dir := t.TempDir()
		to, err := newRun(t, openTables(t, t.TempDir(), v), stageOptions{id: "r", work: NewScratch(dir)})
		if err != nil {
			t.Fatal(err)
		}
		if err := randomRun(v, 1, 9).write(t.Context(), to, stageOptions{}); err != nil {
			t.Fatal(err)
		}
		if ok, err := to.work.Record(t.Context(), "fold-1", nil); err != nil || !ok {
			t.Fatal(ok, err)
		}
		names, err := filepath.Glob(filepath.Join(dir, "r", pattern))
		if err != nil || len(names) != 1 {
			t.Fatalf("%v, %v", names, err)
		}
		truncate(t, names[0])
		if ok, err := to.work.Record(t.Context(), "fold-1", nil); err != nil || ok {
			t.Errorf("B4: %s cut short: finished %v, %v", pattern, ok, err)
		}
	}
}

// S3: rows that have changed on their way are told, and their unit is to be run again.
func TestChangedRowsAreTold(t *testing.T) {
	v := testView(t, testDefinition)
	dir := t.TempDir()
	to, err := newRun(t, openTables(t, t.TempDir(), v), stageOptions{id: "r", work: NewScratch(dir)})
	if err != nil {
		t.Fatal(err)
	}
	if err := randomRun(v, 1, 9).write(t.Context(), to, stageOptions{}); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "r", "fold-0-*.rows"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	flip(t, names[0], 100)
	failed := false
	for i := range WriteUnits {
		failed = failed || to.Write(t.Context(), i, testCut(1)) != nil
	}
	if ok, err := to.work.Record(t.Context(), "fold-0", nil); err != nil || ok || !failed {
		t.Errorf("failed %v; the damaged unit counts as finished: %v, %v", failed, ok, err)
	}
}

// B4: a killed run whose staged files another publication has removed goes on: their
// units are computed anew. What it has in their places, or staged still, stays.
func TestRemovedStagedFilesAreWrittenAnew(t *testing.T) {
	v := testView(t, testDefinition)
	r := randomRun(v, 5, 60)
	root := t.TempDir()
	o := stageOptions{id: "x", seed: 1, work: NewScratch(t.TempDir()), end: 2}
	if _, _, err := r.stage(t.Context(), t, openTables(t, root, v), o); err != nil {
		t.Fatal(err)
	}
	rerun := func() (*Run, *Staged, error) {
		to, err := newRun(t, openTables(t, root, v), o)
		if err != nil {
			t.Fatal(err)
		}
		s, err := to.Staged(t.Context(), o.theCut())
		return to, s, err
	}
	if _, _, err := rerun(); err != nil {
		t.Fatalf("nothing is gone: %v", err)
	}
	_, other, err := randomRun(v, 9, 60).stage(t.Context(), t, openTables(t, root, v), stageOptions{id: "y", seed: 1, end: 1})
	if err == nil {
		_, err = other.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"}) // and is killed before Clean
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = rerun()
	var u *UnfinishedError
	if !errors.As(err, &u) {
		t.Fatalf("B4: the staged files are gone: %v", err)
	}
	if err := r.interrupted(t.Context(), t, openTables(t, root, v), o); err != nil {
		t.Fatalf("B4: the rerun: %v", err)
	}
	if got := readBack(t, openTables(t, root, v)).String(); got != r.sorted().String() {
		t.Error("B4: the rerun published other rows")
	}
}

// B3, B4: however many units there are, the files that stay open are bounded, what is
// read is what was left, and a failure of one reader is not another's.
func TestWorkFilesAreBounded(t *testing.T) {
	const units = 3 * maxOpen
	w := NewWork(NewScratch(t.TempDir()), "w", nil)
	defer w.Close()
	for i := range units {
		o, err := w.Begin(t.Context(), fmt.Sprint("u", i), 0, Keep{})
		if err == nil {
			err = errors.Join(o.Put(0, 0, fmt.Append(nil, i)), o.Finish(t.Context(), i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o, err := w.Begin(t.Context(), "held", 0, Keep{})
	if err == nil {
		large := make([]byte, 700_000) // two of them are two blocks
		err = errors.Join(o.Put(0, 0, large), o.Put(0, 0, large), o.Finish(t.Context(), 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range units {
				unit := fmt.Sprint("u", (i*7+g*11)%units)
				if g == 0 {
					_ = w.Rows(ended, unit, 0, 0, func([]byte) error { return nil })
					continue
				}
				got := ""
				err := w.Rows(t.Context(), unit, 0, 0, func(row []byte) error { got += string(row); return nil })
				if err != nil || "u"+got != unit {
					t.Errorf("unit %s: %q, %v", unit, got, err)
				}
			}
		})
	}
	wg.Wait()
	held := 0 // a file that is read stays open, whoever reads others meanwhile
	err = w.Rows(t.Context(), "held", 0, 0, func([]byte) error {
		if held++; held > 1 {
			return nil
		}
		for i := range units {
			if err := w.Rows(t.Context(), fmt.Sprint("u", i), 0, 0, func([]byte) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || held != 2 {
		t.Errorf("%d rows of 2: %v", held, err)
	}
	open := 0
	for _, f := range w.opened {
		if f.refs != 0 {
			t.Errorf("%s is held by %d", f.unit, f.refs)
		}
		if f.blob != nil {
			open++
		}
	}
	if open > maxOpen || len(w.opened) > maxOpen {
		t.Errorf("B3: %d files are open", open)
	}
}

// B3: a unit that is tried again takes its place on the disk once, and so does what an
// earlier run has left.
func TestDiskIsGivenBack(t *testing.T) {
	store := NewScratch(t.TempDir())
	row := make([]byte, 1000)
	attempt := func(w *Work, unit string, finish bool) error {
		o, err := w.Begin(t.Context(), unit, 0, Keep{})
		if err != nil {
			return err
		}
		defer o.Abort()
		for range 300 {
			if err := o.Put(0, 0, row); err != nil {
				return err
			}
		}
		if !finish {
			return nil
		}
		return o.Finish(t.Context(), 1)
	}
	w := NewWork(store, "w", spill.NewDisk(500_000))
	for range 5 {
		if err := attempt(w, "u", false); err != nil {
			t.Fatalf("B3: a further attempt: %v", err)
		}
	}
	if err := attempt(w, "u", true); err != nil {
		t.Fatal(err)
	}
	again := NewWork(store, "w", spill.NewDisk(500_000))
	if err := again.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := attempt(again, "v", true); !errors.Is(err, spill.ErrDisk) {
		t.Errorf("B3: what an earlier run has left is not counted: %v", err)
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
}

// flip changes a byte of a file.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// B3: the memory that blocks are read into is used again, that of a large row is not kept.
func TestMemoryOfLargeRowsIsGivenUp(t *testing.T) {
	w := NewWork(NewScratch(t.TempDir()), "w", nil)
	defer w.Close()
	for i, size := range []int{5000, 5 << 20} {
		unit := fmt.Sprint("u", i)
		o, err := w.Begin(t.Context(), unit, 0, Keep{})
		if err == nil {
			err = errors.Join(o.Put(0, 0, make([]byte, size)), o.Finish(t.Context(), 0))
		}
		if err == nil {
			err = w.Rows(t.Context(), unit, 0, 0, func([]byte) error { return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
		for buf, _ := w.buffers.Get().(*[]byte); buf != nil; buf, _ = w.buffers.Get().(*[]byte) {
			if cap(*buf) > keptBuffer {
				t.Errorf("B3: %d bytes are kept, after a row of %d", cap(*buf), size)
			}
		}
	}
}
