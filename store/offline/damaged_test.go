package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// B2: of a commit of ours, of whatever mode, nothing can be lost, doubled, moved or changed
// behind what it says of itself, without a reader, and the next run, being told so in one
// sentence.
func TestDamagedCommitIsTold(t *testing.T) {
	v := testView(t, testDefinition)
	root := t.TempDir()
	tables := openTables(t, root, v)
	removed := map[Mode]bool{}
	for end, mode := range []Mode{ReplaceTable, ReplaceTable, ReplaceDates, RepairDates, AppendFiles} {
		o := publishOptions{end: int64(end + 1), mode: mode, dates: &DateRange{"2025-12-31", "2026-01-01"}}
		if _, err := randomRun(v, uint64(end), 9).publish(t, tables, o); err != nil {
			t.Fatal(err)
		}
		for _, name := range tableOrder {
			path := filepath.Join(root, "v", string(name), filepath.FromSlash(logName(int64(end))))
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			removed[mode] = removed[mode] || bytes.Contains(whole, []byte(`{"remove"`))
			for _, part := range damagedCommits(whole) {
				if err := os.WriteFile(path, part, 0o600); err != nil {
					t.Fatal(err)
				}
				_, err := tables.tables[name].Snapshot(t.Context(), Latest)
				if err == nil || !strings.Contains(err.Error(), "its commit is damaged") || !strings.Contains(err.Error(), restoreCommit) || !strings.Contains(err.Error(), string(name)) {
					t.Fatalf("B2: %s, %s of version %d: %v; it was\n%s\nand is\n%s", name, mode, end, err, whole, part)
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
	if !removed[ReplaceTable] || !removed[ReplaceDates] || !removed[RepairDates] {
		t.Errorf("too little is seen: files are removed by %v", removed)
	}
}

// damagedCommits returns what may become of a commit.
func damagedCommits(whole []byte) (out [][]byte) {
	for at := range whole[:len(whole)-2] { // without the last newline it is the same
		if whole[at] == '\n' || at%211 == 0 {
			out = append(out, whole[:at], whole[:at+1])
		}
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i := range lines {
		out = append(out, bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil),
			bytes.Join(slices.Insert(slices.Clone(lines), i, lines[i]), nil))
		if i > 0 {
			out = append(out, bytes.Join(slices.Concat(lines[:i-1], [][]byte{lines[i], lines[i-1]}, lines[i+1:]), nil))
		}
	}
	for _, key := range []string{"commitInfo", "tallystick", "engineInfo"} {
		out = append(out, bytes.Replace(whole, []byte(`"`+key+`":`), []byte(`"`+key+`s":`), 1))
	}
	for at := 0; at < len(whole)-1; at += 101 {
		b := bytes.Clone(whole)
		b[at] ^= 1
		out = append(out, b)
	}
	return out
}

// B2: commits of other engines, upon ours and below them, are none of ours: they are read,
// and built upon, whatever they name, and those of format 1 as they were.
func TestOtherEnginesBetweenOurCommits(t *testing.T) {
	v := testView(t, testDefinition)
	root := t.TempDir()
	tables := openTables(t, root, v)
	want := 0
	for end, mode := range []Mode{ReplaceTable, ReplaceDates, AppendFiles, RepairDates} {
		o := publishOptions{end: int64(end + 1), mode: mode}
		if _, err := randomRun(v, uint64(end), 3).publish(t, tables, o); err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		g := &dayRig{TB: t, root: root, tables: tables}
		if mode == ReplaceDates {
			for _, name := range tableOrder {
				g.replaced(name, int64(2*end), `"format":2`, `"format":1`)
			}
		}
		for _, name := range tableOrder {
			s, err := tables.tables[name].Snapshot(t.Context(), Latest)
			if err != nil {
				t.Fatalf("B2: %s, %s: %v", name, mode, err)
			}
			f := s.Files[len(s.Files)-1]
			other := fmt.Sprintf(`{"remove":{"path":%q,"dataChange":false}}
{"add":{"path":"%s-%d.parquet","partitionValues":{"event_date":"2031-01-01"},"size":1,"dataChange":false,"stats":"{}"}}
{"txn":{"appId":"tallystick:v:copied","version":1}}
{"commitInfo":{"operation":"CLONE","engineInfo":"Apache-Spark/3.5"}}`, encodePath(f.Path), name, end)
			if err := tables.tables[name].store.PutIfAbsent(t.Context(), logName(s.Version+1), []byte(other)); err != nil {
				t.Fatal(err)
			}
			if now, err := tables.tables[name].Snapshot(t.Context(), Latest); err != nil || len(now.Files) != len(s.Files) {
				t.Errorf("B2: %s, upon %s: %v", name, mode, err)
			}
		}
		want += 2
		if s, err := tables.tables[Tiles].Snapshot(t.Context(), Latest); err != nil || s.Version != int64(want-1) || s.InfoVersion != int64(want-2) {
			t.Errorf("B2: %s: %+v, %v", mode, s, err)
		}
	}
}

var commitSum = regexp.MustCompile(`,"commit_sha256":"[0-9a-f]{64}"`)

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

// listedStore calls after once a directory has been listed.
type listedStore struct {
	Store
	after func()
}

func (s listedStore) List(ctx context.Context, dir string) ([]Entry, error) {
	entries, err := s.Store.List(ctx, dir)
	s.after()
	return entries, err
}

// B4: a process that looks whether the files of others stand leaves alone what they finish
// meanwhile: it would be taken for lost, and nobody would write it again.
func TestRecheckBesideOthers(t *testing.T) {
	v := testView(t, testDefinition)
	r, root := randomRun(v, 5, 60), t.TempDir()
	o := stageOptions{id: "shared", seed: 1, work: NewScratch(t.TempDir()), end: 2}
	checking, err := newRun(t, openTables(t, root, v), o)
	if err != nil {
		t.Fatal(err)
	}
	writing, err := newRun(t, openTables(t, root, v), o)
	if err == nil {
		err = r.write(t.Context(), writing, o)
	}
	if err == nil {
		err = writing.Write(t.Context(), 0, o.theCut())
	}
	if err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, table := range checking.t.tables {
		table.store = listedStore{table.store, func() {
			if lists++; lists != len(checking.t.tables) {
				return
			}
			for i := 1; i < WriteUnits; i++ {
				if err := writing.Write(t.Context(), i, o.theCut()); err != nil {
					t.Error(err)
				}
			}
		}}
	}
	if err := checking.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range WriteUnits {
		if ok, err := checking.work.Record(t.Context(), WriteUnit(i), nil); !ok || err != nil {
			t.Errorf("unit %d was written, and its record is gone (%v)", i, err)
		}
	}
	if lists != len(checking.t.tables) {
		t.Errorf("nothing came in between: %d lists", lists)
	}
}
