package transforms_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// A Sweep that is given every accepted event before the first t that knows it
// answers as the fold does, asked at each t: windows of every kind, late events, and
// t far apart or close together (V2, V3, §10).
func TestSweepAnswersAsTheFold(t *testing.T) {
	spec := *viewV1(t).Spec()
	spec.Lateness = 40 * schemas.Hour
	spec.Features = slices.Clone(spec.Features)
	add := func(name string, a transforms.Aggregation, w transforms.Window) {
		spec.Features = append(spec.Features, transforms.Feature{Name: name, Aggregation: a, Input: 0, Filter: -1, Kind: schemas.Double, Window: w})
	}
	add("var", transforms.VarPop, transforms.Window{Kind: transforms.Sliding, Length: 30 * schemas.Hour, Hop: schemas.Hour})
	add("last", transforms.Last, transforms.Window{Kind: transforms.Sliding, Length: 6 * schemas.Hour, Hop: 5 * schemas.Minute})
	add("all", transforms.Sum, transforms.Window{Kind: transforms.Lifetime, Hop: schemas.Day})
	add("today", transforms.Sum, transforms.Window{Kind: transforms.Days, N: 1, Hop: schemas.Day})
	add("days", transforms.Min, transforms.Window{Kind: transforms.Days, N: 2, ExcludeCurrent: true, Hop: schemas.Day})
	for _, few := range []bool{false, true} { // levels without last keep sums
		s := spec
		if few {
			s.Features = slices.DeleteFunc(slices.Clone(s.Features), func(f transforms.Feature) bool { return f.Name == "last" || f.Name == "all" })
		}
		v, err := transforms.NewView(s)
		if err != nil {
			t.Fatal(err)
		}
		sweep := v.NewSweep()
		rapid.Check(t, func(r *rapid.T) { sweepOnce(r, v, sweep) })
	}
}

func sweepOnce(r *rapid.T, v *transforms.View, sweep *transforms.Sweep) {
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
	pace := 1 + random.Int64N(int64(3*schemas.Hour))
	asks := 1 + random.IntN(8)
	state, in := v.NewTrainingState(0), v.NewInput()
	event := schemas.Event{Fields: make([]schemas.Value, 3)}
	event.Fields[0] = schemas.StringValue("u")
	var clock schemas.Clock
	now := purchasesStart
	var waiting []*transforms.Input // accepted, not entered yet, by the first t that knows them
	sweep.Reset()
	for range 50 + random.IntN(500) {
		now += schemas.Micros(random.Int64N(pace))
		back := random.Int64N(int64(schemas.Minute)) - int64(schemas.Second)
		if random.IntN(10) == 0 {
			back = random.Int64N(int64(41 * schemas.Hour))
		}
		event.Offset++
		event.Timestamp, event.EventTime = now, now-schemas.Micros(back)
		event.Fields[1] = schemas.DoubleValue((random.Float64() - 0.5) * 1e6)
		clock.Stamp(&event)
		v.Prepare(in, &event)
		if _, out := v.Screen(in); !out {
			own := v.NewInput()
			v.Prepare(own, &event)
			own.Clock = max(own.Clock, own.EventTime+1)
			waiting = append(waiting, own)
			slices.SortStableFunc(waiting, func(a, b *transforms.Input) int { return cmp.Compare(a.Clock, b.Clock) })
		}
		v.Step(state, in)
		if random.IntN(asks) > 0 {
			continue
		}
		at := now // the records after it have later clocks
		for len(waiting) > 0 && waiting[0].Clock <= at {
			sweep.Add(waiting[0])
			waiting = waiting[1:]
		}
		if at < state.Clock() {
			continue
		}
		got := sweep.Value(nil, at, schemas.Never)
		if want := values(r, v, state, at); !slices.Equal(got, want) {
			r.Fatalf("as of %v: %v, the fold has %v", at, got, want)
		}
		now++
	}
}
