package transforms

import (
	"fmt"
	"math"

	"github.com/tallystick/tallystick/schemas"
)

// Status says what a feature's value, or its lack, means (V9).
type Status uint8

// The statuses. Their numbers stand in tables and in the online store.
const (
	Present Status = iota + 1
	IsNull
	Absent      // every window of the view is empty
	Approximate // an estimate: count_distinct at or beyond 1024
	Overflow    // the result lies outside its type
	Incomplete  // the window reaches back before the fold's start (K8)
)

var statusNames = [...]string{"", "PRESENT", "NULL", "ABSENT", "APPROXIMATE", "OVERFLOW", "INCOMPLETE"}

func (s Status) String() string { return statusNames[s] }

// Result is the value of one feature as of some t.
type Result struct {
	Value  schemas.Value
	Status Status
}

// NotDefinedError says that a value was asked of states that do not determine it.
type NotDefinedError struct {
	T, Clock, Trimmed schemas.Micros
}

func (e *NotDefinedError) Error() string {
	return fmt.Sprintf("no value is defined as of %v: the state stands at clock %v, trimmed at %v; ask the log (train, replay)", e.T, e.Clock, e.Trimmed)
}

// evaluation is the working memory of one Value call.
type evaluation struct {
	accs   [][]cell // per level and probe
	spans  [][]interval
	reach  []indexRange   // of the windows of the level at hand
	active [][]*cell      // per cell of that level: the probes that the tile at hand adds to
	counts []*cell        // likewise, those that count events
	until  int64          // the tile at which active changes
	some   bool           // an event lies in some window
	since  schemas.Micros // where the latest one of those begins that hold one
	used   cell
	in     *Input
	values []schemas.Value
}

// interval is [lo, hi) in event time.
type interval struct{ lo, hi schemas.Micros }

func (i interval) has(t schemas.Micros) bool { return i.lo <= t && t < i.hi }

func newEvaluation(v *View) *evaluation {
	e := &evaluation{in: v.NewInput(), values: make([]schemas.Value, len(v.spec.Features))}
	for _, l := range v.levels {
		e.accs = append(e.accs, make([]cell, len(l.probes)))
		e.spans = append(e.spans, make([]interval, len(l.windows)))
		if n := len(l.windows); n > len(e.reach) {
			e.reach = make([]indexRange, n)
		}
		if n := len(l.cells); n > len(e.active) {
			e.active = make([][]*cell, n)
		}
	}
	return e
}

// Value returns the features of one entity as of t from the states of all its
// partitions, in the order of the definition (V3, V9). It is defined for t
// beyond every state's clock and not before any Trim (V4); anything else is a
// *NotDefinedError. A closed boundary is asked with BoundaryValue.
func (v *View) Value(dst []Result, t schemas.Micros, parts ...*State) ([]Result, error) {
	return v.ValueFrom(dst, t, schemas.Never, parts...)
}

// ValueFrom is Value where the fold began somewhere in the log: windows that begin at
// or before validFrom are incomplete (K8).
func (v *View) ValueFrom(dst []Result, t, validFrom schemas.Micros, parts ...*State) ([]Result, error) {
	for _, s := range parts {
		if t < s.clock || t == s.clock && !s.strict || t < s.trimmed {
			return dst, &NotDefinedError{T: t, Clock: s.clock, Trimmed: s.trimmed}
		}
	}
	from := len(dst)
	if v.spec.Table {
		dst = v.tableValue(dst, t, parts)
		v.markIncomplete(dst[from:], t, validFrom, schemas.Never)
		return dst, nil
	}
	e := v.scratch.Get().(*evaluation)
	defer v.scratch.Put(e)
	e.reset(v, t, false)
	for _, s := range parts {
		v.collect(e, s)
	}
	dst = v.results(dst, e)
	v.markIncomplete(dst[from:], t, validFrom, e.since)
	return dst, nil
}

