//go:build mutants

// Package mutants breaks what exactly-once and exactness rest on, one piece at a
// time, and asserts that the tests notice. A mutation is a replacement in one
// source file, which the compiler takes in its place (go test -overlay): the
// working tree stays as it is.
package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// simulator is the run that must notice, unless a mutant names another.
var simulator = []string{"./stream", "-run", "^TestSimulator$", "-sim.seeds", "2000"}

var mutants = []struct {
	name, rule string
	file       string
	was, is    string
	notice     []string // arguments of go test
}{
	{"no compare", "O1", "store/online/store.go", "if stored != was {", "if false && stored != was {", []string{"./store/online"}},
	{"no watch", "O1", "store/online/store.go", "\t}, key)\n\tif err == nil || errors.Is", "\t})\n\tif err == nil || errors.Is", []string{"./store/online"}},
	{"no compare in the simulated store", "O1", "stream/sim_store_test.go", "if watched.mark != was {", "if false {", nil},
	{"raw timestamps", "clock", "schemas/clock.go", "if !c.set || t > c.now {", "if true {", nil},
	{"ids forgotten early", "V7", "transforms/step.go", "d.memory = max(d.memory, in.EventTime)", "d.memory = in.EventTime", nil},
	{"no pending", "V4", "transforms/step.go", "ahead := in.EventTime > in.Clock || s.strict && in.EventTime == in.Clock", "ahead := false", nil},
	{"clock not restored", "K8", "stream/partition.go", "p.pos, p.now, p.ahead = least.Next, least.Clock, true", "p.pos, p.now, p.ahead = least.Next, schemas.Never, false", nil},
	{"retry of an unknown EXEC", "O1", "stream/flush.go", "err := p.w.sink.Commit(ctx, s.id, p.id, s.mark, now, writes)",
		`err := p.w.sink.Commit(ctx, s.id, p.id, s.mark, now, writes)
	if errors.Is(err, marker.ErrUnknown) {
		if marks, failed := p.w.sink.Marks(ctx, p.id); failed == nil {
			err = p.w.sink.Commit(ctx, s.id, p.id, marks[s.id], now, writes)
		}
	}`, nil},
	{"marker without state", "O1", "stream/flush.go", "s.mark, now, writes)", "s.mark, now, nil)", nil},
	{"state without marker", "O1", "stream/flush.go", "s.mark, now, writes)", "s.mark, s.mark, writes)", nil},
	{"no rewind after a failover", "O2", "stream/flush.go", "if m.Next < p.pos {", "if false {", nil},
	{"quiet partitions not looked at", "O2", "stream/worker.go", "if err := p.confirm(ctx); err != nil {", "if err := error(nil); err != nil {", []string{"./stream", "-run", "^TestQuietPartitions"}},
	{"cache kept after a failover", "O2", "stream/flush.go", "p.cache.dropShard(s.id)", "", nil},
	{"an evicted state taken for none", "O1", "stream/apply.go", "p.shards[e.shard].whole = false", "", nil},
	{"leftovers kept at a bootstrap", "O2", "stream/bootstrap.go", "\tif holds {\n", "\tif false {\n", nil},
	{"restored from tables behind the log", "K3", "stream/bootstrap.go", "m.Next < start && start <= base.Next", "m.Next < start", []string{"./stream", "-run", "^Test(TablesBehind|OriginRefusals)"}},
	{"restored states are not written", "O2", "stream/bootstrap.go", "return b.write(ctx, b.mark, ws)", "return nil", nil},
	{"restored without closed tiles", "O5", "store/offline/restore.go", "tiles = append(tiles, t.Tile)", "_ = t", []string{"./integration", "-run", "^TestBootstrapFromTables$"}},
	{"closed tiles read too late", "O5", "store/offline/restore.go", "Days() - 1", "Days() + 9", []string{"./integration", "-run", "^TestBootstrapFromTables$"}},
	{"quarantine after the marker", "V8", "stream/flush.go", "if len(s.quarantine) > 0 {", "if false {", nil},
	{"old part not sent again after a refused write", "O1", "stream/flush.go", "if p.w.engine.OldVersion(e.state) != e.old {",
		"if n := p.w.engine.OldVersion(e.state); n != e.old {\n\t\t\te.old = n", []string{"./stream", "-run", "^TestRefusedOldPart$"}},
	{"old part kept by a state whose tiles became old", "V11", "transforms/old.go", "int32(first.from), first.index, true", "int32(first.from), first.index, x.moved", nil},
	{"old part kept when one of its tiles changes", "V11", "transforms/enter.go", "if x.olds > 0 && index < x.split {", "if false {", nil},
	{"old part of another time", "O1", "transforms/parse.go", "sum != s.old.sum {", "false && sum != s.old.sum {", []string{"./transforms", "-run", "^TestOldPart$"}},
	{"open events in old tiles", "V11", "transforms/old.go", "if !c.next() || c.index > open {", "if !c.next() || c.index > open && false {", []string{"./transforms", "-run", "^TestMemoryIsNotSeen$", "-rapid.checks", "500"}},
	{"old part left behind by a state that goes", "O3", "store/online/store.go", "if len(w.Old) == 0 && (w.Remove || w.Old != nil) {", "if len(w.Old) == 0 && w.Old != nil {", []string{"./store/online", "-run", "^TestOldPart$"}},
	{"restored without old parts", "O5", "cmd/wire/origin.go", "Old: p.Old, ", "", []string{"./integration", "-run", "^TestBootstrapFromTables$"}},
	{"overdue tiles counted", "V1", "transforms/old.go", "func (v *View) age(s *State, li int) {\n\tv.dropLevel(s, li, s.clock)\n", "func (v *View) age(s *State, li int) {\n", []string{"./transforms", "-run", "^TestMemoryIsNotSeen$", "-rapid.checks", "500"}},
	{"old tiles stay what they were at a trim", "V11", "transforms/step.go", "\tv.divideAnew(s)\n", "", []string{"./integration", "-run", "^TestBootstrapFromTables$"}},
	{"sealed early", "V7", "transforms/step.go", "for d := s.ids.nextOpen(horizon); d != nil; d = s.ids.nextOpen(horizon) {",
		"for d := s.ids.nextOpen(horizon + 1); d != nil; d = s.ids.nextOpen(horizon + 1) {", nil},

	{"carried without closed tiles", "B5", "batch/carry.go", "f.run.engine.Restore(s, c.Closed)", "f.run.engine.Restore(s, nil)", dayByDay},
	{"boundaries of a carried state forgotten", "B5", "batch/carry.go", "f.newest, f.next = f.run.before.newest, f.after(f.run.before.closed)", "f.newest = f.run.before.newest", dayByDay},
	{"a carried state thought to be absent for good", "B5", "batch/carry.go", "f.newest, f.next = f.run.before.newest,", "f.next =", dayByDay},
	{"carried final rows not written again", "B5", "batch/carry.go", "\t\t\treturn f.out.Feature(row)\n", "\t\t\treturn nil\n", dayByDay},
	{"rows that are gone not told", "§7", "batch/fold.go", "\t\tf.gone(schemas.Forever)\n", "", []string{"./batch", "-run", "^TestFinalDatesAreCompared$"}},
	{"events that the tables have are named", "§7", "batch/changes.go", "|| f.held.have(in) {", "{", []string{"./batch", "-run", "^TestFinalDatesAreCompared$"}},
	{"the clock of a range not handed on", "B4", "batch/read.go", "clock = rec.clock()", "_ = rec.clock()", []string{"./batch", "-run", "^TestReplay$"}},
	{"a torn record counts", "B4", "store/offline/work.go", "want := fmt.Appendf(nil, \"%s%d}\\n\", recordSum, crc32.Checksum(line[:at], castagnoli))", "want := line[at:]", []string{"./store/offline", "-run", "^TestChangedRecordIsNotFinished$"}},
	{"lost lines of a commit", "B2", "store/offline/delta.go", "has && !sound", "has && false && sound", []string{"./store/offline", "-run", "^TestDamagedCommitIsTold$"}},
	{"days upon any publication", "B2", "store/offline/days.go", "info.DaysUpon != d.of", "d.of == \"\"", []string{"./store/offline", "-run", "^TestDaysOfAnotherHistoryAreTold$"}},
	{"days that are gone stay", "V8", "store/offline/days.go", "stay == len(before)", "stay <= len(before)", []string{"./store/offline", "-run", "^TestDaysOfEveryVersion$"}},
	{"all days in each commit", "B5", "store/offline/days.go", "i.Days, i.DaysUpon = changed, before.ID", "_ = changed", []string{"./store/offline", "-run", "^TestCommitOfADayDoesNotGrow$"}},
	{"changed rows count", "B4", "store/spill/blocks.go", "if crc32.Checksum(b, castagnoli) != e.sum {", "if false {", []string{"./store/spill", "-run", "Blocks"}},
	{"changed pages count", "B3", "store/spill/pages.go", "if pageSum(p.at, page[pageHead:]) != binary.LittleEndian.Uint32(page) {", "if false {", []string{"./store/spill", "-run", "^TestChangedRunIsTold$"}},
	{"windows of dates cut off", "K8", "batch/dates.go", "dayStart(d.From).SubSat(window)", "dayStart(d.From).SubSat(window / 8)", []string{"./batch", "-run", "^TestDatesAsFromTheBeginning$"}},
	{"states of dates cut off", "K8", "batch/dates.go", "\t\tat = min(at, d.states(v, closed))\n", "", []string{"./batch", "-run", "^TestDates(AsFromTheBeginning|Need)$"}},
	{"a guard that is not asked", "B6", "stream/guard.go", "\tif why := p.watch.Hold(); why != \"\" {\n\t\treturn p.hold(why)\n\t}\n\treturn nil\n}\n\n// hold sets", "\treturn nil\n}\n\n// hold sets", []string{"./stream", "-run", "^Test(HoldAndRelease|HeldRunEnds)$"}},
	{"a record counted twice by the guard", "B6", "store/gate/watch.go", "if in.Offset <= w.high {", "if false {", []string{"./store/gate", "-run", "Guard"}},
}

