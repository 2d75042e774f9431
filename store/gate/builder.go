package gate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Builder counts the rows of a run. Its methods may be called by any number of
// goroutines, with rows in any order: what it holds depends on their set alone. It
// keeps nothing of a row. A column of a date takes at most some 70 kB, whatever the
// number of rows, and some 5 kB where values keep to a few powers of two.
type Builder struct {
	view      *transforms.View
	snapshots schemas.Micros
	cells     []transforms.CellInfo
	hops      []schemas.Micros
	from      int64 // days before it were closed when the run began: see Carry

	mu   sync.RWMutex
	days map[int64]*dayPart
}

// New returns a Builder for the tables of a view whose boundaries are the multiples
// of snapshots, in µs.
func New(view *transforms.View, snapshots schemas.Micros) *Builder {
	return &Builder{view: view, snapshots: snapshots, cells: view.Cells(), hops: view.Hops(), from: -maxCount / 2, days: map[int64]*dayPart{}}
}

// dayPart is what is known of one UTC day.
type dayPart struct {
	mu          sync.Mutex
	rows        int64
	provisional int64 // of the rows
	repeated    int64 // rows whose key there was already
	columns     []column
	tiles       []tileSums // by level
	taken       []int64    // by cell
	ledger      transforms.Ledger
}

type tileSums struct{ rows, events int64 }

// statuses is how many there are, 0 included.
const statuses = int(transforms.Incomplete) + 1

type column struct {
	status   [statuses]int64
	nulls    int64
	min, max float64
	numbers  sketch
	distinct distinct
}

