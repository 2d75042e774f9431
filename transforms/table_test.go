package transforms_test

import (
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// tableSpec is a view of a table with a feature of every kind.
func tableSpec(tb testing.TB) transforms.Spec {
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
	spec := transforms.Spec{Name: "v", Table: true, MaxFuture: schemas.Minute, Version: compile("i"), Shards: 1,
		Key:    []transforms.KeyField{{Name: "k", Kind: schemas.String, Expr: compile("k")}},
		Inputs: []*expr.Program{compile("i"), compile("d"), compile("s")}}
	for in, p := range spec.Inputs {
		spec.Features = append(spec.Features, transforms.Feature{Name: string('a' + rune(in)), Aggregation: transforms.Last, Input: in, Filter: -1,
			Window: transforms.Window{Kind: transforms.Lifetime, Hop: schemas.Day}, Kind: p.Type().Kind})
	}
	return spec
}

// tableState folds records described by bytes.
func tableState(v *transforms.View, script []byte) *transforms.State {
	s, in := v.NewState(0), v.NewInput()
	clock := schemas.Micros(1_700_000_000_000_000)
	for i := 0; i+3 < len(script); i += 4 {
		a, b, c, d := script[i], script[i+1], script[i+2], script[i+3]
		clock += schemas.Micros(a) * schemas.Minute
		e := &schemas.Event{Offset: int64(i), Clock: clock, EventTime: clock - schemas.Micros(b%64)*schemas.Minute + schemas.Micros(c%3)*20*schemas.Second,
			Key:    []schemas.Value{schemas.StringValue("k")},
			Fields: []schemas.Value{{}, schemas.IntValue(int64(d)), schemas.DoubleValue(float64(d) / 7), schemas.StringValue(string(script[i : i+2]))}}
		if e.Tombstone = d%5 == 0; e.Tombstone {
			e.EventTime = clock
		}
		v.Prepare(in, e)
		v.Step(s, in)
	}
	return s
}

// FuzzParseTable is FuzzParse for states of tables (K6).
func FuzzParseTable(f *testing.F) {
	v, err := transforms.NewView(tableSpec(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0, 40, 1, 2, 0, 22, 1, 2, 1, 22, 1, 2, 1, 20})
	fuzzParse(f, v, tableState)
}

// K6: what a table cannot have is refused by the engine too.
func TestTableSpec(t *testing.T) {
	for want, spoil := range map[string]func(*transforms.Spec){
		"max_future":            func(s *transforms.Spec) { s.MaxFuture = 0 },
		"it has no entity":      func(s *transforms.Spec) { s.Key = nil },
		"no ids and no filters": func(s *transforms.Spec) { s.Where = s.Inputs[0] },
		"last over lifetime":    func(s *transforms.Spec) { s.Features[0].Aggregation = transforms.First },
		"feature b":             func(s *transforms.Spec) { s.Features[1].Window.Kind = transforms.Days },
	} {
		spec := tableSpec(t)
		spoil(&spec)
		if _, err := transforms.NewView(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one of %q", err, want)
		}
	}
}
