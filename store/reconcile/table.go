package reconcile

import (
	"context"
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// A table (K6) has no tiles and nothing of it is closed. Compared is, per entity
// and partition, the newest record that either side holds, by event time, version
// and offset: its place in that order, whether it is a tombstone, and its inputs.
// What lies ahead of a clock counts too, so that it does not matter which clock has
// passed it. A ledger counts records that compaction removes: it is shown, not
// compared.

// CellReport counts the newest records of a table's entities per partition.
type CellReport struct {
	Compared  int64 `json:"compared"`
	Different int64 `json:"different"`
	// NotComparable: the online one is the newer, and the log no longer holds it.
	NotComparable int64 `json:"not_comparable"`
	// Open: one side has a record that the other had not reached.
	Open int64 `json:"open"`
}

// total is the denominator of what was not compared.
func (c *CellReport) total() int64 { return c.Compared + c.NotComparable + c.Open }

// unsettled is an entity whose values wait for what its differing cells are.
type unsettled struct {
	e     *entity
	cells []*finding
}

func (r *run) isTable() bool { return r.frame.engine.IsTable() }

// boundTable fixes up to where both sides have read: the least clock of both.
func (f *frame) boundTable(least, snapshots schemas.Micros) {
	f.b, f.snapshot = least, least.Floor(snapshots)
}

// tableEntity compares all that both sides hold of an entity of a table.
func (r *run) tableEntity(e *entity) {
	r.rep.Entities++
	whole, compared := true, false
	u := unsettled{e: e}
	for _, p := range e.parts {
		r.rep.States++
		if r.frame.out[p.at] || !r.read(e, p) {
			r.rep.Skipped++
			whole = false
			continue
		}
		f, is := r.cell(e, p)
		compared, whole = compared || is, whole && is
		if f != nil {
			u.cells = append(u.cells, f)
		}
	}
	for _, p := range r.frame.partitions { // a part that is not known to be empty
		whole = whole && !r.frame.out[place{e.shard, p}]
	}
	switch {
	case !whole:
		r.unread()
	case len(u.cells) > 0:
		r.unsettled = append(r.unsettled, u)
	default:
		r.tableValues(e, nil)
		r.tableRow(e)
	}
	if compared {
		r.rep.Compared++
	}
}

// unread counts the values of an entity not all of whose cells were compared.
func (r *run) unread() {
	for i := range r.rep.Features {
		r.rep.Features[i].OutOfReach++
	}
}

// cell compares the newest records of a part; false where that cannot be done.
func (r *run) cell(e *entity, p *part) (f *finding, compared bool) {
	c := r.rep.Cells
	on, off := newest(p.on), newest(p.off)
	switch {
	case on == nil && off == nil:
		return nil, true
	case on != nil && off != nil && *on == *off:
		c.Compared++
		return nil, true
	case newer(on, off) && on.Offset >= r.frame.cut.Partitions[p.at.partition].End,
		newer(off, on) && off.Offset >= r.frame.before[p.at].Next: // it was read at that position or beyond
		c.Open++
		return nil, false
	}
	c.Compared++
	c.Different++
	return r.differentCell(e, p, on, off), true
}

func newest(s *transforms.State) *transforms.TableRecord {
	if c, ok := s.Newest(); ok {
		return &c
	}
	return nil
}

// newer tells whether a wins over b; nil is older than all.
func newer(a, b *transforms.TableRecord) bool {
	return a != nil && (b == nil || a.Newer(b))
}

// differentCell adds a finding, with the cause that it has unless a replay tells
// better.
func (r *run) differentCell(e *entity, p *part, on, off *transforms.TableRecord) *finding {
	c, side, text := Logic, Side(""), "the newest record differs"
	switch {
	case on == nil:
		c, side, text = Missing, OnOnline, "the online store holds no record of it"
	case off == nil:
		c, side, text = Missing, OnOffline, "the tables hold no record of it"
	case newer(on, off):
		c, side, text = Missing, OnOffline, "the online store holds a newer record than the tables"
	case newer(off, on):
		c, side, text = Corrupt, OnOnline, "the tables hold a newer record than the online store, which has passed its offset"
	}
	ev := r.evidenceOf(p)
	ev.Text = text
	d := r.difference(CellKind, p.at, c, side, ev)
	r.name(&d, e)
	d.Online, d.Offline = cellText(on), cellText(off)
	return r.add(&finding{Difference: d, entity: e.name, part: p, ask: askCell, cellOn: on, cellOff: off})
}

func cellText(c *transforms.TableRecord) string {
	switch {
	case c == nil:
		return "nothing"
	case c.Tombstone:
		return fmt.Sprintf("a tombstone of %v, offset %d", c.EventTime, c.Offset)
	}
	return fmt.Sprintf("a record of %v, version %d, offset %d, hash %016x", c.EventTime, c.Version, c.Offset, transforms.HashBytes([]byte(c.Row)))
}

// decideCell: the side that a replay agrees with is right. Where the online record
// is the newer and the log no longer holds it, nothing can be said.
func (r *run) decideCell(f *finding, replays map[int32]*Replayed) {
	rep := replays[f.part.at.partition]
	if rep == nil {
		f.Evidence.Text += noReplay + ", nor whether Kafka has compacted the newer one away"
		return
	}
	f.Evidence.Replayed = true
	start := r.frame.cut.Partitions[f.part.at.partition].Start
	held := func(c *transforms.TableRecord) bool {
		return c == nil || c.Offset >= start && (!rep.Compacted || rep.Counted[f.entity][c.Offset])
	}
	var truth *transforms.TableRecord
	if s := rep.States[f.entity]; s != nil {
		truth = newest(s)
	}
	right := func(c *transforms.TableRecord) bool { return c == truth || c != nil && truth != nil && *c == *truth }
	switch {
	case newer(f.cellOn, f.cellOff) && !held(f.cellOn):
		f.dropped = true
		r.rep.Cells.Compared--
		r.rep.Cells.Different--
		r.rep.Cells.NotComparable++
		return
	case right(f.cellOn) == right(f.cellOff) && (!held(f.cellOn) || !held(f.cellOff)):
		f.Evidence.Text += "; the log no longer holds it"
		if f.Cause == Logic {
			f.Cause = Corrupt
		}
		return
	}
	r.judge(f, right(f.cellOn), right(f.cellOff))
	if gone := f.Side == OnOnline && f.cellOn == nil || f.Side == OnOffline && f.cellOff == nil; f.Cause == Corrupt && gone {
		f.Cause = Missing
	}
}

// settleTable compares the values of the entities whose cells differed, now that
// it is known which of them are differences.
func (r *run) settleTable() {
	for _, u := range r.unsettled {
		base, all := (*finding)(nil), true
		for _, f := range u.cells {
			if all = all && !f.dropped; base == nil {
				base = f
			}
		}
		if !all {
			r.unread()
			continue
		}
		r.tableValues(u.e, base)
	}
	r.unsettled = nil
}

// tableValues compares what the newest records of an entity say. Values differ
// where the cells do: base is the first of those.
func (r *run) tableValues(e *entity, base *finding) {
	on, off := e.states()
	a := r.frame.engine.BoundaryValue(nil, schemas.Forever, on...)
	b := r.frame.engine.BoundaryValue(nil, schemas.Forever, off...)
	for i := range a {
		if a[i].Status == transforms.Absent && b[i].Status == transforms.Absent || r.unit(i, a[i], b[i]) {
			continue
		}
		d := r.differentValue(ValueKind, e, i, schemas.Never, a[i], b[i])
		f := &finding{Difference: d, entity: e.name, base: base, feature: i}
		r.decideValue(f, nil)
		r.add(f)
	}
}

// tableRow compares the features table's row of an entity with the online cells,
// where none is newer than the boundary of the rows.
func (r *run) tableRow(e *entity) {
	f := &r.frame
	on, _ := e.states()
	for _, s := range on {
		if c := newest(s); c != nil && c.EventTime >= f.snapshot {
			return
		}
	}
	a := f.engine.BoundaryValue(nil, f.snapshot, on...)
	row := absentRow(len(a))
	if e.row != nil {
		row = e.row.Results
	}
	if len(row) != len(a) {
		r.add(&finding{Difference: r.wrongRow(e, 0, transforms.Result{}, transforms.Result{}, fmt.Sprintf("the row has %d values, the view %d features", len(row), len(a)))})
		return
	}
	n := 0
	for i := range a {
		absent := a[i].Status == transforms.Absent || row[i].Status == transforms.Absent
		if a[i].Status == row[i].Status && absent || row[i].Status == transforms.Incomplete {
			continue
		}
		n++
		r.rep.Features[i].InTable++
		switch {
		case r.unit(i, a[i], row[i]):
		case !absent:
			r.add(&finding{Difference: r.wrongRow(e, i, a[i], row[i], "the tables' own states give what the online store has")})
		case r.oneRow != e: // one finding for the whole row
			r.oneRow = e
			r.add(&finding{Difference: r.loneRow(e, i, a[i], row[i])})
		}
	}
	if n > 0 {
		r.rep.TableRows++
	}
}

// explainTable says why no cell was compared and what to do.
func (r *run) explainTable() {
	c := r.rep.Cells
	switch {
	case c.NotComparable > 0:
		r.why("the log no longer holds the newest record of any of the %d keys online, so nothing can be said of them: replay nearer to the position of the online store", c.NotComparable)
	case c.Open > 0:
		r.why("all %d keys have changed between the positions of the two stores: replay up to a later cut, or let `stream` catch up", c.Open)
	default:
		r.why("neither store has a record")
	}
}

// compareTable goes through all entities of both sides.
func (r *run) compareTable(ctx context.Context) error {
	f := &r.frame
	r.rep.Boundary, r.rep.TableAsOf = Instant(f.b), Instant(f.snapshot)
	return r.pages(ctx)
}
