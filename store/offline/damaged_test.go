package offline

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// B4: a record of which any byte has changed, or any part is lost, counts as none: no
// later unit goes by it.
func TestDamagedRecordIsNone(t *testing.T) {
	dir := t.TempDir()
	w := NewWork(NewScratch(dir), "w", nil)
	o, err := w.Begin(t.Context(), "u", 0, Keep{})
	if err == nil {
		err = errors.Join(o.Put(0, 0, []byte("row")), o.Finish(t.Context(), map[string]int64{"clock": 1_767_225_600_000_000}))
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "w", "u.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	finished := func(b []byte) bool {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		ok, err := w.Record(t.Context(), "u", nil)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !finished(whole) {
		t.Fatalf("as it was written it is none: %s", whole)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if finished(b) {
			t.Errorf("B4: taken for finished: %s", b)
		}
		if finished(whole[:i]) {
			t.Errorf("B4: taken for finished: %s", whole[:i])
		}
	}
}

// B2, B4: what was staged, or moved to its place by a publication that was cut off, and
// has changed since, is written anew by the rerun, and never published.
func TestDamagedStagedFilesAreWrittenAnew(t *testing.T) {
	v := testView(t, testDefinition)
	r := randomRun(v, 5, 6)
	for name, damage := range map[string]func(path string){
		"changed": func(path string) { flip(t, path, 100) },
		"cut":     func(path string) { truncate(t, path) },
		"empty": func(path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, moved := range []bool{false, true} {
			root := t.TempDir()
			o := stageOptions{id: "x", seed: 1, work: NewScratch(t.TempDir()), end: 2}
			_, s, err := r.stage(t.Context(), t, openTables(t, root, v), o)
			if err != nil {
				t.Fatal(err)
			}
			f := s.Files[Tiles][1]
			path := filepath.Join(root, "v", "tiles", s.r.staged(f.Path))
			if moved {
				if _, err := s.settle(t.Context(), Tiles, false); err != nil {
					t.Fatal(err)
				}
				path = filepath.Join(root, "v", "tiles", f.Path)
			}
			damage(path)
			to, err := newRun(t, openTables(t, root, v), o)
			if err != nil {
				t.Fatal(err)
			}
			var u *UnfinishedError
			if _, err := to.Staged(t.Context(), o.theCut()); !errors.As(err, &u) {
				t.Fatalf("B4: %s, moved %v: it would be published: %v", name, moved, err)
			}
			if err := r.interrupted(t.Context(), t, openTables(t, root, v), o); err != nil {
				t.Fatalf("B4: %s, moved %v: the rerun: %v", name, moved, err)
			}
			if got := readBack(t, openTables(t, root, v)).String(); got != r.sorted().String() {
				t.Errorf("B4: %s, moved %v: the rerun published other rows", name, moved)
			}
		}
	}
}

// B2: of a commit of ours nothing can be lost, line by line or byte by byte, without a
// reader, and the next run, being told so in one sentence.
func TestDamagedCommitIsTold(t *testing.T) {
	v := testView(t, testDefinition)
	root := t.TempDir()
	tables := openTables(t, root, v)
	for end := range int64(2) { // the second has files removed, too
		if _, err := randomRun(v, uint64(end), 9).publish(t, tables, publishOptions{end: end + 1}); err != nil {
			t.Fatal(err)
		}
		for _, name := range tableOrder {
			path := filepath.Join(root, "v", string(name), filepath.FromSlash(logName(end)))
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(whole)-2; at++ { // without the last newline it is the same
				if line := whole[at] == '\n'; !line && at%211 != 0 {
					continue
				}
				for _, part := range [][]byte{whole[:at], whole[:at+1]} {
					if err := os.WriteFile(path, part, 0o600); err != nil {
						t.Fatal(err)
					}
					_, err := tables.tables[name].Snapshot(t.Context(), Latest)
					if err == nil || !strings.Contains(err.Error(), "its commit is damaged") || !strings.Contains(err.Error(), string(name)) {
						t.Errorf("B2: %s, version %d, %d of %d bytes: %v", name, end, len(part), len(whole), err)
					}
				}
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := readBack(t, tables); len(got.tiles) == 0 {
			t.Error("nothing is read")
		}
	}
}

// B1, B2: published files that a disk has changed, and that have kept their size, are put
// back by a replay of all, also up to the same cut, which publishes nothing.
func TestChangedPublishedFilesArePutBack(t *testing.T) {
	v := testView(t, testDefinition)
	r := randomRun(v, 6, 6)
	root := t.TempDir()
	publish := func(id string) map[TableName]int64 {
		t.Helper()
		o := stageOptions{id: id, seed: 1, work: NewScratch(t.TempDir()), end: 2}
		_, s, err := r.stage(t.Context(), t, openTables(t, root, v), o)
		if err != nil {
			t.Fatal(err)
		}
		versions, err := s.Publish(t.Context(), Publication{Mode: ReplaceTable, Topic: "e", Cut: o.theCut()})
		if err != nil {
			t.Fatal(err)
		}
		return versions
	}
	first := publish("a")
	files := map[string][]byte{}
	for _, name := range tableOrder {
		paths, err := filepath.Glob(filepath.Join(root, "v", string(name), "*", "*", "*.parquet"))
		if err != nil || len(paths) == 0 {
			t.Fatal(name, err)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			files[p] = b
			flip(t, p, len(b)/2)
		}
	}
	if again := publish("b"); !maps.Equal(again, first) {
		t.Errorf("B2: published again: %v, then %v", first, again)
	}
	for p, want := range files {
		if b, err := os.ReadFile(p); err != nil || !bytes.Equal(b, want) {
			t.Errorf("B1: %s stays changed: %v", p, err)
		}
	}
}
