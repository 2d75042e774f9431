package reconcile

import (
	"fmt"
	"math"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// states returns what both sides hold of the entity, part by part.
func (e *entity) states() (on, off []*transforms.State) {
	for _, p := range e.parts {
		on, off = append(on, p.on), append(off, p.off)
	}
	return on, off
}

// values compares the features of an entity at each level's boundary. It returns
// how many.
func (r *run) values(e *entity, base *finding) (n int64) {
	f := &r.frame
	on, off := e.states()
	later, started := schemas.Never, f.validFrom
	for _, p := range e.parts {
		later, started = max(later, f.later(p.at)), max(started, f.started(p.at))
	}
	for li, t := range f.bounds {
		usable, all := r.usable(t, later, started)
		a := f.engine.BoundaryValue(nil, t, on...)
		b := f.engine.BoundaryValue(nil, t, off...)
		for i := range a {
			if f.engine.Level(i) != li {
				continue
			}
			fr := &r.rep.Features[i]
			absent := a[i].Status == transforms.Absent || b[i].Status == transforms.Absent
			switch {
			case a[i].Status == transforms.Absent && b[i].Status == transforms.Absent:
			case usable[i] == incomplete:
				fr.Incomplete++
			case usable[i] == outOfReach || absent && !all:
				fr.OutOfReach++
			default:
				n++
				r.value(e, base, i, t, a[i], b[i])
			}
		}
	}
	return n
}

// usable says, by feature, whether the tiles that its value at t needs are
// within reach and complete; and whether those of all features are.
func (r *run) usable(t, later, started schemas.Micros) (list []reach, all bool) {
	engine := r.frame.engine
	features := r.view.Spec.Features
	list, all = make([]reach, len(features)), true
	hops := engine.Hops()
	for i := range features {
		ft := &features[i]
		if t%hops[engine.Level(i)] != 0 {
			continue
		}
		if ft.Derived != nil {
			for _, in := range ft.Derived.Slots() {
				list[i] = max(list[i], list[in])
			}
			continue
		}
		list[i] = windowReach(ft.Window, t, later.SubSat(engine.Retention(ft.Window.Hop)), started)
		all = all && list[i] == inReach
	}
	return list, all
}

// windowReach: tiles that end at or before limit may have been dropped.
func windowReach(w transforms.Window, t, limit, started schemas.Micros) reach {
	lo, _ := w.Span(t)
	switch {
	case lo <= started && started != schemas.Never:
		return incomplete
	case w.Kind == transforms.Lifetime && limit < t, w.Kind != transforms.Lifetime && lo.AddSat(w.Hop) > limit:
		return inReach
	}
	return outOfReach
}

// unit counts a unit and tells whether the two results are the same.
func (r *run) unit(i int, on, off transforms.Result) bool {
	fr := &r.rep.Features[i]
	fr.Compared++
	r.rep.Values++
	if diverges(on.Value, off.Value) {
		fr.Diverging++
		r.rep.Diverging++
	}
	if same(on, off) {
		return true
	}
	fr.Different++
	return false
}

// value compares one value.
func (r *run) value(e *entity, base *finding, i int, t schemas.Micros, on, off transforms.Result) {
	if r.unit(i, on, off) {
		return
	}
	d := r.differentValue(ValueKind, e, i, t, on, off)
	f := &finding{Difference: d, entity: e.name, base: base, feature: i, at: t, resultOn: on, resultOff: off, ask: askValue, parts: e.parts}
	if len(e.parts) == 1 {
		f.Partition = &e.parts[0].at.partition
		f.Evidence = r.evidenceOf(e.parts[0])
	}
	r.add(f)
}

func (r *run) differentValue(k Kind, e *entity, i int, t schemas.Micros, on, off transforms.Result) Difference {
	d := r.difference(k, place{e.shard, -1}, Logic, "", noEvidence(""))
	r.name(&d, e)
	at := Instant(t)
	d.Feature, d.AsOf = r.rep.Features[i].Feature, &at
	d.Online, d.Offline = resultText(on), resultText(off)
	return d
}

// table compares the features table's row of an entity with the online states,
// as of the last closed boundary that the table has. Here all partitions' clocks
// count: the row was written when nothing had been dropped yet.
func (r *run) table(e *entity, base *finding) (n int64) {
	f := &r.frame
	on, off := e.states()
	later, started := schemas.Never, f.validFrom
	for _, p := range f.partitions {
		at := place{e.shard, p}
		later, started = max(later, f.later(at)), max(started, f.started(at))
	}
	usable, all := r.usable(f.snapshot, later, started)
	a := f.engine.BoundaryValue(nil, f.snapshot, on...)
	tiles := f.engine.BoundaryValue(nil, f.snapshot, off...)
	row := absentRow(len(a))
	if e.row != nil {
		row = e.row.Results
	}
	if len(row) != len(a) {
		r.add(&finding{Difference: r.wrongRow(e, 0, transforms.Result{}, transforms.Result{}, fmt.Sprintf("the row has %d values, the view %d features", len(row), len(a)))})
		return 0
	}
	for i := range a {
		absent := a[i].Status == transforms.Absent || row[i].Status == transforms.Absent
		if a[i].Status == row[i].Status && absent || usable[i] != inReach || absent && !all || row[i].Status == transforms.Incomplete {
			continue
		}
		n++
		r.rep.Features[i].InTable++
		if !same(tiles[i], a[i]) || same(row[i], a[i]) { // the states differ too, or nothing does
			r.value(e, base, i, f.snapshot, a[i], row[i])
			continue
		}
		r.unit(i, a[i], row[i])
		if absent { // one finding for the whole row
			if r.oneRow != e {
				r.oneRow = e
				r.add(&finding{Difference: r.loneRow(e, i, a[i], row[i])})
			}
			continue
		}
		r.add(&finding{Difference: r.wrongRow(e, i, a[i], row[i], "the tables' own tiles give what the online store has")})
	}
	if n > 0 {
		r.rep.TableRows++
	}
	return n
}

func absentRow(n int) []transforms.Result {
	row := make([]transforms.Result, n)
	for i := range row {
		row[i].Status = transforms.Absent
	}
	return row
}

// wrongRow is a row that contradicts the tiles beside it: no replay is needed to
// tell which is wrong.
func (r *run) wrongRow(e *entity, i int, on, off transforms.Result, text string) Difference {
	d := r.differentValue(RowKind, e, i, r.frame.snapshot, on, off)
	d.Cause, d.Side, d.Evidence.Text = Corrupt, OnOffline, text
	return d
}

// loneRow is a row that should be there, or should not.
func (r *run) loneRow(e *entity, i int, on, off transforms.Result) Difference {
	if e.row != nil {
		return r.wrongRow(e, i, on, off, "table features has a row of it, the tables' own tiles say that it is absent, as the online store does")
	}
	d := r.wrongRow(e, i, on, off, "table features has no row of it, the tables' own tiles give what the online store has")
	d.Cause = Missing
	return d
}

func resultText(x transforms.Result) string {
	text := x.Value.String()
	const most = 60
	if len(text) > most {
		text = fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%s %v", text, x.Status)
}

// diverges tells whether two values of a unit are apart (R2): null-ness or type
// differs, numbers lie more than 1 % of the greater one's size apart, anything
// else is not equal.
func diverges(a, b schemas.Value) bool {
	if a.Kind() != b.Kind() {
		return true
	}
	var x, y float64
	switch a.Kind() {
	case schemas.Int:
		x, y = float64(a.Int()), float64(b.Int())
	case schemas.Double:
		x, y = a.Double(), b.Double()
	default:
		return !a.Equal(b)
	}
	// Halves, as the difference of two doubles may overflow.
	return math.Abs(x/2-y/2) > 0.01*(max(math.Abs(x), math.Abs(y))/2)
}

// alertShare is how many of all units, or of one feature's, may diverge (R2):
// 0.1 %.
const alertShare = 0.001

func beyond(diverging, units int64) bool { return float64(diverging) > alertShare*float64(units) }
