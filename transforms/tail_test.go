package transforms_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// tailView is a view whose levels have the cells asked for: of a fixed size, of
// texts, of sketches and lists. Two of them drop tiles soon, the coarsest has a base.
func tailView(tb testing.TB, identity transforms.Identity, cells string, maxOpen, newest int) *transforms.View {
	fields := expr.Fields{
		{Path: "k", Type: expr.Type{Kind: schemas.String}}, {Path: "i", Type: expr.Type{Kind: schemas.Int, Nullable: true}},
		{Path: "d", Type: expr.Type{Kind: schemas.Double, Nullable: true}}, {Path: "s", Type: expr.Type{Kind: schemas.String, Nullable: true}},
	}
	compile := func(src string) *expr.Program {
		p, err := expr.Compile(src, fields)
		if err != nil {
			tb.Fatal(err)
		}
		return p
	}
	spec := transforms.Spec{Name: "v", Lateness: 3 * schemas.Hour, HistoryLateness: 30 * schemas.Hour, History: map[int32]int64{0: 150},
		MaxFuture: 2 * schemas.Hour, Identity: identity, MaxOpen: maxOpen, ID: compile("k"), Version: compile("i"),
		Key:     []transforms.KeyField{{Name: "k", Kind: schemas.String, Expr: compile("\"u\"")}},
		Filters: []*expr.Program{compile("i > 2")}, Inputs: []*expr.Program{compile("i"), compile("d"), compile("s")}, Shards: 1, NewestTiles: newest}
	windows := []transforms.Window{{Kind: transforms.Sliding, Length: 3 * schemas.Hour, Hop: 5 * schemas.Minute},
		{Kind: transforms.Sliding, Length: 200 * schemas.Hour, Hop: schemas.Hour}, {Kind: transforms.Lifetime, Hop: schemas.Day},
		{Kind: transforms.Days, N: 3, ExcludeCurrent: true, Hop: schemas.Day}}
	add := func(a transforms.Aggregation, in int) {
		f := transforms.Feature{Aggregation: a, Input: in, Filter: in%2 - 1, By: 1, K: 5, Q: 500_000, Kind: schemas.Int}
		if in >= 0 {
			f.Kind, _ = a.OutputKind(spec.Inputs[in].Type().Kind)
		} else {
			f.Filter = -1
		}
		for _, w := range windows {
			f.Window = w
			f.Name = fmt.Sprint("f", len(spec.Features))
			spec.Features = append(spec.Features, f)
		}
	}
	add(transforms.Count, -1)
	switch cells {
	case "small":
		add(transforms.Sum, 1)
		add(transforms.StddevPop, 1)
		add(transforms.Max, 0)
	case "text":
		add(transforms.Last, 2)
		add(transforms.MaxBy, 2)
		add(transforms.Sum, 1)
	default:
		add(transforms.CountDistinct, 2)
		add(transforms.Quantile, 1)
		add(transforms.LastK, 0)
		add(transforms.MinBy, 0)
	}
	v, err := transforms.NewView(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// What a state keeps in memory only, a tail, a decoded tile, sums of runs, tiles
// that outstay their retention, is seen nowhere: it gives what a state gives that
// is written and read anew after every record (V1, V2, V11).
func TestMemoryIsNotSeen(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		identity := rapid.SampledFrom([]transforms.Identity{transforms.Anonymous, transforms.ByID, transforms.ByVersion}).Draw(r, "identity")
		v := tailView(t, identity, rapid.SampledFrom([]string{"small", "text", "large"}).Draw(r, "cells"), rapid.SampledFrom([]int{5, 1000}).Draw(r, "max_open"),
			rapid.SampledFrom([]int{0, 1, 2, 5}).Draw(r, "newest_tiles"))
		pace := 1 + random.Int64N(int64(2*schemas.Hour))
		keep := random.IntN(2) == 0
		s, twin := v.NewState(0), v.NewState(0)
		s.KeepEvicted, twin.KeepEvicted = keep, keep
		in := v.NewInput()
		var clock schemas.Clock
		now, trimmed := schemas.Micros(1_700_000_000_000_000), schemas.Never
		var out, twinOut []transforms.Tile
		reread := func() {
			written := v.Encode(twin)
			twinOut = append(twinOut, twin.Evicted()...)
			var err error
			if twin, err = v.Parse(written); err != nil {
				r.Fatal(err)
			}
			twin.KeepEvicted = keep
		}
		text := func() schemas.Value {
			return schemas.StringValue(strings.Repeat("x", random.IntN(60)) + fmt.Sprint(random.IntN(9)))
		}
		for n := range 50 + random.IntN(350) {
			now += schemas.Micros(random.Int64N(pace))
			if random.IntN(100) == 0 {
				now += schemas.Micros(random.Int64N(int64(20 * schemas.Day)))
			}
			back := random.Int64N(int64(10 * schemas.Minute))
			switch random.IntN(8) {
			case 0:
				back = random.Int64N(int64(31 * schemas.Hour))
			case 1:
				back = -random.Int64N(int64(3 * schemas.Hour))
			}
			e := &schemas.Event{Offset: int64(n), Timestamp: now, EventTime: now - schemas.Micros(back), Fields: []schemas.Value{
				schemas.StringValue(fmt.Sprint("i", n-random.IntN(9))), schemas.IntValue(random.Int64N(7)), schemas.DoubleValue((random.Float64() - 0.5) * float64(int64(1)<<random.IntN(60))), text()}}
			clock.Stamp(e)
			v.Prepare(in, e)
			a := v.Step(s, in)
			v.Prepare(in, e)
			if b := v.Step(twin, in); a != b {
				r.Fatalf("verdict %+v, read anew %+v", a, b)
			}
			reread()
			switch random.IntN(12) {
			case 0:
				at := max(s.Clock()+1, trimmed) + schemas.Micros(random.Int64N(int64(30*schemas.Hour)))
				got, err := v.Value(nil, at, s)
				if err != nil {
					r.Fatal(err)
				}
				want, err := v.Value(nil, at, twin)
				if err != nil {
					r.Fatal(err)
				}
				same(r, "value", got, want)
			case 1:
				at := (now - schemas.Micros(random.Int64N(int64(48*schemas.Hour)))).Floor(schemas.Day)
				same(r, "boundary value", v.BoundaryValue(nil, at, s), v.BoundaryValue(nil, at, twin))
			case 2:
				if random.IntN(5) > 0 {
					break
				}
				b := (now - 3*schemas.Hour - schemas.Micros(random.Int64N(int64(3*schemas.Hour)))).Floor(5 * schemas.Minute)
				if n < 150 {
					b -= 27 * schemas.Hour
				}
				v.Trim(s, b)
				v.Trim(twin, b)
				trimmed = max(trimmed, b)
				reread()
				if random.IntN(2) > 0 {
					break
				}
				taken := v.TakeClosed(s, b)
				if random.IntN(2) == 0 {
					written := v.Encode(s)
					out = append(out, s.Evicted()...)
					var err error
					if s, err = v.Parse(written); err != nil {
						r.Fatal(err)
					}
					s.KeepEvicted = keep
				}
				if err := v.Restore(s, taken); err != nil {
					r.Fatal(err)
				}
			case 3:
				encodings(r, v, s, twin)
			}
			out = append(out, s.Evicted()...)
		}
		encodings(r, v, s, twin)
		out, twinOut = append(out, s.Evicted()...), append(twinOut, twin.Evicted()...)
		if keep && !slices.Equal(out, twinOut) {
			r.Fatalf("dropped %d tiles, read anew %d", len(out), len(twinOut))
		}
	})
}

