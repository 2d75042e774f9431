package transforms

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/tallystick/tallystick/schemas"
)

// A view of a table (K6) has no levels: of an entity in a partition the newest
// record counts, by event time, version and offset, and one without a value, a
// tombstone, wins ties of event time. A state keeps that record in the place of
// the base, and what lies ahead of its clock as pending, as any state does (V4).
//
// What is kept of a record is its row: a byte, 0 for a tombstone, 1 for a value,
// which the inputs follow as in an event's row. A cell is
//
//	varint   event time
//	varint   version, 0 of a tombstone or where the source has none
//	uvarint  partition
//	uvarint  offset
//	row

// Rows of a table's records.
const (
	rowGone  = 0
	rowValue = 1
)

// tableCell is a decoded cell.
type tableCell struct {
	order orderKey
	row   string
}

func (c *tableCell) gone() bool { return c.row[0] == rowGone }

// less orders records of a table.
func (c *tableCell) less(o *tableCell) bool {
	if c.order.eventTime == o.order.eventTime && c.gone() != o.gone() {
		return o.gone()
	}
	return c.order.less(&o.order)
}

func (c *tableCell) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, int64(c.order.eventTime))
	dst = binary.AppendVarint(dst, c.order.version)
	dst = binary.AppendUvarint(dst, uint64(c.order.partition))
	dst = binary.AppendUvarint(dst, uint64(c.order.offset))
	return append(dst, c.row...)
}

// readTableCell reads what append wrote; false when it did not. The row is not
// looked into.
func readTableCell(b []byte) (tableCell, bool) {
	var c tableCell
	r := &reader{b: b}
	o := &c.order
	o.eventTime, o.version = schemas.Micros(r.varint()), r.varint()
	p, off := r.uvarint(), r.uvarint()
	if r.bad || p > math.MaxInt32 || off > math.MaxInt64 || len(r.b) == 0 {
		return c, false
	}
	o.partition, o.offset, c.row = int32(p), int64(off), string(r.b)
	return c, true
}

// tableCellOf returns the newest record of the state, false when it has none.
func (s *State) tableCellOf() (tableCell, bool) {
	if len(s.base) == 0 {
		return tableCell{}, false
	}
	c, ok := readTableCell(s.base)
	if !ok {
		panic("transforms: a cell in memory does not decode")
	}
	return c, true
}

// pendingCell is a pending record of a table as a cell.
func (s *State) pendingCell(h *held) tableCell {
	c := tableCell{row: h.row}
	c.order.set(h.eventTime, h.version, s.partition, h.offset)
	return c
}

// validateTable is validate for a view of a table.
func (s *Spec) validateTable() error {
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("view %s: "+format, append([]any{s.Name}, a...)...))
	}
	if s.MaxFuture < schemas.Second || s.MaxFuture > maxReach {
		bad("max_future must be at least 1 s and below 1,000 years")
	}
	if len(s.Key) == 0 {
		bad("it has no entity")
	}
	if s.Identity != Anonymous || s.Where != nil || len(s.Filters) > 0 {
		bad("a table has no ids and no filters")
	}
	for _, f := range s.Features {
		if f.Derived != nil {
			continue
		}
		if f.Aggregation != Last || f.Window.Kind != Lifetime || f.Filter >= 0 || f.Input < 0 || f.Input >= len(s.Inputs) {
			bad("feature %s: a table has last over lifetime only", f.Name)
		}
	}
	return errors.Join(errs...)
}

func (v *View) planTable() {
	v.lifetime = true // its states are never removed
	for i := range v.plans {
		v.plans[i] = plan{level: 0, probe: -1}
		if v.spec.Features[i].Derived != nil {
			v.plans[i].level = -1
		}
	}
}

// IsTable tells whether of each entity its newest record alone counts (K6).
func (v *View) IsTable() bool { return v.spec.Table }

// stepTable is Step for a record that may count.
func (v *View) stepTable(s *State, in *Input) Verdict {
	limit := in.Clock
	if s.strict {
		limit--
	}
	v.settleTable(s, limit)
	if c := v.cellOf(in); in.EventTime > limit {
		s.pending = append(s.pending, held{c.order.eventTime, c.order.version, c.order.offset, c.row, nil})
	} else {
		s.keepNewest(&c)
	}
	s.last, s.clock = in.Offset, in.Clock
	return Verdict{Outcome: Applied}
}

// acceptTable is Accept: the state stands for all partitions.
func (v *View) acceptTable(s *State, in *Input) {
	c := v.cellOf(in)
	s.keepNewest(&c)
	s.last, s.clock = in.Offset, in.EventTime
}

// cellOf returns a prepared record as a cell.
func (v *View) cellOf(in *Input) tableCell {
	var c tableCell
	if in.Tombstone {
		in.Version, in.row = 0, append(in.row[:0], rowGone)
	} else {
		in.row = in.appendRow(append(in.row[:0], rowValue))
	}
	c.order.set(in.EventTime, in.Version, in.Partition, in.Offset)
	c.row = string(in.row)
	return c
}