// BoundaryValue returns the features as of t, a closed boundary of every level
// whose hop divides it, also where the states stand beyond t (V4). Features on
// levels whose hop does not divide t get the zero Result. Two states agree on it
// as soon as they agree on the tiles before t. Of a table t is any instant, and
// the states hold the newest record before it: Newest tells.
func (v *View) BoundaryValue(dst []Result, t schemas.Micros, parts ...*State) []Result {
	return v.BoundaryValueFrom(dst, t, schemas.Never, parts...)
}

// BoundaryValueFrom is to BoundaryValue as ValueFrom is to Value, but that an entity
// without any event is ABSENT: there is nothing to tell of it at a boundary.
func (v *View) BoundaryValueFrom(dst []Result, t, validFrom schemas.Micros, parts ...*State) []Result {
	from := len(dst)
	if v.spec.Table {
		dst = v.tableValue(dst, t, parts)
		if dst[from].Status != Absent {
			v.markIncomplete(dst[from:], t, validFrom, schemas.Never)
		}
		return dst
	}
	e := v.scratch.Get().(*evaluation)
	defer v.scratch.Put(e)
	e.reset(v, t, true)
	for _, s := range parts {
		v.collect(e, s)
	}
	dst = v.results(dst, e)
	for i := range v.spec.Features {
		if t%v.levels[v.Level(i)].hop != 0 {
			dst[from+i] = Result{}
		}
	}
	if e.some {
		v.markIncomplete(dst[from:], t, validFrom, e.since)
	}
	return dst
}

// reset empties the probes and sets their windows as of t; with aligned, those
// of levels whose hop does not divide t look at nothing.
func (e *evaluation) reset(v *View, t schemas.Micros, aligned bool) {
	e.some, e.since = false, schemas.Never
	for li := range v.levels {
		for i := range e.accs[li] {
			e.accs[li][i].reset()
		}
		for i, w := range v.levels[li].windows {
			e.spans[li][i].lo, e.spans[li][i].hi = w.span(t)
			if aligned && t%v.levels[li].hop != 0 {
				e.spans[li][i] = interval{schemas.Forever, schemas.Forever}
			}
		}
	}
}

// collect adds what one state holds to every probe.
func (v *View) collect(e *evaluation, s *State) {
	for li := range v.levels {
		v.collectLevel(e, s, li)
	}
	for i := range s.pending {
		v.collectRaw(e, s, &s.pending[i])
	}
	if s.ids == nil {
		return
	}
	for _, m := range s.ids.opens {
		if s.ids.isOpen(m) {
			h := s.ids.openEvent(s.ids.slab.at(m.r))
			v.collectRaw(e, s, &h)
		}
	}
}

func (v *View) collectLevel(e *evaluation, s *State, li int) {
	l, x := &v.levels[li], &s.levels[li]
	lo, hi := schemas.Forever, schemas.Never
	for i, w := range e.spans[li] {
		lo, hi = min(lo, w.lo), max(hi, w.hi)
		e.reach[i] = l.indexes(w)
	}
	if lo >= hi {
		return
	}
	if len(s.base) > 0 && lo == schemas.Never {
		e.addBase(l, li, s.base)
	}
	l.freeze(x)
	all := l.indexes(interval{lo, hi})
	e.until = math.MinInt64
	var runs []run
	c, more := walker{}, false
	if l.small && x.count > 3*runTiles && all.first < all.end-3*runTiles {
		l.extend(x, e.in.work.levels[li].tile)
		c, more = x.runs.walkFrom(x, all.first)
		runs = x.runs.from(c.index)
	} else {
		c, more = x.walkFrom(all.first)
	}
	for more && c.index < all.end {
		if c.index >= e.until {
			e.arrange(l, li, c.index)
		}
		if len(runs) > 0 && runs[0].first == c.index {
			r := &runs[0]
			runs = runs[1:]
			if r.last < min(e.until, all.end) {
				e.addRun(l, r)
				more = c.skip(r)
				continue
			}
		}
		e.addBody(l, c.body)
		more = c.next()
	}
}