func encodings(r *rapid.T, v *transforms.View, s, twin *transforms.State) {
	a, b := v.Encode(s), v.Encode(twin)
	switch {
	case string(a.Served) != string(b.Served):
		r.Fatalf("served\n%x, read anew\n%x", a.Served, b.Served)
	case string(a.Old) != string(b.Old):
		r.Fatalf("old\n%x, read anew\n%x", a.Old, b.Old)
	case !reflect.DeepEqual(a.Open, b.Open):
		r.Fatalf("open\n%x, read anew\n%x", a.Open, b.Open)
	}
}

func same(r *rapid.T, what string, a, b []transforms.Result) {
	for i := range a {
		if a[i].Status != b[i].Status || !a[i].Value.Equal(b[i].Value) {
			r.Fatalf("%s: feature %d: %v, read anew %v", what, i, a[i], b[i])
		}
	}
}

// V7, V11: a Trim forgets the ids whose memory ends before its boundary, and no others,
// though the state's own clock would still remember them.
func TestTrimForgets(t *testing.T) {
	for _, identity := range []transforms.Identity{transforms.ByID, transforms.ByVersion} {
		v := tailView(t, identity, "small", 1000, 0)
		s, in := v.NewState(1), v.NewInput()
		start := schemas.Micros(20_000) * schemas.Day
		for off := range int64(3) {
			at := start + schemas.Micros(off)*schemas.Minute
			e := &schemas.Event{Partition: 1, Offset: off, Clock: at, EventTime: at, Fields: []schemas.Value{
				schemas.StringValue(fmt.Sprint(off)), schemas.IntValue(1), schemas.DoubleValue(1), schemas.StringValue("x")}}
			v.Prepare(in, e)
			v.Step(s, in)
		}
		v.Trim(s, start)
		if len(v.Encode(s).Open) == 0 {
			t.Errorf("identity %d: trimmed at the first event it remembers none", identity)
		}
		v.Trim(s, start+schemas.Hour)
		if open := v.Encode(s).Open; len(open) > 0 {
			t.Errorf("identity %d: trimmed an hour behind the last event it remembers %x", identity, open)
		}
	}
}

