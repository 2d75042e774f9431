package transforms_test

import (
	"slices"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// K8, V9: an event in a window that begins after the start shows that the entity is not
// absent, also where the window's value is the one that it has without events; and one
// in a window that reaches back before the start shows nothing.
func TestIncompleteByEvents(t *testing.T) {
	fields := expr.Fields{{Path: "k", Type: expr.Type{Kind: schemas.String}}, {Path: "d", Type: expr.Type{Kind: schemas.Double, Nullable: true}}}
	compile := func(src string) *expr.Program {
		p, err := expr.Compile(src, fields)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const day, from = schemas.Day, 20_000 * schemas.Day
	hour := transforms.Window{Kind: transforms.Sliding, Length: schemas.Hour, Hop: 5 * schemas.Minute}
	spec := transforms.Spec{Name: "v", MaxFuture: schemas.Minute, Lateness: schemas.Hour, Shards: 1,
		Key:     []transforms.KeyField{{Name: "k", Kind: schemas.String, Expr: compile("k")}},
		Inputs:  []*expr.Program{compile("d")},
		Filters: []*expr.Program{compile("d > 100.0")},
		Features: []transforms.Feature{
			{Name: "sum", Aggregation: transforms.Sum, Input: 0, Filter: -1, Kind: schemas.Double, Window: hour},
			{Name: "last", Aggregation: transforms.Last, Input: 0, Filter: -1, Kind: schemas.Double, Window: hour},
			{Name: "big", Aggregation: transforms.Count, Input: -1, Filter: 0, Kind: schemas.Int, Window: hour},
			{Name: "day", Aggregation: transforms.Count, Input: -1, Filter: -1, Kind: schemas.Int, Window: transforms.Window{Kind: transforms.Sliding, Length: day, Hop: schemas.Hour}},
		}}
	v, err := transforms.NewView(spec)
	if err != nil {
		t.Fatal(err)
	}
	const I, A, N, P = transforms.Incomplete, transforms.Absent, transforms.IsNull, transforms.Present
	null := schemas.Value{}
	for name, c := range map[string]struct {
		values     []schemas.Value
		ago        schemas.Micros // of the events, before t
		want, edge []transforms.Status
	}{
		"a sum of zero":      {[]schemas.Value{schemas.DoubleValue(1), schemas.DoubleValue(-1)}, schemas.Minute, []transforms.Status{P, P, P, I}, nil},
		"null":               {[]schemas.Value{null}, schemas.Minute, []transforms.Status{P, N, P, I}, nil},
		"in the longer only": {[]schemas.Value{schemas.DoubleValue(200)}, 2 * schemas.Hour, []transforms.Status{I, I, I, I}, nil},
		"nothing":            {nil, 0, []transforms.Status{I, I, I, I}, []transforms.Status{A, A, A, A}},
	} {
		at := from + 12*schemas.Hour
		state, sweep, in := v.NewState(0), v.NewSweep(), v.NewInput()
		sweep.Reset()
		for i, x := range c.values {
			e := schemas.Event{Offset: int64(i), Clock: at - c.ago, EventTime: at - c.ago, Fields: []schemas.Value{schemas.StringValue("a"), x}}
			v.Prepare(in, &e)
			sweep.Add(in)
			if r := v.Step(state, in); r.Outcome != transforms.Applied {
				t.Fatalf("%s: event %d: %v", name, i, r)
			}
		}
		if c.edge == nil {
			c.edge = c.want
		}
		value, err := v.ValueFrom(nil, at, from, state)
		if err != nil {
			t.Fatal(err)
		}
		for how, got := range map[string][]transforms.Result{
			"ValueFrom": value, "Sweep": sweep.Value(nil, at, from), "BoundaryValueFrom": v.BoundaryValueFrom(nil, at, from, state),
		} {
			want := c.want
			if how == "BoundaryValueFrom" {
				want = c.edge
			}
			var is []transforms.Status
			for _, r := range got {
				is = append(is, r.Status)
			}
			if !slices.Equal(is, want) {
				t.Errorf("%s, %s: %v, want %v", name, how, is, want)
			}
		}
	}
}
