package integration

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

const (
	second = int64(schemas.Second)
	minute = int64(schemas.Minute)
	hour   = int64(schemas.Hour)
	day    = int64(schemas.Day)
)

// The fields of the source. Inputs come last, in the order of inputKinds.
const (
	fEntity = iota
	fID
	fVersion
	fRule
	fPass
	fFilter0
	fFilter1
	fInput0
)

// inputKinds are the types of the source's inputs.
var inputKinds = []schemas.Kind{schemas.Int, schemas.Double, schemas.String, schemas.Bytes, schemas.Timestamp, schemas.Bool}

var sourceFields = func() expr.Fields {
	fs := expr.Fields{}
	add := func(name string, k schemas.Kind) {
		fs = append(fs, expr.Field{Path: name, Type: expr.Type{Kind: k, Nullable: true}})
	}
	add("entity", schemas.String)
	add("id", schemas.String)
	add("version", schemas.Int)
	add("rule", schemas.Bool)
	add("pass", schemas.Bool)
	add("filter0", schemas.Bool)
	add("filter1", schemas.Bool)
	for i, k := range inputKinds {
		add(fmt.Sprintf("x%d", i), k)
	}
	return fs
}()

// scenario is a random view, described twice: to the oracle and to the engine.
type scenario struct {
	oracle.Config
	r     *rand.Rand
	spec  transforms.Spec
	view  *transforms.View
	hops  []int64 // of the levels in use, ascending
	wild  bool    // extreme numbers occur
	still bool    // copies keep their event time (K8)
	parts int
	logs  [][]oracle.Record // by partition
	order []int             // partitions, as the records were produced
	// The view's own inputs and filters: index in the source → index in the spec.
	input, filter map[int]int
}

