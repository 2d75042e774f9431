package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	tables "github.com/tallystick/tallystick/transforms/rows"
)

// rowsOf returns what the tables in a directory hold: values, tiles, states and
// quarantined records, each with how often it is there.
func (g *gateRig) rowsOf(out string) map[string]int {
	g.Helper()
	rows := map[string]int{}
	p, _ := g.published(out)
	note := func(err error, row ...any) {
		if err != nil {
			g.Fatal(err)
		}
		rows[fmt.Sprintf("%q", fmt.Sprint(row...))]++
	}
	for r, err := range p.Features(g.Context(), offline.Select{}) {
		note(err, "features", r)
	}
	for r, err := range p.Tiles(g.Context(), offline.Select{}) {
		note(err, "tiles", r)
	}
	for r, err := range p.Open(g.Context(), offline.Select{}) {
		note(err, "open", r)
	}
	if err := p.EachQuarantined(g.Context(), offline.Select{}, func(r tables.Quarantined) error {
		note(nil, "quarantine", r)
		return nil
	}); err != nil {
		g.Fatal(err)
	}
	return rows
}

// Ranges that make up all entities have the rows, ledgers and quarantined records of a
// replay of all, each once, and what they pass over is what the others have (V8); tables
// of a range are gone on from (B5), also by a plan, and mix with no others.
func TestReplayEntities(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 9)
	g.history(6)
	whole := g.dates("whole")
	union, ledger := map[string]int{}, transforms.Ledger{}
	for i, r := range []string{"..e2", "e2..e5", "e5.."} {
		out := fmt.Sprint("part", i)
		v := g.dates(out, "--entities", r)
		for row, n := range g.rowsOf(out) {
			union[row] += n
		}
		ledger.Merge(&v.Total.Ledger)
		if v.Total.Read+v.Outside != whole.Total.Read || v.Total.Read == 0 || v.Outside == 0 || (v.Total.Invalid > 0) != (i == 0) {
			t.Errorf("V8: %s: %d records and %d of others, of %d in all; %d invalid", r, v.Total.Read, v.Outside, whole.Total.Read, v.Total.Invalid)
		}
	}
	all := g.rowsOf("whole")
	if !maps.Equal(all, union) || len(all) < 200 {
		t.Errorf("%d rows in all, %d in ranges", len(all), len(union))
	}
	for _, table := range []string{"features", "tiles", "open", "quarantine"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(s string) bool { return strings.HasPrefix(s, `"`+table) }) {
			t.Errorf("table %s has no rows", table)
		}
	}
	if ledger != whole.Total.Ledger {
		t.Errorf("V8: the ledgers add up to %+v, not %+v", ledger, whole.Total.Ledger)
	}
	g.history(1)
	if v := g.dates("part1", "--entities", "e2..e5", "--continue"); !v.Continued || v.RecordsRead >= whole.RecordsRead {
		t.Errorf("B5: it read %d records, %+v", v.RecordsRead, v.Continued)
	}
	g.dates("fresh", "--entities", "e2..e5")
	if !maps.Equal(g.live("part1"), g.live("fresh")) {
		t.Error("B5: gone on from, the tables of a range have other files than from the start")
	}
	plan := filepath.Join(g.dir, "plan.json")
	g.run(exitOK, "replay", "plan", "--out", filepath.Join(g.dir, "planned"), "--entities", "e2..e5", "-o", plan)
	for _, part := range []string{"run", "publish"} {
		args := []string{"replay", part, "--plan", plan, "--out", filepath.Join(g.dir, "planned")}
		if part == "run" {
			args = append(args, "--unit", "0/1")
		}
		g.run(exitOK, args...)
	}
	if !maps.Equal(g.live("planned"), g.live("fresh")) {
		t.Error("B4: a plan of a range leaves other files")
	}
	redis := testbed.Redis(t).Addr()
	for _, c := range []struct {
		says string
		args []string
	}{
		{"hold the entities e2..e5 of view v, this replay is of all entities", []string{"replay", "--out", "part1"}},
		{"hold the entities e2..e5 of view v, this replay is of all entities", []string{"replay", "--continue", "--out", "part1"}},
		{"this replay is of the entities e3..e5", []string{"replay", "--entities", "e3..e5", "--out", "part1"}},
		{"hold all entities of view v, this replay is of the entities ..e2", []string{"replay", "--entities", "..e2", "--out", "whole"}},
		{"this replay is of all entities", []string{"replay", "--from-date", g.date(2), "--out", "part1"}},
		{"they hold the entities e2..e5 alone", []string{"stream", "--until", "end", "--redis", redis, "--from-tables", "part1"}},
		{"are of the entities e2..e5 alone", []string{"stream", "--until", "end", "--redis", redis, "--guard", "part1"}},
		{"hold the entities e2..e5 alone", []string{"reconcile", "--redis", redis, "--out", "part1"}},
		{`"e2" is no range`, []string{"replay", "--entities", "e2"}},
		{`".." is no range`, []string{"replay", "--entities", ".."}},
		{`"e2\xff.." is not UTF-8 text`, []string{"replay", "--entities", "e2\xff.."}},
		{"nothing lies from e5 to before e5", []string{"replay", "--entities", "e5..e5"}},
	} {
		before := g.live("part1")
		for i := range c.args {
			if c.args[i] == "part1" || c.args[i] == "whole" {
				c.args[i] = filepath.Join(g.dir, c.args[i])
			}
		}
		code := exitUsage
		if slices.Contains(c.args, "--from-tables") {
			code = exitFailed
		}
		if said := g.run(code, c.args...); !strings.Contains(said, c.says) {
			t.Errorf("%v says %s", c.args, said)
		}
		if !maps.Equal(before, g.live("part1")) {
			t.Errorf("%v has changed the tables", c.args)
		}
	}
}
