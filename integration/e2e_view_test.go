package integration

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/integration/oracle"
)

// quoted is a text as YAML has it within double quotes.
func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// e2eKey is a key field of a view.
type e2eKey struct {
	name, typ string
	expr      *e2eExpr
	yaml      string
}

// e2eView is a view, as YAML and as the oracle has it.
type e2eView struct {
	name      string
	src       *e2eSource
	key       []e2eKey
	where     *e2eExpr // nil = every event
	filters   []*e2eExpr
	inputs    []*e2eExpr
	cfg       oracle.Config
	names     []string // of the columns, as cfg.Features
	snapshots int64
	shards    int
	features  strings.Builder // YAML
	r         *rand.Rand
	x         *exprs
	hop       int64 // the coarsest
}

func newE2EView(r *rand.Rand, n int, s *e2eSource) *e2eView {
	v := &e2eView{name: fmt.Sprintf("view_%d", n), src: s, cfg: s.cfg, r: r, x: &exprs{r, s.fields}, shards: pick(r, 1, 3, 16)}
	v.drawKey()
	if r.IntN(2) == 0 {
		v.where = v.x.condition(2)
	}
	for range r.IntN(3) {
		v.filters = append(v.filters, v.x.condition(1))
	}
	v.aggregate(0, "sum", v.x.field(v.num()))
	for i := range 2 + r.IntN(5) {
		v.aggregate(i+1, "", nil)
	}
	for i := range r.IntN(4) {
		v.derived(i)
	}
	v.snapshots = day
	if v.hop <= hour && r.IntN(2) == 0 {
		v.snapshots = 6 * hour
	}
	return v
}

func (v *e2eView) num() int {
	return slices.IndexFunc(v.src.fields, func(f e2eField) bool { return f.name == "num" })
}

// e2eKeyNames names key fields by type, so that views share some.
var e2eKeyNames = map[oracle.Kind]string{oracle.String: "ks", oracle.Int: "ki", oracle.Bool: "kb", oracle.Bytes: "kraw", oracle.Timestamp: "kt"}
var e2eKeyTypes = map[oracle.Kind]string{oracle.String: "string", oracle.Int: "int", oracle.Bool: "bool", oracle.Bytes: "bytes", oracle.Timestamp: "timestamp"}

func (v *e2eView) drawKey() {
	var at []int
	for i := range v.src.fields {
		if v.src.fields[i].role == "key" {
			at = append(at, i)
		}
	}
	v.r.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
	for _, i := range at[:pick(v.r, 1, 1, 2, 3)] {
		f := &v.src.fields[i]
		k := e2eKey{name: e2eKeyNames[f.kind()], typ: e2eKeyTypes[f.kind()], expr: v.x.field(i)}
		k.yaml = fmt.Sprintf("%s: {type: %s, field: %s}", k.name, k.typ, f.path())
		if f.kind() == oracle.String && v.r.IntN(3) == 0 {
			k.name = "route"
			k.expr = v.x.strict(f.path()+` + "/x"`, oracle.String, []int{i}, func(in []oracle.Val) (oracle.Val, bool) { in[0].S += "/x"; return in[0], true })
			k.yaml = fmt.Sprintf("%s: {type: %s, expr: %s}", k.name, k.typ, quoted(k.expr.text))
		}
		v.key = append(v.key, k)
	}
}

var e2eSliding = []struct {
	text   string
	length int64
}{{"5m", 5 * minute}, {"7m", 7 * minute}, {"1h", hour}, {"1h30m", 90 * minute}, {"6h", 6 * hour}, {"12h", 12 * hour}, {"24h", day}, {"36h", 36 * hour},
	{"7d", 7 * day}, {"11d", 11 * day}, {"12d", 12 * day}, {"30d", 30 * day}, {"90m", 90 * minute}, {"600s", 10 * minute}}

