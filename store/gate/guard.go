package gate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Guard holds what a stream folds against the accepted days (B6). It looks at what can
// be said of a day that is not over, by a process that may have some of the partitions
// only and may have begun in the middle:
//
//   - the records of a day, which grow only: more than a whole day may have, of those
//     partitions, is a breach at any time;
//   - shares, as if all records that a usual day has besides were sound: what is a
//     breach so stays one whatever comes;
//   - the least and the greatest value of features;
//   - what a newer version of an event can still change, once the day is closed.
//
// Its methods may be called by any number of goroutines, those of a Watch by one.
type Guard struct {
	view    *transforms.View
	o       Options
	intake  *transforms.Intake
	columns []string // of cells, as Profile.Inputs has them
	numeric []int    // features of which values are compared

	mu      sync.Mutex
	base    *baseline // nil = nothing is guarded
	days    map[int64]*seenDay
	first   int64 // days before it were dropped
	watches map[int32]*Watch
	told    map[Figure]bool
	kept    []Breach // see Resume
	used    map[Statistic]float64
}

// baseline is what a publication says of usual days.
type baseline struct {
	past          map[string][]point
	aside         map[Figure]bool
	closed, final Day             // the newest that are accepted
	read          map[int32]int64 // records by partition
}

// NewGuard returns a Guard that guards nothing until Accept. The zero Options are
// DefaultOptions; snapshots is as in New.
func NewGuard(view *transforms.View, snapshots schemas.Micros, o Options) *Guard {
	if o == (Options{}) {
		o = DefaultOptions()
	}
	o.Snapshots = snapshots
	g := &Guard{view: view, o: o, intake: view.NewIntake(), days: map[int64]*seenDay{}, first: int64(minDay), watches: map[int32]*Watch{}, told: map[Figure]bool{}, used: map[Statistic]float64{}}
	for i := range view.Spec().Features {
		switch view.Spec().Features[i].Type() {
		case schemas.Int.String(), schemas.Double.String():
			if comparable(view.Spec(), i, snapshots) {
				g.numeric = append(g.numeric, i)
			}
		}
	}
	for _, c := range view.Cells() {
		var names []string
		for _, f := range c.Features {
			names = append(names, view.Spec().Features[f].Name)
		}
		g.columns = append(g.columns, strings.Join(names, ", "))
	}
	return g
}

// comparable tells whether a feature is as of any instant what it is at the boundaries of
// which the baseline is: its windows are whole multiples of their distance, so that they
// hold each hour of the day as often.
func comparable(spec *transforms.Spec, feature int, snapshots schemas.Micros) bool {
	f := &spec.Features[feature]
	if f.Derived != nil {
		for _, of := range f.Derived.Slots() {
			if !comparable(spec, of, snapshots) {
				return false
			}
		}
		return true
	}
	switch w := f.Window; w.Kind {
	case transforms.Sliding:
		return w.Length%snapshots == 0
	case transforms.Lifetime:
		return true
	default: // the current day, week or month is more or less over
		return w.ExcludeCurrent
	}
}

// Watch returns what counts a partition's records.
func (g *Guard) Watch(partition int32) *Watch {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.watches[partition]
	if w == nil {
		w = &Watch{g: g, partition: partition, high: -1, clock: schemas.Never, handed: schemas.Never, days: map[int64]*seenDay{}}
		g.watches[partition] = w
	}
	w.gone = false
	return w
}

// Leave says that a partition's records are counted by another process from now on.
// What was counted of them stays: when it comes back none counts twice.
func (g *Guard) Leave(partition int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.watches[partition]; w != nil {
		w.gone = true
	}
}

// Accept makes the record of a publication what is usual, in the place of the one
// before; read is how many records it has of each partition. It returns of how many
// dates: with fewer than Options.Least nothing is guarded.
func (g *Guard) Accept(r *Record, read map[int32]int64) (dates int) {
	c := &checker{Options: g.o, past: map[string][]point{}, aside: map[Figure]bool{}}
	for _, f := range r.Aside {
		c.aside[f] = true
	}
	b := &baseline{aside: c.aside, closed: minDay, final: minDay, read: read}
	for i := range r.Profiles {
		p := &r.Profiles[i]
		c.accept(p)
		if p.Closed {
			b.closed = p.Day
		}
		if p.Final {
			b.final = p.Day
		}
	}
	for _, ps := range c.past {
		dates = max(dates, len(ps))
	}
	b.past = c.past
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.base = b; dates < g.o.Least {
		g.base = nil
	}
	for _, d := range g.days {
		d.judged, d.breaches, d.points = -1, nil, nil
	}
	return dates
}

