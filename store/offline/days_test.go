package offline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// dayRig publishes ledgers by day, and no rows.
type dayRig struct {
	rapid.TB
	root   string
	tables *Tables
	cut    int64
}

func newDayRig(t rapid.TB, root string, v *definition.View) *dayRig {
	t.Helper()
	tables, err := OpenTables(root, v)
	if err != nil {
		t.Fatal(err)
	}
	return &dayRig{TB: t, root: root, tables: tables}
}

// staged begins a run upon the newest versions.
func (g *dayRig) staged() *Staged {
	g.Helper()
	dir := filepath.Join(filepath.Dir(g.root), "work")
	run, err := g.tables.NewRun(context.Background(), NewWork(NewScratch(dir), "w", nil), RunOptions{ID: "r"})
	if err != nil {
		g.Fatal(err)
	}
	g.cut++
	return &Staged{r: run, cut: testCut(g.cut), Files: map[TableName][]StagedFile{}}
}

func publicationOf(mode Mode, days []DayEntry) Publication {
	return Publication{Mode: mode, Topic: "e", Days: slices.Clone(days)}
}

// publish publishes upon the newest versions, and returns that of features.
func (g *dayRig) publish(mode Mode, days []DayEntry) int64 {
	g.Helper()
	v, err := g.staged().Publish(context.Background(), publicationOf(mode, days))
	if err != nil {
		g.Fatal(err)
	}
	return v[Features]
}

func (g *dayRig) logPath(name TableName, version int64) string {
	return filepath.Join(g.root, "v", string(name), filepath.FromSlash(logName(version)))
}

func (g *dayRig) commit(version int64) string {
	g.Helper()
	b, err := os.ReadFile(g.logPath(Features, version))
	if err != nil {
		g.Fatal(err)
	}
	return string(b)
}

// replaced writes other words in a commit, in place of its own, and the digest of it.
func (g *dayRig) replaced(name TableName, version int64, old, new string) {
	g.Helper()
	path := g.logPath(name, version)
	b, err := os.ReadFile(path)
	if err == nil && strings.Count(string(b), old) != 1 {
		err = fmt.Errorf("%s stands %d times in %s", old, strings.Count(string(b), old), b)
	}
	if err == nil {
		sum := []byte("," + sumField + `"`)
		if strings.Contains(new, `"format":1`) { // as the earlier program wrote it
			sum = nil
		}
		b = commitSum.ReplaceAll([]byte(strings.Replace(string(b), old, new, 1)), sum)
		err = os.WriteFile(path, seal(b), 0o600)
	}
	if err != nil {
		g.Fatal(err)
	}
}

// at returns the days of a version of features.
func (g *dayRig) at(version int64) ([]DayEntry, error) {
	features := g.tables.Table(Features)
	s, err := features.Snapshot(context.Background(), version)
	if err != nil {
		return nil, err
	}
	info, err := features.Ours(s)
	if err != nil {
		return nil, err
	}
	if info.DaysUpon != "" {
		g.Error("the whole list is said to be of what has changed")
	}
	return info.Days, nil
}

func dayEntry(partition int32, day int64, applied int64) DayEntry {
	return DayEntry{Partition: partition, Day: dateText(day), Ledger: transforms.Ledger{Applied: applied, Late: day % 3}}
}

// nextDay is what a publication a day later has: a new day of each partition, and what
// came late for one before.
func nextDay(r *rand.Rand, days []DayEntry, partitions int32) []DayEntry {
	out := slices.Clone(days)
	day := int64(20_000 + len(days)/int(partitions))
	for p := range partitions {
		if len(out) > 0 && r.IntN(2) == 0 {
			out[r.IntN(len(out))].Late++
		}
		out = append(out, dayEntry(p, day, r.Int64N(1e9)))
	}
	return out
}