// window draws a window: its YAML, its suffix and what it means.
func (v *e2eView) window() (yaml, suffix string, w oracle.Window) {
	switch v.r.IntN(6) {
	case 0:
		return "lifetime", "lifetime", oracle.Window{Kind: oracle.Lifetime}
	case 1, 2:
		kinds := []struct {
			key, suffix string
			kind        oracle.WindowKind
		}{{"days", "d", oracle.Days}, {"weeks", "w", oracle.Weeks}, {"months", "mo", oracle.Months}}
		k, n := pick(v.r, kinds...), 1+v.r.IntN(3)
		w = oracle.Window{Kind: k.kind, N: n, ExcludeCurrent: v.r.IntN(2) == 0}
		if w.ExcludeCurrent {
			return fmt.Sprintf("{%s: %d, exclude_current: true}", k.key, n), fmt.Sprintf("prev_%d%s", n, k.suffix), w
		}
		return fmt.Sprintf("{%s: %d}", k.key, n), fmt.Sprintf("cur_%d%s", n, k.suffix), w
	}
	s := pick(v.r, e2eSliding...)
	w = oracle.Window{Kind: oracle.Sliding, Length: s.length, Hop: day}
	switch {
	case s.length < 12*hour:
		w.Hop = 5 * minute
	case s.length < 12*day:
		w.Hop = hour
	}
	if h := pick(v.r, 5*minute, 15*minute, hour, 6*hour); v.r.IntN(4) == 0 && h <= s.length {
		w.Hop = h
		return fmt.Sprintf("{window: %s, hop: %ds}", s.text, h/second), s.text, w
	}
	return s.text, s.text, w
}

func (v *e2eView) drawAggregate() (agg string, in *e2eExpr) {
	for {
		in = v.x.input()
		agg = pick(v.r, "count", "sum", "mean", "min", "max", "first", "last", "count_distinct", "var_pop", "var_samp", "stddev_pop", "stddev_samp",
			"first_k", "last_k", "quantile", "min_by", "max_by")
		numeric := in.kind == oracle.Int || in.kind == oracle.Double
		switch agg {
		case "count", "count_distinct", "first", "last", "first_k", "last_k", "min_by", "max_by":
			return agg, in
		case "min", "max":
			if in.kind != oracle.Bool {
				return agg, in
			}
		default:
			if numeric {
				return agg, in
			}
		}
	}
}

func (v *e2eView) aggregate(n int, agg string, in *e2eExpr) {
	input := -1
	if agg == "" && v.r.IntN(5) == 0 {
		agg = "count"
	} else {
		if agg == "" {
			agg, in = v.drawAggregate()
		}
		input = len(v.inputs)
		v.inputs = append(v.inputs, in)
	}
	f := oracle.Feature{Agg: oracle.Agg(agg), Input: input, Filter: v.r.IntN(len(v.filters)+1) - 1, Kind: oracle.Int}
	switch agg {
	case "count", "count_distinct":
	case "sum", "min", "max", "first", "last", "min_by", "max_by":
		f.Kind = in.kind
	case "first_k", "last_k":
		f.Kind = oracle.List
	default:
		f.Kind = oracle.Double
	}
	name := fmt.Sprintf("a%d", n)
	text := `"*"`
	if input >= 0 {
		text = quoted(in.text)
	}
	parts := []string{fmt.Sprintf("%s: %s", agg, text)}
	parts = append(parts, v.parameter(&f)...)
	if f.Filter >= 0 {
		parts = append(parts, "where: "+quoted(v.filters[f.Filter].text))
	}
	if d, text := v.drawDefault(f.Kind); v.r.IntN(4) == 0 && text != "" {
		f.Default = d
		parts = append(parts, "default: "+text)
	}
	parts = append(parts, "over: "+v.windows(name, f))
	fmt.Fprintf(&v.features, "      %s: {%s}\n", name, strings.Join(parts, ", "))
}

// parameter draws what else an aggregation is given.
func (v *e2eView) parameter(f *oracle.Feature) []string {
	switch f.Agg {
	case "first_k", "last_k":
		f.K = pick(v.r, 1, 2, 3, 10, 1000)
		return []string{fmt.Sprintf("k: %d", f.K)}
	case "quantile":
		q := pick(v.r, "0", "0.5", "0.95", "0.1", "0.999999", "1.0", "1e-6")
		x, _ := new(big.Rat).SetString(q)
		f.Q = int(x.Mul(x, big.NewRat(1_000_000, 1)).Num().Int64())
		return []string{"q: " + q}
	case "min_by", "max_by":
		by := v.x.input()
		for by.kind == oracle.Bool {
			by = v.x.input()
		}
		f.By = len(v.inputs)
		v.inputs = append(v.inputs, by)
		return []string{"by: " + quoted(by.text)}
	}
	return nil
}

// windows draws an aggregation's windows and adds a column for each.
func (v *e2eView) windows(name string, f oracle.Feature) string {
	var over []string
	for range pick(v.r, 1, 1, 2, 3) {
		yaml, suffix, w := v.window()
		col := name + "_" + suffix
		if slices.Contains(v.names, col) {
			continue
		}
		over = append(over, yaml)
		f.Window = w
		v.cfg.Features = append(v.cfg.Features, f)
		v.names = append(v.names, col)
		v.hop = max(v.hop, w.Level())
	}
	if len(over) == 1 && v.r.IntN(2) == 0 {
		return over[0]
	}
	return "[" + strings.Join(over, ", ") + "]"
}

