package batch

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Changes says what a replay found other than the tables had it. Where it went on, it is
// about the rows of boundaries that were not closed then, up to the least clock of that
// time; where it writes dates anew, about the rows of these that the tables can have.
type Changes struct {
	Dates    []DateChanges `json:"dates"`    // of boundaries, ascending; those without rows are left out
	Examples []Change      `json:"examples"` // the first ones, by boundary, entity and feature
}

// DateChanges counts rows and values of one UTC day.
type DateChanges struct {
	Day     int64 `json:"day"`     // since the epoch
	Rows    int64 `json:"rows"`    // of either side
	Changed int64 `json:"changed"` // of the rows; those that one side lacks are among them
	Values  int64 `json:"values"`  // that changed
}

// Change is one value that changed. Events are those that came after the earlier cut, or
// were quarantined then, with an event time before the boundary, or took the place of one
// there: the first ones that were folded; there are More.
type Change struct {
	Boundary schemas.Micros `json:"boundary"`
	Entity   []byte         `json:"entity"`
	Feature  string         `json:"feature"`
	Before   string         `json:"before"`
	After    string         `json:"after"`
	Events   []LateEvent    `json:"events"`
	More     int            `json:"more,omitempty"`
}

// LateEvent is an event that the tables do not have.
type LateEvent struct {
	Partition int32          `json:"partition"`
	Offset    int64          `json:"offset"`
	EventTime schemas.Micros `json:"event_time"`
}

// maxChanges bounds the examples, maxLateEvents the events of each.
const (
	maxChanges    = 20
	maxLateEvents = 10
)

// merge adds what another unit found.
func (c *Changes) merge(o *Changes) {
	for _, d := range o.Dates {
		to := c.date(d.Day)
		to.Rows, to.Changed, to.Values = to.Rows+d.Rows, to.Changed+d.Changed, to.Values+d.Values
	}
	for _, e := range o.Examples {
		c.example(e)
	}
}

func (c *Changes) date(day int64) *DateChanges {
	i, there := slices.BinarySearchFunc(c.Dates, day, func(d DateChanges, day int64) int { return cmp.Compare(d.Day, day) })
	if !there {
		c.Dates = slices.Insert(c.Dates, i, DateChanges{Day: day})
	}
	return &c.Dates[i]
}

// example keeps the first changes.
func (c *Changes) example(e Change) {
	i, _ := slices.BinarySearchFunc(c.Examples, e, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Boundary, b.Boundary), bytes.Compare(a.Entity, b.Entity), cmp.Compare(a.Feature, b.Feature))
	})
	if i < maxChanges {
		c.Examples = slices.Insert(c.Examples, i, e)
		c.Examples = c.Examples[:min(len(c.Examples), maxChanges)]
	}
}

// provisional is what the tables say of an entity that is computed anew, and what has
// come since.
type provisional struct {
	rows   []rows.Feature         // by boundary
	next   int                    // of rows: the first one that is not compared yet
	events []moved                // the first ones that each boundary is the first to see
	counts map[schemas.Micros]int // of all of them
}

// moved is an event, and the first boundary that it can change.
type moved struct {
	LateEvent
	first schemas.Micros
}

// seen returns the first events that a boundary sees, and how many more it does.
func (p *provisional) seen(b schemas.Micros) (events []LateEvent, more int) {
	for first, n := range p.counts {
		if first <= b {
			more += n
		}
	}
	events = []LateEvent{}
	for _, e := range p.events {
		if e.first <= b && len(events) < maxLateEvents {
			events = append(events, e.LateEvent)
			more--
		}
	}
	return events, more
}

func (p *provisional) clear() {
	p.rows, p.next, p.events = p.rows[:0], 0, p.events[:0]
	clear(p.counts)
}

// note keeps an event that the tables do not have.
func (f *replayFold) note(in *transforms.Input, v *transforms.Verdict) {
	from := in.EventTime
	if v.Replaced {
		from = min(from, v.ReplacedEventTime)
	}
	if v.Outcome != transforms.Applied && !v.Replaced || from >= f.held.to || f.held.have(in) {
		return
	}
	first := f.after(max(from, f.held.from)) // none before it is compared
	if f.were.counts[first]++; f.were.counts[first] <= maxLateEvents {
		f.were.events = append(f.were.events, moved{LateEvent{in.Partition, in.Offset, in.EventTime}, first})
	}
}

// compare holds the row of a boundary, nil = there is none, against what the tables
// had. Boundaries ascend.
func (f *replayFold) compare(b schemas.Micros, res []transforms.Result) {
	if b <= f.held.from || b > f.held.to {
		return
	}
	f.gone(b)
	if w := &f.were; w.next < len(w.rows) && w.rows[w.next].Boundary == b {
		w.next++
		f.differ(b, w.rows[w.next-1].Results, res)
	} else if res != nil {
		f.differ(b, nil, res)
	}
}

// gone compares the rows of the tables before a boundary, of which there is nothing now.
func (f *replayFold) gone(b schemas.Micros) {
	for w := &f.were; w.next < len(w.rows) && w.rows[w.next].Boundary < b; w.next++ {
		f.differ(w.rows[w.next].Boundary, w.rows[w.next].Results, nil)
	}
}

// differ counts what has changed of a row, nil = there is none.
func (f *replayFold) differ(b schemas.Micros, was, res []transforms.Result) {
	d := f.counts.changes().date(b.Days())
	d.Rows++
	values := int64(0)
	var events []LateEvent
	var more int
	for k := range f.run.View.Spec.Features {
		x, y := resultText(was, k), resultText(res, k)
		if x == y {
			continue
		}
		if values++; values == 1 {
			events, more = f.were.seen(b)
		}
		f.counts.Changes.example(Change{b, bytes.Clone(f.entity), f.run.View.Spec.Features[k].Name, x, y, events, more})
	}
	if d.Values += values; values > 0 || (was != nil) != (res != nil) {
		d.Changed++
	}
}

// resultText tells a value with its status; of an entity that is absent, that.
func resultText(res []transforms.Result, i int) string {
	if res == nil {
		return transforms.Absent.String()
	}
	if r := res[i]; r.Status == transforms.Present {
		return r.Value.String()
	}
	if r := res[i]; !r.Value.IsNull() {
		return r.Value.String() + " " + r.Status.String()
	}
	return res[i].Status.String()
}

// changes is the record's, made where it is not there.
func (c *foldRecord) changes() *Changes {
	if c.Changes == nil {
		c.Changes = &Changes{}
	}
	return c.Changes
}