// changedAnyhow is another list of days, by one of the ways in which a publication can
// differ from the one before.
func changedAnyhow(t *rapid.T, days []DayEntry, n int) []DayEntry {
	out := slices.Clone(days)
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	switch rapid.SampledFrom([]string{"a day more", "a day more", "a day more", "nothing", "all", "days go", "of old"}).Draw(t, "days") {
	case "a day more":
		out = nextDay(r, out, 2)
	case "all":
		for i := range out {
			out[i].Applied++
		}
	case "days go":
		out = slices.DeleteFunc(out, func(DayEntry) bool { return r.IntN(4) == 0 })
	case "of old":
		out = append(out, DayEntry{Partition: int32(n), Ledger: transforms.Ledger{Invalid: int64(n)}}, dayEntry(int32(n), -int64(n), 1))
	}
	return out
}

// B2, B5, V8: whatever publications follow one another, of every mode and of other
// definitions, beside commits of others, kills and jobs that lose, each version has the
// days that were handed to its writer, all of them. B1: a rerun writes the same bytes.
func TestDaysOfEveryVersion(t *testing.T) {
	views := []*definition.View{testView(t, testDefinition), testView(t, strings.Replace(testDefinition, "over: 24h", "over: 48h", 1))}
	dir, n, differences := t.TempDir(), 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		root := filepath.Join(dir, fmt.Sprint(n))
		g := newDayRig(t, root, views[0])
		want, days, definition := map[int64][]DayEntry{}, []DayEntry(nil), ""
		for i := range rapid.IntRange(1, 8).Draw(t, "publications") {
			mode := rapid.SampledFrom([]Mode{ReplaceDates, ReplaceDates, RepairDates, ReplaceTable}).Draw(t, "mode")
			if mode == ReplaceTable {
				g = &dayRig{t, root, newDayRig(t, root, views[rapid.IntRange(0, 1).Draw(t, "definition")]).tables, g.cut}
			}
			next := days
			if mode != RepairDates || i == 0 {
				next = changedAnyhow(t, days, i)
			}
			killed, lost, s := g.staged(), g.staged(), g.staged()
			if rapid.Bool().Draw(t, "a job before it is killed") {
				info := Info{Format: infoFormat, Fingerprint: g.tables.view.Fingerprint, Table: Tiles, ID: "killed", Publication: publicationOf(mode, nil)}
				if _, err := killed.publish(t.Context(), Tiles, &info); err != nil {
					t.Fatal(err)
				}
				s = g.staged()
			}
			p := publicationOf(mode, next)
			versions, err := s.Publish(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			version := versions[Features]
			bytes := g.commit(version)
			if again, err := s.Publish(t.Context(), publicationOf(mode, next)); err != nil || !reflect.DeepEqual(again, versions) || g.commit(version) != bytes {
				t.Fatalf("B1: the rerun: %v, %v, first %v", again, err, versions)
			}
			if _, err := lost.Publish(t.Context(), publicationOf(mode, nextDay(rand.New(rand.NewPCG(1, 1)), next, 3))); !errors.Is(err, ErrConflict) {
				t.Fatalf("B2: a job upon the version before: %v", err)
			}
			if strings.Contains(bytes, `"days_upon"`) {
				differences++
				if g.tables.view.Fingerprint != definition {
					t.Fatalf("B2: it goes by days of another definition: %s", bytes)
				}
			}
			definition = g.tables.view.Fingerprint
			days = slices.Clone(next)
			sortDays(days)
			want[version] = days
			if rapid.IntRange(0, 3).Draw(t, "another engine commits") == 0 {
				if err := g.tables.Table(Features).store.PutIfAbsent(t.Context(), logName(version+1), []byte(`{"commitInfo":{"operation":"OPTIMIZE"}}`)); err != nil {
					t.Fatal(err)
				}
				want[version+1] = days
			}
			published, err := g.tables.Published(t.Context())
			if err != nil || !sameDays(published.Info.Days, days) {
				t.Fatalf("V8: published %v, %v, want %v", published, err, days)
			}
		}
		for version, days := range want {
			if got, err := g.at(version); err != nil || !sameDays(got, days) {
				t.Fatalf("V8: version %d: %v, %v, want %v", version, got, err, days)
			}
		}
	})
	if differences < n {
		t.Errorf("%d commits of differences in %d histories: too little is seen", differences, n)
	}
}

