package transforms_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// TestSpanAtTheEnds: windows are held within what an instant can be, and agree
// with the calendar everywhere else (V3).
func TestSpanAtTheEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		at := schemas.Micros(r.Uint64())
		switch r.IntN(4) {
		case 0:
			at = schemas.Never.AddSat(schemas.Micros(r.Int64N(int64(800 * schemas.Day))))
		case 1:
			at = schemas.Forever.SubSat(schemas.Micros(r.Int64N(int64(800 * schemas.Day))))
		case 2:
			at = schemas.Micros(r.Int64N(int64(2000*schemas.Day))) - 1000*schemas.Day
		}
		if r.IntN(3) == 0 {
			at = at.Floor(schemas.Day)
		}
		w := transforms.Window{Kind: transforms.WindowKind(1 + r.IntN(5)), N: 1 + r.IntN(15), Hop: schemas.Day}
		o := oracle.Window{N: w.N, Hop: int64(schemas.Day)}
		switch w.Kind {
		case transforms.Sliding:
			w.Hop = []schemas.Micros{5 * schemas.Minute, schemas.Hour, schemas.Day}[r.IntN(3)]
			w.Length = schemas.Micros(1 + r.Int64N(int64(40*schemas.Day)))
			o.Kind, o.Hop, o.Length = oracle.Sliding, int64(w.Hop), int64(w.Length)
		case transforms.Lifetime:
			o.Kind = oracle.Lifetime
		default:
			w.ExcludeCurrent = r.IntN(2) == 0
			o.Kind, o.ExcludeCurrent = oracle.WindowKind(w.Kind-transforms.Days)+oracle.Days, w.ExcludeCurrent
		}
		lo, hi := w.Span(at)
		wantLo, wantHi := o.Span(int64(at))
		if wantHi > int64(at) { // it wraps
			wantHi = int64(schemas.Never)
		}
		if int64(lo) != wantLo || int64(hi) != wantHi {
			t.Fatalf("V3: %+v as of %d spans [%d, %d), want [%d, %d)", w, at, lo, hi, wantLo, wantHi)
		}
	}
}

// TestStateAtTheEnds: events in the first and the last tile that there is are
// counted, kept and encoded like others (V3, V6, V11).
func TestStateAtTheEnds(t *testing.T) {
	v := fuzzView(t)
	for _, c := range []struct{ event, clock, at schemas.Micros }{
		{schemas.Never + 500, schemas.Never + 1000, schemas.Never + 2000},
		{schemas.Never + 2*schemas.Hour, schemas.Never + 2*schemas.Hour, schemas.Never + 3*schemas.Hour},
		{schemas.Forever - 500, schemas.Forever - 400, schemas.Forever},
		{schemas.Forever - 2*schemas.Hour, schemas.Forever - 90*schemas.Minute, schemas.Forever - 1},
		{-1, -1, 0}, {0, 0, 1},
	} {
		s, in := v.NewState(0), v.NewInput()
		e := &schemas.Event{Offset: 1, Clock: c.clock, EventTime: c.event,
			Fields: []schemas.Value{schemas.StringValue("a"), schemas.IntValue(7), schemas.DoubleValue(0.5), schemas.StringValue("x")}}
		v.Prepare(in, e)
		if got := v.Step(s, in); got.Outcome != transforms.Applied {
			t.Fatalf("V6: an event at %d, clock %d: %v", c.event, c.clock, got)
		}
		want, err := v.Value(nil, c.at, s)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range want {
			if r.Status == transforms.Absent || v.Spec().Features[i].Aggregation == transforms.Count && r.Value != schemas.IntValue(1) {
				t.Fatalf("V3: an event at %d as of %d: feature %d is %v", c.event, c.at, i, r)
			}
		}
		b := c.clock.SubSat(schemas.Hour).Floor(5 * schemas.Minute)
		for round := range 2 {
			written := v.Encode(s)
			again, err := v.Parse(written)
			if err != nil {
				t.Fatalf("V11: a state at clock %d does not parse: %v", c.clock, err)
			}
			if x := v.Encode(again); !bytes.Equal(x.Served, written.Served) {
				t.Fatalf("V11: a state at clock %d encodes otherwise", c.clock)
			}
			if got, err := v.Value(nil, c.at, again); err != nil || !slices.Equal(got, want) {
				t.Fatalf("V11: read back, round %d: %v %v, want %v", round, got, err, want)
			}
			v.Trim(s, b)
		}
		closed := v.TakeClosed(s, c.at)
		if err := v.Restore(s, closed); err != nil {
			t.Fatalf("B5: clock %d: %v", c.clock, err)
		}
		if got, err := v.Value(nil, c.at, s); err != nil || !slices.Equal(got, want) {
			t.Fatalf("B5: clock %d: parted and joined: %v %v, want %v", c.clock, got, err, want)
		}
	}
}
