package reconcile

import (
	"fmt"
	"math"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// values compares the features of an entity at each level's boundary. It returns
// how many.
func (r *run) values(e *entity, base *finding) (n int64) {
	f := &r.frame
	var on, off []*transforms.State
	for _, p := range e.parts {
		on, off = append(on, p.on), append(off, p.off)
	}
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

// value compares one value.
func (r *run) value(e *entity, base *finding, i int, t schemas.Micros, on, off transforms.Result) {
	fr := &r.rep.Features[i]
	fr.Compared++
	r.rep.Values++
	if diverges(on.Value, off.Value) {
		fr.Diverging++
		r.rep.Diverging++
	}
	if on.Status == off.Status && on.Value.Equal(off.Value) {
		return
	}
	fr.Different++
	d := r.difference(ValueKind, place{e.shard, -1}, Logic, "", noEvidence(""))
	r.name(&d, e)
	at := Instant(t)
	d.Feature, d.AsOf = fr.Feature, &at
	d.Online, d.Offline = resultText(on), resultText(off)
	f := &finding{Difference: d, entity: e.name, base: base, feature: i, at: t, resultOn: on, resultOff: off, ask: askValue, parts: e.parts}
	if len(e.parts) == 1 {
		f.Partition = &e.parts[0].at.partition
		f.Evidence = r.evidenceOf(e.parts[0])
	}
	r.add(f)
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