func sameDays(a, b []DayEntry) bool { return slices.Equal(a, b) }

// B5: what a publication a day leaves in the log goes by what the day has changed, not by
// the history.
func TestCommitOfADayDoesNotGrow(t *testing.T) {
	const partitions, history, later, each = 16, 365, 20, 170
	g := newDayRig(t, filepath.Join(t.TempDir(), "t"), testView(t, testDefinition))
	r := rand.New(rand.NewPCG(1, 1))
	var days []DayEntry
	for range history {
		days = nextDay(r, days, partitions)
	}
	whole := len(g.commit(g.publish(ReplaceTable, days)))
	sum := 0
	for i := range later {
		before := days
		days = nextDay(r, days, partitions)
		changed := len(days) - len(before)
		for k := range before {
			if days[k] != before[k] {
				changed++
			}
		}
		size := len(g.commit(g.publish(ReplaceDates, days)))
		if bound := 1500 + each*changed; size > bound {
			t.Fatalf("B5: commit %d has %d bytes, %d days of %d have changed", i, size, changed, len(days))
		}
		sum += size
	}
	t.Logf("%d days of %d partitions: a commit of all has %d bytes, one of a day %d", history, partitions, whole, sum/later)
	sortDays(days)
	if got, err := g.at(Latest); err != nil || !sameDays(got, days) {
		t.Errorf("V8: %d days, %v, want %d", len(got), err, len(days))
	}
}

// B2: tables that a program wrote which knew commits of format 1 only, with all days in
// each, are read, at every version, and built upon.
func TestFormat1IsRead(t *testing.T) {
	g := newDayRig(t, filepath.Join(t.TempDir(), "t"), testView(t, testDefinition))
	r := rand.New(rand.NewPCG(1, 1))
	var want [][]DayEntry
	for range 3 {
		days := []DayEntry(nil)
		if len(want) > 0 {
			days = want[len(want)-1]
		}
		want = append(want, nextDay(r, days, 2))
	}
	for v, days := range want[:2] {
		s := g.staged()
		s.r.base[Features].Info = nil // so that all are written
		if _, err := s.Publish(t.Context(), publicationOf(ReplaceDates, days)); err != nil {
			t.Fatal(err)
		}
		for _, name := range tableOrder {
			g.replaced(name, int64(v), `"format":2`, `"format":1`)
		}
	}
	if p, err := g.tables.Published(t.Context()); err != nil || p.Info.Format != 1 {
		t.Fatalf("B2: %+v, %v", p, err)
	}
	g.publish(ReplaceDates, want[2])
	if c := g.commit(2); !strings.Contains(c, `"format":2`) || !strings.Contains(c, `"days_upon"`) {
		t.Errorf("what is built upon it does not go by it: %s", c)
	}
	for v, days := range want {
		sortDays(days)
		if got, err := g.at(int64(v)); err != nil || !sameDays(got, days) {
			t.Errorf("V8: version %d: %v, %v, want %v", v, got, err, days)
		}
	}
}