// keepNewest makes c the cell of the state unless that is newer.
func (s *State) keepNewest(c *tableCell) {
	if have, ok := s.tableCellOf(); !ok || have.less(c) {
		s.base = c.append(s.base[:0])
	}
}

// settleTable takes the pending records up to limit.
func (v *View) settleTable(s *State, limit schemas.Micros) {
	kept := s.pending[:0]
	for i := range s.pending {
		h := &s.pending[i]
		if h.eventTime > limit {
			kept = append(kept, *h)
			continue
		}
		c := s.pendingCell(h)
		s.keepNewest(&c)
	}
	clear(s.pending[len(kept):])
	s.pending = kept
}

// newest returns the newest of the records that the state holds and in tells of.
func (s *State) newest(in func(eventTime schemas.Micros) bool) (newest tableCell, some bool) {
	take := func(c tableCell) {
		if in(c.order.eventTime) && (!some || newest.less(&c)) {
			newest, some = c, true
		}
	}
	if c, ok := s.tableCellOf(); ok {
		take(c)
	}
	for i := range s.pending {
		take(s.pendingCell(&s.pending[i]))
	}
	return newest, some
}

// tableValue returns the features of a table's entity as of t: those of the
// newest record before t of all partitions (K6, V9).
func (v *View) tableValue(dst []Result, t schemas.Micros, parts []*State) []Result {
	var newest tableCell
	some := false
	for _, s := range parts {
		if c, ok := s.newest(func(et schemas.Micros) bool { return et < t }); ok && (!some || newest.less(&c)) {
			newest, some = c, true
		}
	}
	from := len(dst)
	if !some || newest.gone() {
		for range v.spec.Features {
			dst = append(dst, Result{Status: Absent})
		}
		return dst
	}
	e := v.scratch.Get().(*evaluation)
	defer v.scratch.Put(e)
	if !v.parseHeldRow(newest.row, e.in) {
		panic("transforms: a row in memory does not decode")
	}
	for i := range v.spec.Features {
		f := &v.spec.Features[i]
		var r Result
		switch {
		case f.Derived != nil:
			r = f.derive(e.values, dst[from:])
		case e.in.values[f.Input].IsNull():
			r = f.finish(new(cell))
		default:
			r = Result{e.in.values[f.Input], Present}
		}
		dst, e.values[i] = append(dst, r), r.Value
	}
	return dst
}

// parseHeldRow is parseRow for what states keep raw: rows of a table say whether
// there is a value.
func (v *View) parseHeldRow(row string, in *Input) bool {
	switch {
	case !v.spec.Table:
		return v.parseRow(row, in)
	case len(row) == 0:
		return false
	case row[0] == rowGone:
		return len(row) == 1
	}
	return row[0] == rowValue && v.parseRow(row[1:], in)
}

// parsePendingRow is parseHeldRow for pending records: a tombstone is none, as it
// happens when its record is stamped.
func (v *View) parsePendingRow(row string, in *Input) bool {
	return v.parseHeldRow(row, in) && !(v.spec.Table && row[0] == rowGone)
}

// parseTableCell reads the cell of a state from hostile bytes.
func (v *View) parseTableCell(b []byte, s *State) error {
	c, ok := readTableCell(b)
	switch o := &c.order; {
	case !ok || !v.parseHeldRow(c.row, v.NewInput()) || c.gone() && o.version != 0:
		return corrupt("served", "the cell does not decode")
	case o.partition != s.partition || o.offset > s.last || o.eventTime > s.clock && o.eventTime >= s.trimmed:
		return corrupt("served", "the cell is out of place")
	}
	s.base = c.append(nil)
	return nil
}

// TableRecord names the record of a table that a state holds.
type TableRecord struct {
	EventTime schemas.Micros
	Version   int64 // 0 of a tombstone
	Offset    int64
	Tombstone bool
	Row       string // its inputs, canonical bytes
}

// Newer tells whether the record wins over another of its entity and partition (K6).
func (r *TableRecord) Newer(o *TableRecord) bool {
	a, b := r.cell(), o.cell()
	return b.less(&a)
}

func (r *TableRecord) cell() tableCell {
	c := tableCell{row: r.Row}
	c.order.set(r.EventTime, r.Version, 0, r.Offset)
	return c
}

// Newest returns the newest record that the state of a table holds, those ahead
// of its clock included; false when it holds none.
func (s *State) Newest() (TableRecord, bool) {
	c, ok := s.newest(func(schemas.Micros) bool { return true })
	if !ok {
		return TableRecord{}, false
	}
	return TableRecord{c.order.eventTime, c.order.version, c.order.offset, c.gone(), c.row}, true
}
