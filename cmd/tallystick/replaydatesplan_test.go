package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/store/offline"
)

// planned plans a replay into tables, as processes are to share it.
func (g *dateRig) planned(name, out string, more ...string) *parts {
	g.Helper()
	p := &parts{T: g.T, common: g.common, plan: filepath.Join(g.dir, name+".json"), root: filepath.Join(g.dir, out)}
	g.run(exitOK, append([]string{"replay", "plan", "--out", p.root, "-o", p.plan, "--unit-records", "40"}, more...)...)
	return p
}

// together runs a plan by three processes.
func (p *parts) together() {
	p.Helper()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { p.ok(p.start("run", "--unit", fmt.Sprintf("%d/3", i)), "units were run") })
	}
	wg.Wait()
}

// B4, B5: processes that share a plan which goes on from tables leave the files of one
// replay that does; the tables must still be those that were planned upon.
func TestContinuedInParts(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 21)
	g.history(8)
	cut := filepath.Join(g.dir, "cut.json")
	g.dates("t", "--save-cut", cut)
	g.dates("alone", "--cut", cut)
	if said := g.run(exitFailed, "replay", "plan", "--continue", "--out", filepath.Join(g.dir, "t")); !strings.Contains(said, "nothing has come since the tables were published") {
		t.Error(said)
	}
	g.history(2)
	later := filepath.Join(g.dir, "later.json")
	g.run(exitOK, "cut", "-o", later)
	p, late := g.planned("continue", "t", "--continue", "--cut", later), g.planned("late", "t", "--continue", "--cut", later, "--unit-records", "33")
	p.together()
	late.ok(late.start("run", "--unit", "0/1"), "units were run")
	if said := g.dates("alone", "--continue", "--cut", later); !said.Continued {
		t.Error("it is not gone on from")
	}
	g.history(1)
	p.ok(p.start("publish"), "gone on from the tables")
	p.ok(p.start("publish"), "published already")
	p.ok(p.start("run", "--unit", "1/3"), "published already")
	if d := differing(g.live("t"), g.live("alone")); len(d) > 0 {
		t.Errorf("B5: %v differ", d)
	}
	a, _ := g.published("t")
	b, _ := g.published("alone")
	if a.Info.ID != b.Info.ID || !maps.Equal(ledgersOf(a), ledgersOf(b)) {
		t.Error("B1: they are two publications")
	}
	g.dates("t", "--continue")
	for _, part := range [][]string{{"publish"}, {"run", "--unit", "0/1"}} {
		late.refused(late.start(part[0], part[1:]...), "replaced by another publication since")
	}
}

