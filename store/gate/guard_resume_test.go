package gate_test

import (
	"testing"

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
