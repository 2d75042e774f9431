package gate_test

import (
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
)

// B6: what held the process before holds this one too where the tables it is guarded by
// have no baseline, such as a directory that was named by mistake: Standing says that it
// stands, so nothing is to become visible.
func TestGuardResumesWithoutABaseline(t *testing.T) {
	g := newGuardRig(t)
	w := g.guard.Watch(0)
	g.guard.Resume([]gate.Breach{{Table: gate.LedgerTable, Statistic: gate.Read, Date: 20_020, Is: 5_000}})
	g.day(w, 20_020, 100, 0)
	if bs := g.judge(w); len(bs) != len(g.guard.Standing()) {
		t.Errorf("%d breaches stand, and %d hold", len(g.guard.Standing()), len(bs))
	}
}

// B6, K7: a partition that gets no records, but ticks, as the log of a topic with few
// keys has some, keeps no day from being over.
func TestGuardBesideAnIdlePartition(t *testing.T) {
	for name, ticks := range map[string]bool{"ticks": true, "nothing": false} {
		t.Run(name, func(t *testing.T) {
			g := newGuardRig(t)
			w, idle := g.guard.Watch(0), g.guard.Watch(1)
			idle.Reached(20_000 * schemas.Day) // as its marker says
			g.accept(20_000, 20_019, nil, 1000)
			for day := range 3 {
				g.day(w, 20_020+day, 1000, 7) // null for one in seven, three days long: see TestGuardInputs
				g.judge(w)
			}
			g.day(w, 20_023, 10, 0)
			if ticks {
				idle.Reached(20_023 * schemas.Day)
			}
			if bs := g.judge(w); (len(bs) > 0) != ticks {
				t.Errorf("a shift of three days gives %v", bs)
			}
		})
	}
}