// holds says that an event lies in a window.
func (e *evaluation) holds(window interval) {
	e.some, e.since = true, max(e.since, window.lo)
}

// arrange finds the probes that the tile at index adds to, and up to where that
// holds: windows begin and end far more rarely than tiles come.
func (e *evaluation) arrange(l *level, li int, index int64) {
	e.until = math.MaxInt64
	for i, r := range e.reach[:len(l.windows)] {
		if r.first > index {
			e.until = min(e.until, r.first)
		} else if r.end > index {
			e.until = min(e.until, r.end)
			e.holds(e.spans[li][i])
		}
	}
	e.counts = e.counts[:0]
	for i := range l.cells {
		e.active[i] = e.active[i][:0]
	}
	for pi, p := range l.probes {
		switch {
		case !e.reach[p.window].has(index):
		case p.cell < 0:
			e.counts = append(e.counts, &e.accs[li][pi])
		default:
			e.active[p.cell] = append(e.active[p.cell], &e.accs[li][pi])
		}
	}
}

// indexRange is the tiles [first, end) of a level.
type indexRange struct{ first, end int64 }

func (r indexRange) has(i int64) bool { return r.first <= i && i < r.end }

// indexes returns the tiles that start within a window.
func (l *level) indexes(w interval) indexRange {
	if w.lo >= w.hi {
		return indexRange{}
	}
	r := indexRange{math.MinInt64, -l.index(-w.hi)} // hi rounded up
	if w.lo != schemas.Never {
		r.first = l.index(w.lo)
	}
	return r
}

// addBody adds an encoded tile, decoding only what some window looks at.
func (e *evaluation) addBody(l *level, body []byte) {
	n, w := uvarint(body)
	body = body[w:]
	for _, c := range e.counts {
		c.n += int64(n)
	}
	for i, accs := range e.active[:len(l.cells)] {
		if agg := l.cells[i].agg; len(accs) == 0 {
			body = body[agg.skip(body):]
		} else {
			body = body[agg.fold(body, accs, &e.used):]
		}
	}
}

// addBase adds what left the coarsest level to the lifetime features.
func (e *evaluation) addBase(l *level, li int, base []byte) {
	t := e.in.work.levels[li].tile
	t.reset(0)
	if !l.parseBase(base, t) {
		panic("transforms: a base in memory does not decode")
	}
	e.some = true
	for pi := range l.probes {
		p := &l.probes[pi]
		switch {
		case e.spans[li][p.window].lo != schemas.Never:
		case p.cell < 0:
			e.accs[li][pi].n += t.events
		default:
			l.cells[p.cell].agg.merge(&e.accs[li][pi], &t.cells[p.cell])
		}
	}
}

// collectRaw adds an event that is kept raw.
func (v *View) collectRaw(e *evaluation, s *State, h *held) {
	in := v.readHeld(s, h, e.in)
	for li := range v.levels {
		l := &v.levels[li]
		for pi := range l.probes {
			p := &l.probes[pi]
			if !e.spans[li][p.window].has(h.eventTime) {
				continue
			}
			e.holds(e.spans[li][p.window])
			if p.cell < 0 {
				e.accs[li][pi].n++
			} else {
				l.cells[p.cell].addInput(&e.accs[li][pi], in)
			}
		}
	}
}

// results reads the features off the probes.
func (v *View) results(dst []Result, e *evaluation) []Result {
	from := len(dst)
	for i := range v.spec.Features {
		f := &v.spec.Features[i]
		if !e.some {
			dst = append(dst, Result{Status: Absent})
			continue
		}
		if f.Derived != nil {
			dst = append(dst, f.derive(e.values, dst[from:]))
		} else {
			dst = append(dst, f.finish(&e.accs[v.plans[i].level][v.plans[i].probe]))
		}
		e.values[i] = dst[len(dst)-1].Value
	}
	return dst
}