// B2: who meets a commit of a format that the program does not know says so, with what
// helps, be it to read, to go on, to write anew or to collect; and so where days are
// said upon it. What says all its days anew is read.
func TestUnknownFormatIsRefused(t *testing.T) {
	g := newDayRig(t, filepath.Join(t.TempDir(), "t"), testView(t, testDefinition))
	r := rand.New(rand.NewPCG(1, 1))
	first := nextDay(r, nextDay(r, nil, 5), 5)
	second := nextDay(r, first, 5)
	g.publish(ReplaceTable, first)
	standing := g.staged()
	g.replaced(Features, 0, `"format":2,`, `"format":3,`)
	root, err := OpenRoot(g.root, RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	run := g.staged()
	for what, do := range map[string]func() error{
		"Published": func() error { _, err := g.tables.Published(t.Context()); return err },
		"Before":    func() error { _, err := run.r.Before(); return err },
		"Publish": func() error {
			_, err := run.Publish(t.Context(), publicationOf(ReplaceTable, second))
			return err
		},
		"GC": func() error { _, err := root.GC(t.Context(), GCOptions{Retain: 7 * day}); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "features, version 0: its commitInfo is of format 3, this program reads 1 to 2: a newer one wrote it, upgrade this") {
			t.Errorf("B2: %s: %v", what, err)
		}
	}
	if _, err := standing.Publish(t.Context(), publicationOf(ReplaceDates, second)); err != nil { // it knew what stands there
		t.Fatal(err)
	}
	if _, err := g.at(1); err == nil || !strings.Contains(err.Error(), "features, version 1: its commit is damaged, or one before it") {
		t.Errorf("B2: days upon a commit of an unknown format: %v", err)
	}
	last := g.staged()
	last.r.base[Features].Info = nil
	if _, err := last.Publish(t.Context(), publicationOf(ReplaceTable, second)); err != nil {
		t.Fatal(err)
	}
	sortDays(second)
	if got, err := g.at(2); err != nil || !sameDays(got, second) {
		t.Errorf("V8: %v, %v, want %v", got, err, second)
	}
}

// B2: where another table's commit cannot be read, readers say why; only where it is of
// another publication do they say that.
func TestPublishedTellsOfOtherTables(t *testing.T) {
	for _, name := range tableOrder[:len(tableOrder)-1] {
		for words, want := range map[[2]string]string{
			{`"format":2,`, `"format":3,`}:           "its commitInfo is of format 3, this program reads 1 to 2: a newer one wrote it, upgrade this",
			{`"format":2,`, `"format":0,`}:           "commitInfo: it is of format 0, this program reads 1 to 2",
			{`"publication":"`, `"publication":"x`}:  "it is not of the publication that features names",
			{`"tallystick":{`, `"other":{`}:          "its commit is damaged: its first line is gone",
			{`"txn":{`, `"txn":{"appId":"other"},"`}: "its commit is damaged",
		} {
			g := newDayRig(t, filepath.Join(t.TempDir(), "t"), testView(t, testDefinition))
			g.publish(ReplaceTable, nil)
			g.replaced(name, 0, words[0], words[1])
			_, err := g.tables.Published(t.Context())
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("table v/%s, version 0: %s", name, want)) {
				t.Errorf("B2: %s: %s: %v", name, words[1], err)
			}
		}
	}
}

// B2: where the commit that a difference goes by is another one than it was, readers and
// the next run are told; no list of days is made of two histories.
func TestDaysOfAnotherHistoryAreTold(t *testing.T) {
	g := newDayRig(t, filepath.Join(t.TempDir(), "t"), testView(t, testDefinition))
	r := rand.New(rand.NewPCG(1, 1))
	var days []DayEntry
	for range 3 {
		days = nextDay(r, days, 2)
		g.publish(ReplaceDates, days)
	}
	other := newDayRig(t, filepath.Join(t.TempDir(), "t"), g.tables.view)
	other.publish(ReplaceDates, days[:2])
	other.publish(ReplaceDates, days[:3])
	if err := os.WriteFile(g.logPath(Features, 1), []byte(other.commit(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := g.tables.Published(t.Context())
	_, again := g.staged().Publish(t.Context(), publicationOf(ReplaceDates, nextDay(r, days, 2)))
	for _, err := range []error{err, again} {
		if err == nil || !strings.Contains(err.Error(), "features, version 2: its commit is damaged, or one before it") || !strings.Contains(err.Error(), restoreCommit) {
			t.Errorf("B2: %v", err)
		}
	}
}