// B2, B4: of the plans of one cut upon the same tables one is published; those of other
// rows are told, whether they have run before that or not.
func TestPlanComesTooLate(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 23)
	g.history(4)
	g.dates("t")
	g.history(1)
	first := g.planned("first", "t")
	var late []*parts
	for _, kind := range []string{"final", "provisional"} {
		p := g.planned("late-"+kind, "t", "--publish", kind)
		p.ok(p.start("run", "--unit", "0/1"), "units were run")
		late = append(late, p)
	}
	text, err := os.ReadFile(g.definition)
	if err != nil {
		t.Fatal(err)
	}
	definition := filepath.Join(filepath.Dir(g.definition), "renamed.yaml")
	if err := os.WriteFile(definition, bytes.Replace(text, []byte("s: {sum"), []byte("total: {sum"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	other, rig := *g, *g.gateRig
	other.gateRig, rig.common = &rig, append(slices.Clone(g.common), "-f", definition)
	renamed := other.planned("renamed", "t") // of the same fingerprint
	first.ok(first.start("run", "--unit", "0/1"), "units were run")
	first.ok(first.start("publish"), "feature rows")
	same := late[1]
	same.ok(same.start("publish"), "published already")
	for _, p := range []*parts{late[0], renamed} {
		for _, part := range [][]string{{"publish"}, {"run", "--unit", "0/1"}} {
			p.refused(p.start(part[0], part[1:]...), "replaced by another publication since")
		}
	}
}

// B2, B4: a plan of dates, by three processes; of two that were planned upon the same
// tables one is published.
func TestDatesInParts(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 22)
	g.history(16)
	date := g.date(3)
	p := g.planned("fresh", "fresh", "--from-date", date)
	p.together()
	p.ok(p.start("publish"), "rows of "+date+" and later were written")
	g.dates("t")
	if got := g.live("fresh"); len(differing(got, from(g.live("t"), got, date))) > 0 || len(got) < 20 {
		t.Errorf("B1: %v differ", differing(got, from(g.live("t"), got, date)))
	}
	before := g.live("t")
	settled := g.planned("settled", "t", "--from-date", g.date(7), "--to-date", g.date(5))
	settled.ok(settled.start("run", "--unit", "0/1"), "units were run")
	other := g.planned("other", "t", "--from-date", g.date(6), "--to-date", g.date(6))
	other.ok(other.start("run", "--unit", "0/1"), "units were run")
	settled.ok(settled.start("publish"), "rows of "+g.date(7)+" to "+g.date(5)+" were written")
	settled.ok(settled.start("publish"), "published already")
	other.refused(other.start("publish"), "replaced by another publication since")
	if d := differing(g.live("t"), before); len(d) > 0 {
		t.Errorf("B2: %v differ", d)
	}
	p.change("views.dates", `{"from": "2020-01-01"}`, "was changed after it was written")
}

// B2, B4: a replay of dates that is killed with some of the tables committed, and is run
// again, ends with the same files.
func TestDatesAfterTornPublication(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 23)
	g.history(14)
	g.dates("t")
	g.history(1)
	cut := filepath.Join(g.dir, "cut.json")
	g.run(exitOK, "cut", "-o", cut)
	for _, flags := range [][]string{{"--from-date", g.date(4), "--cut", cut}, {"--from-date", g.date(8), "--to-date", g.date(7)}} {
		g.dates("t", flags...)
		want := g.live("t")
		p, _ := g.published("t")
		for _, table := range []string{"features", "quarantine"} {
			commits, _ := filepath.Glob(filepath.Join(g.dir, "t", "v", table, "_delta_log", "*.json"))
			if err := os.Remove(slices.Max(commits)); err != nil {
				t.Fatal(err)
			}
		}
		g.dates("t", flags...)
		if d := differing(g.live("t"), want); len(d) > 0 {
			t.Errorf("B4: %v: %v differ", flags, d)
		}
		if now, _ := g.published("t"); now.Info.ID != p.Info.ID || now.Versions[offline.Features] != p.Versions[offline.Features] {
			t.Errorf("B4: %v: it is another publication", flags)
		}
	}
}

// B2: of two replays of dates at once one publishes at least, and one that does not is
// told; run again, it finds its place.
func TestDatesAtOnce(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 24)
	g.history(12)
	g.dates("t")
	g.history(1)
	g.dates("whole")
	var wg sync.WaitGroup
	var said [2]bytes.Buffer
	var codes [2]int
	for i := range said {
		wg.Go(func() {
			args := append([]string{"replay", "--gate", "report", "--out", filepath.Join(g.dir, "t"), "--from-date", g.date(4 + i)}, g.common...)
			codes[i] = run(t.Context(), args, &said[i], &said[i])
		})
	}
	wg.Wait()
	for i, code := range codes {
		if code != exitOK && (code != exitFailed || codes[1-i] != exitOK || !strings.Contains(said[i].String(), "another job has published in between")) {
			t.Errorf("exit codes %v: %s", codes, said[i].String())
		}
		g.dates("t", "--from-date", g.date(4+i))
		if d := differing(g.live("t"), g.live("whole")); len(d) > 0 {
			t.Errorf("B1: %v differ", d)
		}
	}
}
