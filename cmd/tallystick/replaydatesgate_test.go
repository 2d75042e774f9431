package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/store/offline"
)

// B6: the gate judges the dates that are written, by those before them, and what it holds
// is accepted upon the tables.
func TestReplayDatesGate(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 9)
	g.days(24, nil)
	g.dates("t")
	g.days(1, twice)
	g.days(2, nil)
	held := g.replay(exitHeld, "t", "--from-date", g.date(4))
	if held.Dates != 4 {
		t.Errorf("%d dates are judged", held.Dates)
	}
	before, _ := g.published("t")
	g.run(exitOK, "replay", "accept", "--reason", "a fair", "--out", filepath.Join(g.dir, "t"))
	g.dates("whole", "--gate", "off")
	if now, rec := g.published("t"); now.Versions[offline.Features] != before.Versions[offline.Features]+1 || rec.Accepted == nil {
		t.Errorf("%v", now.Versions)
	}
	if d := differing(g.live("t"), g.live("whole")); len(d) > 0 {
		t.Errorf("%v differ", d)
	}
	date := g.date(10)
	if said := g.replay(exitOK, "t", "--from-date", date, "--to-date", date); said.Dates != 1 || said.Verdict != verdictPassed {
		t.Errorf("%+v", said)
	}
	g.days(1, nil)
	if said := g.replay(exitOK, "t", "--continue"); said.Verdict != verdictPassed {
		t.Errorf("days after: %+v", said)
	}
}

// B6: dates that are written again and look wrong then are held, change nothing, and are
// published as they were judged once accepted.
func TestHeldDatesAreAccepted(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 12)
	g.days(20, nil)
	g.unknown(400)
	day := g.date(1)
	g.days(3, nil)
	g.dates("t", "--gate", "off")
	before := g.live("t")
	was, _ := g.published("t")
	g.known()
	dates := []string{"--from-date", day, "--to-date", day}
	if held := g.replay(exitHeld, "t", dates...); held.Dates != 1 {
		t.Errorf("%d dates are judged", held.Dates)
	}
	if d := differing(g.live("t"), before); len(d) > 0 {
		t.Errorf("held, and %v are others", d)
	}
	g.run(exitOK, "replay", "accept", "--reason", "its schema was registered late", "--out", filepath.Join(g.dir, "t"))
	g.dates("off", "--gate", "off")
	now, rec := g.published("t")
	if now.Versions[offline.Features] != was.Versions[offline.Features]+1 || now.Info.Mode != offline.RepairDates || rec.Accepted == nil {
		t.Errorf("%v, mode %s", now.Versions, now.Info.Mode)
	}
	got, want := g.live("t"), g.live("off")
	if d := differing(got, before); len(d) == 0 {
		t.Error("nothing has changed")
	}
	for name, sum := range got {
		if _, rest, _ := strings.Cut(name, "event_date="); rest[:10] == day && want[name] != sum || rest[:10] != day && before[name] != sum {
			t.Errorf("B1: %s is another file", name)
		}
	}
}