func (v *e2eView) drawDefault(k oracle.Kind) (oracle.Val, string) {
	d := oracle.Val{Kind: k}
	switch k {
	case oracle.Int:
		d.I = pick[int64](v.r, 0, -1, 42, math.MaxInt64)
	case oracle.Double:
		d.F = pick(v.r, 0.5, -3, 1e300)
		if v.r.IntN(3) == 0 {
			d.F = 0
			return d, "0"
		}
	case oracle.String:
		d.S = pick(v.r, "none", "", "é")
		return d, quoted(d.S)
	case oracle.Bool:
		d.I = 1
	case oracle.List:
		return d, "[]"
	default:
		return d, ""
	}
	return d, literal(d)
}

// derived draws a feature of features.
func (v *e2eView) derived(n int) {
	var nums []int
	for i, f := range v.cfg.Features {
		if f.Kind == oracle.Int || f.Kind == oracle.Double {
			nums = append(nums, i)
		}
	}
	a, b := pick(v.r, nums...), pick(v.r, nums...)
	dbl := func(i int) string {
		if v.cfg.Features[i].Kind == oracle.Int {
			return "double(" + v.names[i] + ")"
		}
		return v.names[i]
	}
	f := oracle.Feature{Input: -1, Filter: -1, Kind: oracle.Double, Uses: []int{a, b}}
	text := ""
	switch v.r.IntN(4) {
	case 0:
		text = v.names[a] + " > " + v.names[b]
		f.Kind, f.Derived = oracle.Bool, func(all []oracle.Val) oracle.Val {
			if all[a].Kind == oracle.Null || all[b].Kind == oracle.Null {
				return oracle.Val{}
			}
			return truthOf(order(all[a], all[b]) > 0)
		}
	case 1:
		text, f.Uses = v.names[a]+" == null", []int{a}
		f.Kind, f.Derived = oracle.Bool, func(all []oracle.Val) oracle.Val { return truthOf(all[a].Kind == oracle.Null) }
	case 2:
		text = dbl(a) + " - " + dbl(b)
		f.Derived = func(all []oracle.Val) oracle.Val {
			return float2(all[a], all[b], func(x, y float64) float64 { return x - y })
		}
	default:
		text = dbl(a) + " / " + dbl(b)
		f.Derived = func(all []oracle.Val) oracle.Val {
			return float2(all[a], all[b], func(x, y float64) float64 { return x / y })
		}
	}
	parts := []string{"expr: " + quoted(text)}
	if d, text := v.drawDefault(f.Kind); v.r.IntN(3) == 0 && text != "" {
		f.Default = d
		parts = append(parts, "default: "+text)
	}
	v.cfg.Features = append(v.cfg.Features, f)
	v.names = append(v.names, fmt.Sprintf("d%d", n))
	fmt.Fprintf(&v.features, "      d%d: {%s}\n", n, strings.Join(parts, ", "))
}

func float2(a, b oracle.Val, fn func(x, y float64) float64) oracle.Val {
	if a.Kind == oracle.Null || b.Kind == oracle.Null {
		return oracle.Val{}
	}
	float := func(v oracle.Val) float64 {
		if v.Kind == oracle.Int {
			return float64(v.I)
		}
		return v.F
	}
	out := oracle.Val{Kind: oracle.Double, F: fn(float(a), float(b)) + 0}
	if !finite(out) {
		return oracle.Val{}
	}
	return out
}

func (v *e2eView) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n    source: %s\n    entity:\n", v.name, v.src.name)
	for _, k := range v.key {
		fmt.Fprintf(&b, "      %s\n", k.yaml)
	}
	if v.where != nil {
		fmt.Fprintf(&b, "    where: %s\n", quoted(v.where.text))
	}
	if v.snapshots != day {
		fmt.Fprintf(&b, "    snapshots: %dh\n", v.snapshots/hour)
	}
	fmt.Fprintf(&b, "    shards: %d\n    features:\n%s", v.shards, v.features.String())
	return b.String()
}

// reads are the fields that the view reads (V6).
func (v *e2eView) reads() []int {
	var out []int
	add := func(es ...*e2eExpr) {
		for _, e := range es {
			if e != nil {
				out = append(out, e.reads...)
			}
		}
	}
	for _, k := range v.key {
		add(k.expr)
	}
	add(v.src.expect...)
	add(v.where)
	add(v.inputs...)
	for _, f := range v.cfg.Features {
		if f.Filter >= 0 {
			add(v.filters[f.Filter])
		}
	}
	return out
}
