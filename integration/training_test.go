package integration

import (
	"fmt"
	"slices"

	"github.com/tallystick/tallystick/integration/oracle"
)

// training: asked at t, states that hold the records with clock ≤ t give what
// was known at t; events at exactly t do not count (V3, V4, §10).
func (x *trial) training() error {
	f := newFold(x.scenario)
	f.fresh = x.view.NewTrainingState
	var ts []int64
	for _, cs := range x.clocks {
		for _, c := range cs {
			if c != oracle.NoClock {
				ts = append(ts, c, c+pick[int64](x.r, 0, 1, minute))
			}
		}
	}
	slices.Sort(ts)
	for _, t := range slices.Compact(ts) {
		for p, cs := range x.clocks {
			for f.at[p] < len(cs) && cs[f.at[p]] <= t {
				f.step(p)
			}
		}
		if x.r.IntN(2) == 0 {
			continue
		}
		for _, entity := range []string{"a", "b", "c"} {
			states := f.of(entity)
			if len(states) == 0 {
				continue
			}
			if err := x.valueIs("§10: training value", t, entity, states, f.at); err != nil {
				return fmt.Errorf("positions %v: %w", f.at, err)
			}
		}
	}
	return nil
}