func (s *scenario) program(tb testing.TB, src string) *expr.Program {
	p, err := expr.Compile(src, sourceFields)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// newScenario draws a view. tune, if not nil, changes what was drawn before the
// view is built.
func newScenario(tb testing.TB, seed uint64, tune func(*scenario)) *scenario {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &scenario{r: r, input: map[int]int{}, filter: map[int]int{}, parts: pick(r, 1, 2, 2, 3, 4), wild: r.IntN(4) == 0}
	s.Lateness = pick(r, second, 10*minute, 30*minute, 2*hour, 2*hour+1, day, 3*day)
	s.MaxFuture = pick(r, second, minute, 5*minute, hour)
	s.Identity = pick(r, oracle.ByNothing, oracle.ByID, oracle.ByVersion, oracle.ByVersion)
	s.MaxOpen = pick(r, 1, 2, 4, 1<<16, 1<<16)
	s.History = map[int32]int64{}
	for p := range s.parts {
		if r.IntN(4) == 0 {
			s.History[int32(p)] = int64(r.IntN(14))
		}
	}
	if r.IntN(2) == 0 {
		s.LoadLateness = s.Lateness + pick(r, 0, 1, hour, 3*day)
	}
	if tune != nil {
		tune(s)
	}
	s.spec = transforms.Spec{
		Name: "v", Lateness: schemas.Micros(s.Lateness), HistoryLateness: schemas.Micros(s.LoadLateness), History: s.History, MaxFuture: schemas.Micros(s.MaxFuture), MaxOpen: s.MaxOpen, Shards: 1,
		NewestTiles: 1 + int(seed%3), // so that tiles become old
		Key:         []transforms.KeyField{{Name: "entity", Kind: schemas.String, Expr: s.program(tb, "entity")}},
		Expect:      []transforms.Rule{{Text: "rule", Expr: s.program(tb, "rule")}},
		Where:       s.program(tb, "pass"),
	}
	switch s.Identity {
	case oracle.ByNothing:
		s.spec.Identity = transforms.Anonymous
	case oracle.ByVersion:
		s.spec.Identity, s.spec.Version = transforms.ByVersion, s.program(tb, "version")
		s.spec.ID = s.program(tb, "id")
	case oracle.ByID:
		s.spec.Identity, s.spec.ID = transforms.ByID, s.program(tb, "id")
	}
	s.drawFeatures(tb)
	var err error
	if s.view, err = transforms.NewView(s.spec); err != nil {
		tb.Fatal("seed", seed, err)
	}
	for _, h := range s.view.Hops() {
		s.hops = append(s.hops, int64(h))
	}
	return s
}

// drawFeatures draws levels, windows, aggregations, defaults, derived features.
func (s *scenario) drawFeatures(tb testing.TB) {
	if s.still {
		for range 1 + s.r.IntN(3) {
			s.addAggregate(tb, s.window(5*minute))
		}
		return
	}
	levels := pick(s.r, []int64{5 * minute}, []int64{hour}, []int64{day}, []int64{day}, []int64{5 * minute, hour}, []int64{hour, day}, []int64{5 * minute, hour, day})
	for range 1 + s.r.IntN(6) {
		s.addAggregate(tb, s.window(pick(s.r, levels...)))
	}
	for range s.r.IntN(3) {
		s.addDerived(tb)
	}
}

func (s *scenario) window(hop int64) oracle.Window {
	w := oracle.Window{Kind: oracle.Sliding, Hop: hop}
	switch hop {
	case 5 * minute:
		w.Length = pick(s.r, 5*minute, 10*minute, 7*minute, hour, 3*hour)
	case hour:
		w.Length = pick(s.r, hour, 90*minute, 5*hour, day, 2*day)
	default:
		w.Kind = pick(s.r, oracle.Sliding, oracle.Days, oracle.Weeks, oracle.Months, oracle.Lifetime)
		w.Length, w.Hop, w.N = 0, day, 1+s.r.IntN(2)
		switch w.Kind {
		case oracle.Sliding:
			w.Length, w.N = pick(s.r, day, 36*hour, 2*day, 7*day), 0
		case oracle.Lifetime:
			w.N = 0
		default:
			w.ExcludeCurrent = s.r.IntN(2) == 0
		}
	}
	return w
}

var engineWindows = map[oracle.WindowKind]transforms.WindowKind{oracle.Sliding: transforms.Sliding, oracle.Days: transforms.Days,
	oracle.Weeks: transforms.Weeks, oracle.Months: transforms.Months, oracle.Lifetime: transforms.Lifetime}

func engineWindow(w oracle.Window) transforms.Window {
	return transforms.Window{Kind: engineWindows[w.Kind], Length: schemas.Micros(w.Length), N: w.N,
		ExcludeCurrent: w.ExcludeCurrent, Hop: schemas.Micros(w.Level())}
}

func (s *scenario) addAggregate(tb testing.TB, w oracle.Window) {
	f := oracle.Feature{Window: w, Input: -1, Filter: s.r.IntN(3) - 1}
	agg, kind := transforms.Count, schemas.Int
	if s.r.IntN(6) > 0 {
		for ok := false; !ok; {
			f.Input = pick(s.r, 0, 0, 1, 1, 1, 2, 3, 4, 5)
			agg = transforms.Aggregation(1 + s.r.IntN(int(transforms.MaxBy)))
			kind, ok = agg.OutputKind(inputKinds[f.Input])
		}
	}
	f.Agg, f.Kind = oracle.Agg(agg.String()), oracle.Kind(kind)
	f.K, f.Q = pick(s.r, 1, 2, 3, 5, 100), pick(s.r, 0, 1, 100_000, 500_000, 900_000, 999_999, 1_000_000)
	for f.By = s.r.IntN(len(inputKinds)); inputKinds[f.By] == schemas.Bool; {
		f.By = s.r.IntN(len(inputKinds))
	}
	if s.r.IntN(4) == 0 {
		f.Default = s.val(kind)
	}
	s.add(tb, f, agg, kind)
}

// add adds an aggregation to both descriptions of the view.
func (s *scenario) add(tb testing.TB, f oracle.Feature, agg transforms.Aggregation, kind schemas.Kind) {
	input, filter := -1, -1
	if f.Filter >= 0 {
		if _, ok := s.filter[f.Filter]; !ok {
			s.filter[f.Filter] = len(s.spec.Filters)
			s.spec.Filters = append(s.spec.Filters, s.program(tb, fmt.Sprintf("filter%d", f.Filter)))
		}
		filter = s.filter[f.Filter]
	}
	x := transforms.Feature{Name: fmt.Sprintf("f%d", len(s.spec.Features)), Aggregation: agg, K: f.K, Q: f.Q,
		Window: engineWindow(f.Window), Default: toEngine(f.Default), Kind: kind}
	if f.Input >= 0 {
		input = s.bind(tb, f.Input)
		if agg.ByInput() {
			x.By = s.bind(tb, f.By)
		}
	}
	x.Input, x.Filter = input, filter
	s.Features = append(s.Features, f)
	s.spec.Features = append(s.spec.Features, x)
}

// bind returns the index of an input of the source among the view's own.
func (s *scenario) bind(tb testing.TB, input int) int {
	if _, ok := s.input[input]; !ok {
		s.input[input] = len(s.spec.Inputs)
		s.spec.Inputs = append(s.spec.Inputs, s.program(tb, fmt.Sprintf("x%d", input)))
	}
	return s.input[input]
}

// addDerived adds the quotient of two numeric features before it, as doubles:
// null in, null out, and null when it is not finite (V12).
func (s *scenario) addDerived(tb testing.TB) {
	var nums []int
	scope := expr.Fields{}
	for i, f := range s.spec.Features {
		scope = append(scope, expr.Field{Path: f.Name, Type: expr.Type{Kind: f.Kind, Nullable: true}})
		if f.Kind == schemas.Int || f.Kind == schemas.Double {
			nums = append(nums, i)
		}
	}
	if nums == nil {
		return
	}
	a, b := pick(s.r, nums...), pick(s.r, nums...)
	src := fmt.Sprintf("double(f%d) / double(f%d)", a, b)
	p, err := expr.Compile(src, scope)
	if err != nil {
		tb.Fatal(src, err)
	}
	f := oracle.Feature{Kind: oracle.Double, Uses: []int{a, b}, Derived: func(all []oracle.Val) oracle.Val { return ratio(all[a], all[b]) }}
	if s.r.IntN(4) == 0 {
		f.Default = s.val(schemas.Double)
	}
	s.Features = append(s.Features, f)
	s.spec.Features = append(s.spec.Features, transforms.Feature{Name: fmt.Sprintf("f%d", len(scope)),
		Input: -1, Filter: -1, Derived: p, Default: toEngine(f.Default), Kind: schemas.Double})
}

func ratio(a, b oracle.Val) oracle.Val {
	if a.Kind == oracle.Null || b.Kind == oracle.Null {
		return oracle.Val{}
	}
	float := func(v oracle.Val) float64 {
		if v.Kind == oracle.Int {
			return float64(v.I)
		}
		return v.F
	}
	q := float(a) / float(b)
	if math.IsNaN(q) || math.IsInf(q, 0) {
		return oracle.Val{}
	}
	return oracle.Val{Kind: oracle.Double, F: q + 0}
}

// val draws a value of that kind, never null.
func (s *scenario) val(k schemas.Kind) oracle.Val {
	v := oracle.Val{Kind: oracle.Kind(k)}
	switch k {
	case schemas.Bool:
		v.I = int64(s.r.IntN(2))
	case schemas.Int:
		v.I = pick[int64](s.r, 0, 1, -1, 2, 7, 100, -1000003)
		if s.wild && s.r.IntN(3) == 0 {
			v.I = pick[int64](s.r, math.MaxInt64, math.MinInt64, 1<<62, -1<<62, 1<<53+1)
		}
	case schemas.Double:
		v.F = pick(s.r, 0, 0.1, 0.2, -0.3, 1.5, 1e16, -1e16, 1, float64(s.r.IntN(50000))/100, s.r.NormFloat64())
		if s.wild && s.r.IntN(3) == 0 {
			v.F = pick(s.r, 1e300, -1e300, math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324, 1e-200)
		}
	case schemas.String:
		v.S = pick(s.r, "", "a", "aa", "b", "é")
	case schemas.Bytes:
		v.S = pick(s.r, "", "\x00", "\xff", "\x00\x01")
	case schemas.List:
		v.S = pick(s.r, "", string(oracle.Canonical(oracle.Val{Kind: oracle.Int, I: 7})))
	case schemas.Timestamp:
		v.I = pick[int64](s.r, 0, 1, -1, 1_700_000_000_000_000)
	}
	return v
}

func toEngine(v oracle.Val) schemas.Value {
	switch v.Kind {
	case oracle.Bool:
		return schemas.BoolValue(v.I != 0)
	case oracle.Int:
		return schemas.IntValue(v.I)
	case oracle.Double:
		return schemas.DoubleValue(v.F)
	case oracle.String:
		return schemas.StringValue(v.S)
	case oracle.Bytes:
		return schemas.BytesValue(v.S)
	case oracle.Timestamp:
		return schemas.TimestampValue(schemas.Micros(v.I))
	case oracle.List:
		x, n := schemas.ParseValue(append(binary.AppendUvarint([]byte{byte(schemas.List)}, uint64(len(v.S))), v.S...))
		if n == 0 {
			panic("no list")
		}
		return x
	}
	return schemas.Value{}
}
