package gate_test

import (
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/transforms"
)

const guardSchema = `{"type":"record","name":"e","fields":[{"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"k","type":"string"},{"name":"x","type":["null","double"]}]}`

// guardRig folds made-up days for a guard.
type guardRig struct {
	*testing.T
	view  *transforms.View
	paths map[string]int
	guard *gate.Guard
	state *transforms.State
	in    *transforms.Input
	next  int64
}

func newGuardRig(t *testing.T) *guardRig {
	t.Helper()
	def := testbed.View(t, `
sources: {e: {schema: e.avsc, event_time: time, lateness: 1d}}
views: {v: {source: e, entity: {k: string}, features: {n: {count: "*", over: 6h}, s: {sum: x, over: 2d}, m: {mean: x, over: 6h}}}}
`, guardSchema)
	v, err := transforms.NewView(def.Spec)
	if err != nil {
		t.Fatal(err)
	}
	g := &guardRig{T: t, view: v, paths: map[string]int{}, guard: gate.NewGuard(v, schemas.Day, gate.Options{}), state: v.NewState(0), in: v.NewInput()}
	for i, p := range def.Source.Paths {
		g.paths[p] = i
	}
	return g
}

// accept makes days of 1,000 events, of which none is null, what is usual.
func (g *guardRig) accept(from, to gate.Day, read map[int32]int64, events int64) int {
	rec := &gate.Record{}
	for day := from; day <= to; day++ {
		p := gate.Profile{Day: day, Closed: true, Final: true, Ledger: transforms.Ledger{Applied: events}}
		for _, c := range g.view.Cells() {
			in := gate.Inputs{Hop: c.Hop, Taken: events, Of: events}
			for _, f := range c.Features {
				in.Columns = append(in.Columns, g.view.Spec().Features[f].Name)
			}
			p.Inputs = append(p.Inputs, in)
		}
		rec.Profiles = append(rec.Profiles, p)
	}
	return g.guard.Accept(rec, read)
}

// day folds n events of a day, of which every nth has no x; 0 = all have one.
func (g *guardRig) day(w *gate.Watch, day, n, null int) {
	g.Helper()
	for i := range n {
		at := schemas.Micros(day)*schemas.Day + schemas.Micros(i)*schemas.Day/schemas.Micros(n)
		e := &schemas.Event{Offset: g.next, Clock: at, EventTime: at, Fields: make([]schemas.Value, len(g.paths))}
		e.Fields[g.paths["k"]] = schemas.StringValue("k")
		if slot, ok := g.paths["time"]; ok {
			e.Fields[slot] = schemas.TimestampValue(at)
		}
		if null == 0 || i%null > 0 {
			e.Fields[g.paths["x"]] = schemas.DoubleValue(1)
		}
		g.next++
		g.view.Prepare(g.in, e)
		v := g.view.Step(g.state, g.in)
		w.Saw(g.in, &v)
		w.Saw(g.in, &v) // folded again, as after a write that was lost
	}
}

func (g *guardRig) judge(w *gate.Watch) (standing []gate.Breach) {
	standing, _ = g.guard.Judge(w)
	return standing
}

// B6: with fewer than seven days nothing is guarded; more than a day may have is a
// breach at once, told once, until the day is accepted.
func TestGuardSurplus(t *testing.T) {
	g := newGuardRig(t)
	w := g.guard.Watch(0)
	if n := g.accept(20_000, 20_005, nil, 1000); n != 6 {
		t.Fatalf("%d dates", n)
	}
	g.day(w, 20_020, 5_000, 0)
	if bs := g.judge(w); len(bs) > 0 {
		t.Errorf("guarded by six days: %v", bs)
	}
	g.accept(20_000, 20_019, nil, 1000)
	bs, fresh := g.guard.Judge(w)
	if len(bs) != 2 || fresh != 2 || bs[0].Statistic != gate.Read || bs[0].Is != 5_000 || bs[0].Allowed != 1_300 {
		t.Fatalf("%d of %v", fresh, bs)
	}
	if bs, fresh := g.guard.Judge(w); len(bs) != 2 || fresh != 0 {
		t.Errorf("again: %d of %v", fresh, bs)
	}
	g.accept(20_000, 20_020, nil, 1000)
	if bs := g.judge(w); len(bs) > 0 {
		t.Errorf("accepted, and there are %v", bs)
	}
}