// Judge looks at what was seen of a watch's partition since the last call, with what
// the others have handed over. standing are the breaches that there are, the oldest
// first; fresh is how many of them no call has returned before, which stand first.
func (g *Guard) Judge(w *Watch) (standing []Breach, fresh int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.take(w)
	defer g.forget(w)
	if g.base == nil { // nobody can say that what held before is over: see Standing
		return slices.Clone(g.kept), 0
	}
	clock := g.clock()
	for _, day := range slices.Sorted(maps.Keys(g.days)) {
		g.judge(day, clock)
	}
	old := []Breach{}
	for _, b := range g.all() {
		if f := b.Figure(); g.told[f] {
			old = append(old, b)
		} else {
			g.told[f] = true
			standing = append(standing, b)
		}
	}
	return append(standing, old...), len(standing)
}

// Resume takes up the breaches that another process is or was held by, besides those
// taken up before: what it had counted is not known here. They stand until their figures
// are accepted.
func (g *Guard) Resume(breaches []Breach) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range breaches {
		if !slices.ContainsFunc(g.kept, func(k Breach) bool { return k.Figure() == b.Figure() }) {
			g.kept = append(g.kept, b)
		}
	}
}

// Standing returns the breaches that there are, as Judge has found or Resume was told.
// Without a baseline nobody can say that they are over.
func (g *Guard) Standing() []Breach {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.base == nil {
		return slices.Clone(g.kept)
	}
	return g.all()
}

// all returns the breaches that stand, those of Resume first, then day by day.
func (g *Guard) all() []Breach {
	g.kept = slices.DeleteFunc(g.kept, func(b Breach) bool {
		m := measure{table: b.Table, column: b.Column, statistic: b.Statistic}
		return (&judging{Guard: g, Day: b.Date}).accepted(&m)
	})
	standing := slices.Clone(g.kept)
	for _, day := range slices.Sorted(maps.Keys(g.days)) {
		for _, b := range g.days[day].breaches {
			if !slices.ContainsFunc(standing, func(s Breach) bool { return s.Figure() == b.Figure() }) {
				standing = append(standing, b)
			}
		}
	}
	return standing
}

// take adds what a watch has counted to what the guard has.
func (g *Guard) take(w *Watch) {
	w.handed = w.clock
	for day, d := range w.days {
		if g.days[day] == nil {
			if day < g.first {
				continue
			}
			g.days[day] = g.newDay()
		}
		if d.records > 0 {
			g.days[day].of[w.partition] = true
		}
		g.days[day].merge(d)
	}
}

// clock is the least of the log clocks of the partitions that are read here, Never
// while one is not known.
func (g *Guard) clock() schemas.Micros {
	least := schemas.Forever
	for _, w := range g.watches {
		if !w.gone {
			least = min(least, w.handed)
		}
	}
	return least
}

// forget drops what is no longer compared with anything.
func (g *Guard) forget(w *Watch) {
	clock := g.clock()
	if clock == schemas.Never {
		return
	}
	g.first = clock.SubSat(g.view.Spec().MaxLateness()).Days() - int64(g.o.Lasting) - 1
	maps.DeleteFunc(g.days, func(day int64, d *seenDay) bool { return day < g.first && len(d.breaches) == 0 })
	maps.DeleteFunc(w.days, func(day int64, _ *seenDay) bool { return day < g.first })
	w.last = nil
}

// part is what of the records of a usual day the partitions have of which some were
// counted on this one: 1 where that is all, or not known.
func (j *judging) part() float64 {
	var all, ours int64
	for p, n := range j.base.read {
		if all += n; j.of[p] {
			ours += n
		}
	}
	for p := range j.of {
		if _, known := j.base.read[p]; !known {
			return 1
		}
	}
	if all == 0 || ours == 0 {
		return 1
	}
	return float64(ours) / float64(all)
}

// grown: a day is judged again when it has that part more records.
const grown = 64

// judge finds the breaches of a day, unless it is as it was.
func (g *Guard) judge(day int64, clock schemas.Micros) {
	d := g.days[day]
	end := schemas.Micros(day+1) * schemas.Day
	over := clock >= end
	settled := over && clock.SubSat(g.view.Spec().MaxLateness()) >= end
	if d.judged >= 0 && d.records-d.judged <= d.judged/grown && !d.moved && over == d.overThen && settled == d.settledThen {
		return
	}
	d.judged, d.moved, d.overThen, d.settledThen = d.records, false, over, settled
	d.breaches, d.points = nil, map[string]measure{}
	j := judging{g, d, Day(day), &checker{Options: g.o, report: &Report{Used: g.used}}, over, settled}
	if j.Day > g.base.closed || len(g.base.aside) > 0 {
		j.records()
		j.inputs()
	}
	if j.Day+1 > g.base.final || len(g.base.aside) > 0 {
		j.values()
	}
	slices.SortStableFunc(d.breaches, func(a, b Breach) int { return cmp.Compare(a.Date, b.Date) })
}
