package gate

import (
	"math"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Watch counts what one partition's worker folds, for a Guard. What it has not handed
// over yet lies in the Watch alone: one goroutine at a time uses it, and takes no lock.
type Watch struct {
	g         *Guard
	partition int32
	high      int64 // the offset up to which records were counted
	clock     schemas.Micros
	days      map[int64]*seenDay
	last      *seenDay // of days
	day       int64    // of last
	work      []transforms.Result

	// Behind the guard's lock: the clock when it last judged, and whether another process
	// has the partition.
	handed schemas.Micros
	gone   bool
}

// seenDay is what was seen of one UTC day.
type seenDay struct {
	ledger transforms.Ledger
	of     map[int32]bool // partitions with records, of the guard's days
	// An event that takes the place of another one is counted apart, as is what it has:
	// what the other had is not known any more.
	events, newer         int64
	taken, newerTaken     []int64 // by count of the intake
	least, greatest       []float64
	records               int64 // all of the ledger: it grows only
	judged                int64 // records when it was judged last
	moved                 bool  // least or greatest since then
	settledThen, overThen bool
	breaches              []Breach
	points                map[string]measure // of a day that is over: for the days after it
}

func (g *Guard) newDay() *seenDay {
	n := len(g.view.Spec().Features)
	d := &seenDay{of: map[int32]bool{}, taken: make([]int64, g.intake.Len()), newerTaken: make([]int64, g.intake.Len()), least: make([]float64, n), greatest: make([]float64, n)}
	d.empty()
	return d
}

// empty forgets values.
func (d *seenDay) empty() {
	for i := range d.least {
		d.least[i], d.greatest[i] = math.Inf(1), math.Inf(-1)
	}
}

// Saw takes note of a record that was folded. A record that is folded again, after a
// write that was lost, counts once.
func (w *Watch) Saw(in *transforms.Input, v *transforms.Verdict) {
	if in.Offset <= w.high {
		return
	}
	w.high, w.clock = in.Offset, in.Clock
	day, ok := w.dayOf(in, v)
	if !ok {
		return
	}
	d := w.last
	if d == nil || w.day != day {
		d = w.at(day)
	}
	d.records++
	own := *v
	own.Replaced = false
	d.ledger.Add(&own)
	if v.Replaced { // the event that it replaced moves on its own day
		was := w.at(v.ReplacedEventTime.Days())
		*was.ledger.Count(v.ReplacedOutcome)--
		was.ledger.Superseded++
	}
	if v.Outcome != transforms.Applied {
		return
	}
	if v.Replaced && v.ReplacedOutcome == transforms.Applied {
		d.newer++
		w.g.intake.Add(d.newerTaken, in)
		return
	}
	d.events++
	w.g.intake.Add(d.taken, in)
}

// Reached takes note of the log clock where no record tells it: a partition that has had
// records before, or has ticks alone, keeps no day from being over.
func (w *Watch) Reached(clock schemas.Micros) {
	if clock <= w.clock {
		return
	}
	w.clock = clock
	w.g.mu.Lock()
	w.handed = clock // what was counted and not handed over can only make figures greater
	w.g.mu.Unlock()
}

// dayOf returns the day that a record counts on, as in the ledgers that the gate looks
// at: that of its event time, where it has one. What is late counts on the first day
// that is not closed, what is too far ahead on that of the clock: it makes no day.
func (w *Watch) dayOf(in *transforms.Input, v *transforms.Verdict) (int64, bool) {
	if in.Fault != nil {
		switch in.Fault.Stage {
		case schemas.StageDecode, schemas.StageMigrate, schemas.StageEventTime:
			return 0, false
		}
	}
	switch v.Outcome {
	case transforms.Late, transforms.Invalid:
		spec := w.g.view.Spec()
		return max(min(in.EventTime, in.Clock).Days(), in.Clock.SubSat(spec.LatenessAt(in.Partition, in.Offset)).Days()), true
	case transforms.Future:
		return in.Clock.Days(), true
	}
	return in.EventTime.Days(), true
}

func (w *Watch) at(day int64) *seenDay {
	d := w.days[day]
	if d == nil {
		d = w.g.newDay()
		w.days[day] = d
	}
	w.last, w.day = d, day
	return d
}

// Show takes note of a state that is about to be written: of the range of its features,
// as they are now. They are those of one partition: what an entity has in others is
// not known here.
func (w *Watch) Show(st *transforms.State) {
	t := st.Clock() + 1
	results, err := w.g.view.Value(w.work[:0], t, st)
	if w.work = results; err != nil {
		return
	}
	d := w.at(t.Days())
	for _, i := range w.g.numeric {
		r := &results[i]
		if r.Value.IsNull() || r.Status == transforms.Incomplete || !r.Value.Finite() {
			continue
		}
		f := number(r.Value, t)
		d.least[i], d.greatest[i] = min(d.least[i], f), max(d.greatest[i], f)
	}
}

// merge hands over to the guard's day, and begins anew.
func (d *seenDay) merge(from *seenDay) {
	d.ledger.Merge(&from.ledger)
	d.records += from.records
	d.events, d.newer = d.events+from.events, d.newer+from.newer
	for i := range from.taken {
		d.taken[i] += from.taken[i]
		d.newerTaken[i] += from.newerTaken[i]
	}
	for i := range from.least {
		if from.least[i] < d.least[i] || from.greatest[i] > d.greatest[i] {
			d.least[i], d.greatest[i] = min(d.least[i], from.least[i]), max(d.greatest[i], from.greatest[i])
			d.moved = true
		}
	}
	from.ledger, from.records, from.events, from.newer = transforms.Ledger{}, 0, 0, 0
	clear(from.taken)
	clear(from.newerTaken)
	from.empty()
}