// K7, V11: close_idle may have closed more than the state's own clock says. What
// comes late after that leaves bytes that parse, also where it is beyond retention.
func TestTrimBeyondTheClock(t *testing.T) {
	for _, identity := range []transforms.Identity{transforms.Anonymous, transforms.ByID, transforms.ByVersion} {
		v := tailView(t, identity, "small", 1000, 0)
		s, in := v.NewState(1), v.NewInput()
		step := func(off int64, clock schemas.Micros) {
			e := &schemas.Event{Partition: 1, Offset: off, Clock: clock, EventTime: clock, Fields: []schemas.Value{
				schemas.StringValue(fmt.Sprint(off)), schemas.IntValue(1), schemas.DoubleValue(1), schemas.StringValue("x")}}
			v.Prepare(in, e)
			v.Step(s, in)
		}
		start := schemas.Micros(20_000) * schemas.Day
		step(0, start)
		v.Trim(s, start+60*schemas.Day)
		step(1, start+schemas.Hour)
		step(2, start+30*schemas.Hour)
		if _, err := v.Parse(v.Encode(s)); err != nil {
			t.Errorf("identity %d: %v", identity, err)
		}
		v.Trim(s, start+60*schemas.Day)
		if got := v.Tiles(s, schemas.Forever); len(got) != 0 {
			t.Errorf("identity %d: trimmed again, %d tiles beyond their retention", identity, len(got))
		}
	}
}

// V11: a tile leaves its state with the first record whose clock is its retention behind
// its end, not a µs sooner or later: longest window + hop + lateness + 48 h.
func TestTilesLeaveOnTime(t *testing.T) {
	v := viewV1(t)
	for hop, longest := range map[schemas.Micros]schemas.Micros{5 * schemas.Minute: schemas.Hour, schemas.Hour: 7 * schemas.Day} {
		for off := schemas.Micros(-1); off <= 1; off++ {
			s, in := v.NewState(0), v.NewInput()
			s.KeepEvicted = true
			end := purchasesStart.Floor(hop) + hop
			last := end + longest + hop + v.Spec().Lateness + 48*schemas.Hour + off
			for i, at := range []schemas.Micros{end - 1, last} {
				e := &schemas.Event{Offset: int64(i), Clock: at, EventTime: at, Fields: []schemas.Value{schemas.StringValue("u"), schemas.DoubleValue(1), {}}}
				v.Prepare(in, e)
				if got := v.Step(s, in); got.Outcome != transforms.Applied {
					t.Fatal(got)
				}
			}
			left := slices.ContainsFunc(s.Evicted(), func(x transforms.Tile) bool { return x.Hop == hop && x.Start == end-hop })
			if left != (off >= 0) {
				t.Errorf("hop of %d µs, %d µs after its retention: a tile has left: %v", hop, off, left)
			}
		}
	}
}