// dayByDay is the run that must notice what breaks a replay that goes on.
var dayByDay = []string{"./batch", "-run", "^TestDayByDay$"}

// Each mutant turns its tests red. One that does not compile would too, so the
// failure must be a test's.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			args := append([]string{"test", "-count=1", "-timeout=3m", "-overlay", overlay(t, m.file, m.was, m.is)}, m.notice...)
			if m.notice == nil {
				args = append(args, simulator...)
			}
			cmd := exec.CommandContext(t.Context(), "go", args...)
			cmd.Dir = root
			out, err := cmd.CombinedOutput()
			switch text := string(out); {
			case err == nil:
				t.Errorf("%s: nobody noticed that %s holds no more", m.rule, m.name)
			case strings.Contains(text, "panic: test timed out"):
				t.Errorf("%s: %s makes a run that does not end, which no test says", m.rule, m.name)
			case !strings.Contains(text, "--- FAIL") && !strings.Contains(text, "panic: "):
				t.Fatalf("it did not run: %v\n%s", err, text)
			default:
				t.Log(firstFailure(text))
			}
		})
	}
}

// overlay writes the mutated file and what makes the compiler take it.
func overlay(t *testing.T, file, was, is string) string {
	path, err := filepath.Abs(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), was); n != 1 {
		t.Fatalf("%s holds %d times: %s", file, n, was)
	}
	dir := t.TempDir()
	mutated, list := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{mutated: []byte(strings.Replace(string(source), was, is, 1)), list: text} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// firstFailure is the line that tells what was noticed.
func firstFailure(text string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "seed") || strings.Contains(line, "_test.go:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