func (b *Builder) day(d int64) *dayPart {
	b.mu.RLock()
	p := b.days[d]
	b.mu.RUnlock()
	if p != nil {
		return p
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.days[d] == nil {
		b.days[d] = b.newDay()
	}
	return b.days[d]
}

func (b *Builder) newDay() *dayPart {
	return &dayPart{columns: make([]column, len(b.view.Spec().Features)), tiles: make([]tileSums, len(b.hops)), taken: make([]int64, len(b.cells))}
}

// Feature counts a row of table features, on the day of its boundary.
func (b *Builder) Feature(r *rows.Feature) error {
	if len(r.Results) != len(b.view.Spec().Features) {
		return fmt.Errorf("gate: view %s: a row has %d features, the view %d", b.view.Spec().Name, len(r.Results), len(b.view.Spec().Features))
	}
	d := b.day(r.Boundary.Days())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows++
	if !r.Final {
		d.provisional++
	}
	for i := range r.Results {
		if !d.columns[i].add(&r.Results[i], r.Boundary) {
			return fmt.Errorf("gate: view %s: feature %s has a result that is none: status %d", b.view.Spec().Name, b.view.Spec().Features[i].Name, r.Results[i].Status)
		}
	}
	return nil
}

func (c *column) add(r *transforms.Result, boundary schemas.Micros) bool {
	if int(r.Status) >= statuses || !r.Value.Finite() {
		return false
	}
	c.status[r.Status]++
	if r.Value.IsNull() {
		c.nulls++
		return true
	}
	f := number(r.Value, boundary)
	if c.numbers.n == 0 || f < c.min {
		c.min = f
	}
	if c.numbers.n == 0 || f > c.max {
		c.max = f
	}
	c.numbers.add(f)
	var buf [64]byte
	c.distinct.add(transforms.HashBytes(r.Value.Append(buf[:0])))
	return true
}

// number is what of a value has a size: a bool is 0 or 1, a text counts its bytes,
// a list its elements, an instant how long before the boundary it lies, in s.
func number(v schemas.Value, boundary schemas.Micros) float64 {
	switch v.Kind() {
	case schemas.Double:
		return v.Double()
	case schemas.Int:
		return float64(v.Int())
	case schemas.Bool:
		if v.Bool() {
			return 1
		}
		return 0
	case schemas.Timestamp:
		return float64(boundary.SubSat(v.Micros())) / float64(schemas.Second)
	case schemas.List:
		return float64(v.Len())
	}
	return float64(len(v.Text()))
}

// RepeatedKey counts a row of features whose entity and boundary another row of the
// run has too; who sorts the rows sees it.
func (b *Builder) RepeatedKey(boundary schemas.Micros) {
	d := b.day(boundary.Days())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.repeated++
}

// Tile counts a row of table tiles, on the day that it starts on: levels divide days.
func (b *Builder) Tile(r *rows.Tile) error {
	level := slices.Index(b.hops, r.Tile.Hop)
	d := b.day(r.Tile.Start.Days())
	d.mu.Lock()
	defer d.mu.Unlock()
	if level < 0 || !b.view.Taken(d.taken, &r.Tile) {
		return fmt.Errorf("gate: view %s: the tile of %v on the %v level does not decode", b.view.Spec().Name, r.Tile.Start, r.Tile.Hop)
	}
	d.tiles[level].rows++
	d.tiles[level].events += r.Tile.Events
	return nil
}

// Ledger adds to the ledger of a UTC day of event time, summed over partitions. What
// a run reads of a day adds to what the runs before it have read: see Carry. A day
// that no instant lies on, such as that of records without an event time, is left out.
func (b *Builder) Ledger(day int64, l *transforms.Ledger) {
	if (schemas.Micros(day) * schemas.Day).Days() != day {
		return
	}
	d := b.day(day)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ledger.Merge(l)
}

// Merge adds what another Builder of the same view holds; the two must have counted
// different rows. The other one is not changed, and neither may be written to
// meanwhile.
func (b *Builder) Merge(o *Builder) {
	for k, p := range o.days {
		b.day(k).merge(p)
	}
}

func (d *dayPart) merge(o *dayPart) {
	d.rows += o.rows
	d.provisional += o.provisional
	d.repeated += o.repeated
	for i := range d.columns {
		d.columns[i].merge(&o.columns[i])
	}
	for i := range d.tiles {
		d.tiles[i].rows += o.tiles[i].rows
		d.tiles[i].events += o.tiles[i].events
	}
	for i := range d.taken {
		d.taken[i] += o.taken[i]
	}
	d.ledger.Merge(&o.ledger)
}

func (c *column) merge(o *column) {
	for i, n := range o.status {
		c.status[i] += n
	}
	c.nulls += o.nulls
	if o.numbers.n == 0 {
		return
	}
	if c.numbers.n == 0 {
		c.min, c.max = o.min, o.max
	}
	c.min, c.max = math.Min(c.min, o.min), math.Max(c.max, o.max)
	c.numbers.merge(&o.numbers)
	for _, h := range o.distinct {
		c.distinct.add(h)
	}
}

// Carry returns what the next run has to go on from: of the days that are not closed
// their ledgers and tiles, and their feature rows where the date is final, so that
// the next run does not write it again. What the next run still reads of days that
// are closed, which is never applied, it counts on the first day that is not.
// closed is as in Profiles.
func (b *Builder) Carry(closed schemas.Micros) *Builder {
	out := New(b.view, b.snapshots)
	if out.from = b.from; closed != schemas.Never {
		out.from = max(b.from, closed.Days())
	}
	for k, p := range b.days {
		if dayClosed(k, closed) {
			continue
		}
		to := out.day(k)
		to.merge(p)
		if !b.final(k, p, closed) {
			to.rows, to.provisional, to.repeated = 0, 0, 0
			clear(to.columns)
		}
	}
	return out
}

func dayClosed(day int64, closed schemas.Micros) bool {
	return closed != schemas.Never && schemas.Micros(day)*schemas.Day <= closed.SubSat(schemas.Day)
}

// final tells whether a date has all its boundaries, each closed.
func (b *Builder) final(day int64, p *dayPart, closed schemas.Micros) bool {
	last := (schemas.Micros(day+1)*schemas.Day - 1).Floor(b.snapshots)
	return p.provisional == 0 && closed != schemas.Never && last <= closed
}

// Profiles returns the figures of the days, ascending. closed is the instant before
// which nothing can change: the least clock of the partitions minus lateness, Never
// while one is empty.
func (b *Builder) Profiles(closed schemas.Micros) []Profile {
	var out []Profile
	var before transforms.Ledger
	first := true
	for _, k := range slices.Sorted(maps.Keys(b.days)) {
		p := b.days[k]
		if k < b.from && p.rows == 0 && !slices.ContainsFunc(p.tiles, func(t tileSums) bool { return t.rows > 0 }) {
			before.Merge(&p.ledger)
			continue
		}
		f := Profile{Day: Day(k), Final: b.final(k, p, closed), Closed: dayClosed(k, closed), Rows: p.rows, Repeated: p.repeated, Ledger: p.ledger}
		if first && k >= b.from {
			f.Ledger.Merge(&before)
			first = false
		}
		for i := range p.columns {
			f.Columns = append(f.Columns, p.columns[i].figures(b.view.Spec().Features[i].Name, b.view.Spec().Features[i].Type()))
		}
		for i, t := range p.tiles {
			f.Tiles = append(f.Tiles, Tiles{Hop: b.hops[i], Rows: t.rows, Events: t.events})
		}
		for i, n := range p.taken {
			t := p.tiles[slices.Index(b.hops, b.cells[i].Hop)]
			in := Inputs{Hop: b.cells[i].Hop, Taken: n, Of: t.events}
			if b.cells[i].PerTile {
				in.Of = t.rows
			}
			for _, c := range b.cells[i].Features {
				in.Columns = append(in.Columns, b.view.Spec().Features[c].Name)
			}
			f.Inputs = append(f.Inputs, in)
		}
		out = append(out, f)
	}
	return out
}

func (c *column) figures(name, kind string) Column {
	out := Column{Name: name, Kind: kind, Nulls: c.nulls, Status: map[string]int64{}}
	for s, n := range c.status {
		if n > 0 {
			out.Status[transforms.Status(s).String()] = n
		}
	}
	if c.numbers.n == 0 {
		return out
	}
	v := &Values{Min: c.min, Max: c.max, Mean: c.numbers.mean(), Distinct: c.distinct.estimate()}
	for i, q := range quantiles {
		v.Quantiles[i] = min(max(c.numbers.quantile(q), c.min), c.max)
	}
	out.Values = v
	return out
}