// derive evaluates a derived feature over the results before it.
func (f *Feature) derive(values []schemas.Value, before []Result) Result {
	x, err := f.Derived.Eval(values)
	r := Result{Value: x, Status: Present}
	if err != nil || x.IsNull() {
		r = Result{Value: f.Default, Status: Present}
		if f.Default.IsNull() {
			r.Status = IsNull
		}
	}
	for _, i := range f.Derived.Slots() {
		switch in := before[i].Status; {
		case in == Overflow && r.Value.IsNull(), in == Approximate && r.Status == Present:
			r.Status = in
		}
	}
	return r
}

// markIncomplete sets the status of the features whose window as of t begins at or
// before validFrom to Incomplete (K8): the fold began there, and what came before it is
// missing. schemas.Never marks nothing. since is where the latest window begins that
// holds an event: where that is incomplete too, it is not known whether the entity is
// absent, and so whether the others read ABSENT or as they do without events (V9).
func (v *View) markIncomplete(results []Result, t, validFrom, since schemas.Micros) {
	if validFrom == schemas.Never {
		return
	}
	some := false
	for i := range v.spec.Features {
		f := &v.spec.Features[i]
		reaches := false
		if f.Derived == nil {
			lo, _ := f.Window.span(t)
			reaches = lo <= validFrom
		} else {
			for _, in := range f.Derived.Slots() {
				reaches = reaches || results[in].Status == Incomplete
			}
		}
		if reaches {
			results[i].Status, some = Incomplete, true
		}
	}
	for i := range results {
		if some && since <= validFrom {
			results[i].Status = Incomplete
		}
	}
}

// finish reads a feature off its accumulated cell.
func (f *Feature) finish(c *cell) Result {
	if c.n == 0 {
		switch {
		case !f.Default.IsNull():
			return Result{f.Default, Present}
		case f.Aggregation == Count || f.Aggregation == CountDistinct || f.Aggregation == Sum && f.Kind == schemas.Int:
			return Result{schemas.IntValue(0), Present}
		case f.Aggregation == Sum:
			return Result{schemas.DoubleValue(0), Present}
		}
		return Result{Status: IsNull}
	}
	switch f.Aggregation {
	case Count:
		return Result{schemas.IntValue(c.n), Present}
	case CountDistinct:
		n, exact := c.estimate()
		if !exact {
			return Result{schemas.IntValue(n), Approximate}
		}
		return Result{schemas.IntValue(n), Present}
	case Sum:
		if f.Kind == schemas.Int {
			n, ok := c.sum.int64()
			return finite(schemas.IntValue(n), ok)
		}
		x, ok := c.sum.double()
		return finite(schemas.DoubleValue(x), ok)
	case Mean:
		x, ok := c.sum.quotient(c.n)
		return finite(schemas.DoubleValue(x), ok)
	case Min, Max:
		return Result{keep(extremes{kind: f.Kind}.value(c)), Present}
	case First, Last, MinBy, MaxBy:
		return Result{keep(c.x.held.value), Present}
	case FirstK, LastK:
		return Result{c.values(), Present}
	case Quantile:
		return Result{schemas.DoubleValue(c.quantile(f.Q)), Approximate}
	}
	return f.spread(c)
}

// spread returns a variance or standard deviation: exact moments, rounded once,
// then the root.
func (f *Feature) spread(c *cell) Result {
	div := c.n
	if f.Aggregation == VarSamp || f.Aggregation == StddevSamp {
		div--
	}
	if div == 0 {
		return Result{Status: IsNull}
	}
	x, ok := variance(&c.sum, &c.x.squares, c.n, div)
	if ok && (f.Aggregation == StddevPop || f.Aggregation == StddevSamp) {
		x = math.Sqrt(x)
	}
	return finite(schemas.DoubleValue(x), ok)
}

func finite(v schemas.Value, ok bool) Result {
	if !ok {
		return Result{Status: Overflow}
	}
	return Result{v, Present}
}