// B6: who has one of four partitions may have their part; with partitions that the
// tables do not know it is not known, and a whole day is allowed.
func TestGuardPart(t *testing.T) {
	for _, c := range []struct {
		name   string
		read   map[int32]int64
		events int
		breach bool
	}{
		{"its part", map[int32]int64{0: 100, 1: 100, 2: 100, 3: 100}, 250, false},
		{"twice its part", map[int32]int64{0: 100, 1: 100, 2: 100, 3: 100}, 500, true},
		{"nearly all records lie there", map[int32]int64{0: 300, 1: 100}, 900, false},
		{"not known", map[int32]int64{1: 100}, 900, false},
	} {
		g := newGuardRig(t)
		w := g.guard.Watch(0)
		g.accept(20_000, 20_019, c.read, 1000)
		g.day(w, 20_020, c.events, 0)
		if bs := g.judge(w); len(bs) > 0 != c.breach {
			t.Errorf("%s, %d records: %v", c.name, c.events, bs)
		}
	}
}

// B6: inputs that are null for one event in seven are a breach on the third day, which
// is over; whoever began in the middle of a day says nothing of what is left of it; a
// field that is always null is one at once.
func TestGuardInputs(t *testing.T) {
	g := newGuardRig(t)
	w := g.guard.Watch(0)
	g.accept(20_000, 20_019, nil, 1000)
	for day := range 3 {
		g.day(w, 20_020+day, 1000, 7)
		if bs := g.judge(w); len(bs) > 0 {
			t.Fatalf("day %d: %v", day, bs)
		}
	}
	g.day(w, 20_023, 10, 0)
	bs := g.judge(w)
	if len(bs) == 0 || bs[0].Statistic != gate.Input || bs[0].Date != 20_022 || bs[0].Lasting != 3 || bs[0].Column == "" {
		t.Errorf("null for one in seven: %v", bs)
	}
	for events, breach := range map[int]bool{300: false, 900: true} {
		g := newGuardRig(t)
		w := g.guard.Watch(0)
		g.accept(20_000, 20_019, nil, 1000)
		g.day(w, 20_020, events, 1)
		if bs := g.judge(w); len(bs) > 0 != breach {
			t.Errorf("%d events, all null: %v", events, bs)
		}
	}
}

// B6: what held the process before stands, until its figure is accepted.
func TestGuardResumes(t *testing.T) {
	g := newGuardRig(t)
	w := g.guard.Watch(0)
	g.accept(20_000, 20_019, nil, 1000)
	g.guard.Resume([]gate.Breach{{Table: gate.LedgerTable, Statistic: gate.Read, Date: 20_020, Is: 5_000}})
	g.day(w, 20_020, 100, 0)
	if bs := g.judge(w); len(bs) != 1 {
		t.Errorf("what held before does not stand: %v", bs)
	}
	g.accept(20_000, 20_020, nil, 1000)
	if bs := g.judge(w); len(bs) != 0 {
		t.Errorf("accepted, and there are %v", bs)
	}
}

// B6: who had all partitions for a moment, as the first process of a group has, is held
// against the part that it keeps.
func TestGuardPartOfADay(t *testing.T) {
	g := newGuardRig(t)
	g.accept(20_000, 20_019, map[int32]int64{0: 100, 1: 100, 2: 100, 3: 100}, 1000)
	w := g.guard.Watch(0)
	for p := int32(1); p < 4; p++ {
		o := g.guard.Watch(p)
		g.day(o, 20_020, 1, 0)
		g.judge(o)
		g.guard.Leave(p)
	}
	for day := 20_021; day < 20_024; day++ { // four times what the partition has on a usual day
		g.day(w, day, 1000, 0)
		g.judge(w)
	}
	if len(g.guard.Standing()) == 0 {
		t.Error("four times the usual records are no breach")
	}
}
