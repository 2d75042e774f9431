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
	ever    map[int32]bool // partitions that were counted
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
	g := &Guard{view: view, o: o, intake: view.NewIntake(), days: map[int64]*seenDay{}, first: int64(minDay), watches: map[int32]*Watch{}, ever: map[int32]bool{}, told: map[Figure]bool{}, used: map[Statistic]float64{}}
	for i := range view.Spec().Features {
		switch view.Spec().Features[i].Type() {
		case schemas.Int.String(), schemas.Double.String():
			g.numeric = append(g.numeric, i)
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
	if g.base == nil {
		return nil, 0
	}
	standing, fresh = g.resumed()
	clock := g.clock()
	for _, day := range slices.Sorted(maps.Keys(g.days)) {
		g.judge(day, clock)
		for _, b := range g.days[day].breaches {
			if slices.ContainsFunc(standing, func(s Breach) bool { return s.Figure() == b.Figure() }) {
				continue
			}
			if !g.told[b.Figure()] {
				g.told[b.Figure()] = true
				standing = slices.Insert(standing, fresh, b)
				fresh++
				continue
			}
			standing = append(standing, b)
		}
	}
	return standing, fresh
}

// Resume takes up the breaches that a process before this one was held by: what it had
// counted is not known here. They stand until their figures are accepted.
func (g *Guard) Resume(breaches []Breach) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kept = breaches
}

// resumed returns those of Resume that stand.
func (g *Guard) resumed() (standing []Breach, fresh int) {
	g.kept = slices.DeleteFunc(g.kept, func(b Breach) bool {
		m := measure{table: b.Table, column: b.Column, statistic: b.Statistic}
		return (&judging{Guard: g, Day: b.Date}).accepted(&m)
	})
	for i := range g.kept {
		if f := g.kept[i].Figure(); !g.told[f] {
			g.told[f] = true
			fresh = i + 1
		}
	}
	return slices.Clone(g.kept), fresh
}

// take adds what a watch has counted to what the guard has.
func (g *Guard) take(w *Watch) {
	w.handed = w.clock
	g.ever[w.partition] = g.ever[w.partition] || w.high >= 0
	for day, d := range w.days {
		if g.days[day] == nil {
			if day < g.first {
				continue
			}
			g.days[day] = g.newDay()
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

// part is what of the records of a day the partitions have that were ever counted
// here: 1 where that is all, or not known.
func (g *Guard) part() float64 {
	var all, ours int64
	for p, n := range g.base.read {
		if all += n; g.ever[p] {
			ours += n
		}
	}
	for p, counted := range g.ever {
		if _, known := g.base.read[p]; counted && !known {
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
