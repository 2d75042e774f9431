package transforms

import "slices"

// Intake tells of which inputs an event has something for the cells of a view's tiles:
// what Taken counts of tiles, while events are folded.
type Intake struct {
	from []intake
	of   []int // by cell: of from; -1 = none
}

// intake is what cells read: an input, by another one, where a filter lets it.
type intake struct{ input, by, filter int }

// NewIntake returns what of the cells counts every input. The others keep one value, or
// no more than differ: how many events these came from, a tile does not say.
func (v *View) NewIntake() *Intake {
	k := &Intake{}
	for li := range v.levels {
		for ci := range v.levels[li].cells {
			c := &v.levels[li].cells[ci]
			switch c.agg.(type) {
			case counts, sums, moments, histogram:
			default:
				k.of = append(k.of, -1)
				continue
			}
			x := intake{c.input, c.by, c.filter}
			at := slices.Index(k.from, x)
			if at < 0 {
				at = len(k.from)
				k.from = append(k.from, x)
			}
			k.of = append(k.of, at)
		}
	}
	return k
}

// Len is how many counts there are.
func (k *Intake) Len() int { return len(k.from) }

// Count says which count is that of a cell, in the order of View.Cells; -1 = none.
func (k *Intake) Count(cell int) int { return k.of[cell] }

// Add adds to n, which has Len counts, 1 where an accepted event has an input.
func (k *Intake) Add(n []int64, in *Input) {
	for i := range k.from {
		x := &k.from[i]
		if x.filter >= 0 && !in.filters[x.filter] || x.input >= 0 && in.values[x.input].IsNull() || x.by >= 0 && in.values[x.by].IsNull() {
			continue
		}
		n[i]++
	}
}
