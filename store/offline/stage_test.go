package offline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/tallystick/tallystick/store/files"
)

// stagedIn returns what waits in the tables' staging directories.
func stagedIn(t *testing.T, root string) (left []string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(root, "*", "*", staging, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// hookFiles calls renamed before every rename: that of a file into staging, and
// from there to its place.
type hookFiles struct {
	files.OS
	renamed func()
}

func (f hookFiles) Rename(from, to string) error {
	f.renamed()
	return f.OS.Rename(from, to)
}

// B4: a run that is interrupted at any file leaves the tables as they were or
// whole; the next one of its ID goes on, with the same rows, and leaves nothing.
func TestInterruptedAnywhere(t *testing.T) {
	v := testView(t, testDefinition)
	old, next := randomRun(v, 1, 1), randomRun(v, 2, 3)
	for n := 0; ; n++ {
		root := t.TempDir()
		if _, err := old.publish(t, openTables(t, root, v), publishOptions{end: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var left atomic.Int64
		left.Store(int64(n))
		tables := openTables(t, root, v)
		for _, table := range tables.tables {
			table.store.(*Local).files = hookFiles{renamed: func() {
				if left.Add(-1) < 0 {
					cancel()
				}
			}}
		}
		o := stageOptions{id: "id", work: NewScratch(t.TempDir()), end: 2}
		err := next.interrupted(ctx, t, tables, o)
		cancel()
		got := readBack(t, openTables(t, root, v)).String()
		if err == nil && got == next.sorted().String() {
			t.Logf("%d files", n)
			return
		}
		if !errors.Is(err, context.Canceled) || got != old.sorted().String() {
			t.Fatalf("B4: interrupted at file %d (%v): the tables are at no publication", n, err)
		}
		if err := next.interrupted(t.Context(), t, openTables(t, root, v), o); err != nil {
			t.Fatalf("B4: interrupted at file %d, the next run: %v", n, err)
		}
		if got, files := readBack(t, openTables(t, root, v)).String(), stagedIn(t, root); len(files) > 0 || got != next.sorted().String() {
			t.Fatalf("B4: interrupted at file %d: the next run left %v, or other rows", n, files)
		}
	}
}

// interrupted is a run whose context may end on the way.
func (r *run) interrupted(ctx context.Context, t *testing.T, tables *Tables, o stageOptions) error {
	to, s, err := r.stage(ctx, t, tables, o)
	if err != nil {
		return err
	}
	if _, err = s.Publish(ctx, Publication{Mode: ReplaceTable, Topic: "e"}); err != nil {
		return err
	}
	return to.Clean(ctx)
}

// must stages a run.
func (r *run) must(t *testing.T, tables *Tables) (*Run, *Staged) {
	t.Helper()
	to, s, err := r.stage(t.Context(), t, tables, stageOptions{end: 2})
	if err != nil {
		t.Fatal(err)
	}
	return to, s
}

// B4: what a killed run has staged goes with the next publication.
func TestKilledRunIsCleaned(t *testing.T) {
	v := testView(t, testDefinition)
	root := t.TempDir()
	r := randomRun(v, 1, 3)
	r.must(t, openTables(t, root, v))
	if err := os.WriteFile(filepath.Join(root, "v", "tiles", staging, ".tmp-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.publish(t, openTables(t, root, v), publishOptions{end: 2}); err != nil {
		t.Fatal(err)
	}
	if files := stagedIn(t, root); len(files) > 0 {
		t.Errorf("%v stay", files)
	}
}

// B2: of two runs at once, of which many files are the same, one wins and the
// other is told; what the other removes is never the winner's.
func TestRacingRuns(t *testing.T) {
	v := testView(t, testDefinition)
	a, b := randomRun(v, 1, 3), randomRun(v, 1, 3)
	b.features, b.tiles = b.features[1:], b.tiles[1:]
	publication := Publication{Mode: ReplaceTable, Topic: "e"}
	for _, first := range []bool{true, false} { // which one publishes
		root := t.TempDir()
		wa, sa := a.must(t, openTables(t, root, v))
		wb, sb := b.must(t, openTables(t, root, v)) // sees what a has staged
		winner, loser, loserRun, want := sa, sb, wb, a
		if !first {
			winner, loser, loserRun, want = sb, sa, wa, b
		}
		if _, err := winner.Publish(t.Context(), publication); err != nil {
			t.Fatal(err)
		}
		if _, err := loser.Publish(t.Context(), publication); !errors.Is(err, ErrConflict) {
			t.Errorf("B2: the other is told %v", err)
		}
		if err := loserRun.Clean(t.Context()); err != nil {
			t.Error(err)
		}
		if got := readBack(t, openTables(t, root, v)); got.String() != want.sorted().String() {
			t.Error("B2: the winner's rows are not what is read")
		}
		if files := stagedIn(t, root); len(files) > 0 {
			t.Errorf("%v stay", files)
		}
	}
}

// B2, B4: one run that gives up, or a rerun that changes nothing, takes nothing
// from a run that is under way.
func TestOthersLeaveARunAlone(t *testing.T) {
	v := testView(t, testDefinition)
	root := t.TempDir()
	old, next := randomRun(v, 1, 3), randomRun(v, 1, 3)
	next.features = next.features[1:]
	if _, err := old.publish(t, openTables(t, root, v), publishOptions{end: 1}); err != nil {
		t.Fatal(err)
	}
	_, s := next.must(t, openTables(t, root, v))
	twin, _ := next.must(t, openTables(t, root, v))
	if err := twin.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := old.publish(t, openTables(t, root, v), publishOptions{end: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e"}); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, openTables(t, root, v)); got.String() != next.sorted().String() {
		t.Error("other rows are read")
	}
}
