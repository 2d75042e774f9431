package expr

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"pgregory.net/rapid"
)

// The naive evaluator: exact numbers, boxed nulls, no sharing with the package.

type result struct {
	null bool
	b    bool
	i    *big.Int
	d    float64
	err  error
}

// gen draws an expression of kind k as text, together with its naive value.
func gen(t *rapid.T, k schemas.Kind, depth int, fields []schemas.Value) (string, result) {
	pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
	if depth == 0 || pick(6) == 0 {
		return leaf(t, k, fields)
	}
	switch k {
	case schemas.Int:
		op := []string{"+", "-", "*", "%"}[pick(4)]
		at, a := gen(t, k, depth-1, fields)
		bt, b := gen(t, k, depth-1, fields)
		return fmt.Sprintf("(%s %s %s)", at, op, bt), naiveInt(op, a, b)
	case schemas.Double:
		if pick(5) == 0 {
			at, a := gen(t, schemas.Int, depth-1, fields)
			if a.err == nil && !a.null {
				a.d, _ = new(big.Float).SetInt(a.i).Float64()
			}
			return "double(" + at + ")", a
		}
		op := []string{"+", "-", "*", "/"}[pick(4)]
		at, a := gen(t, k, depth-1, fields)
		bt, b := gen(t, k, depth-1, fields)
		return fmt.Sprintf("(%s %s %s)", at, op, bt), naiveDouble(op, a, b)
	}
	if pick(2) == 0 {
		op := []string{"&&", "||"}[pick(2)]
		at, a := gen(t, k, depth-1, fields)
		bt, b := gen(t, k, depth-1, fields)
		return fmt.Sprintf("(%s %s %s)", at, op, bt), naiveLogic(op, a, b)
	}
	ka := []schemas.Kind{schemas.Int, schemas.Double}[pick(2)]
	kb := []schemas.Kind{schemas.Int, schemas.Double}[pick(2)]
	op := []string{"==", "!=", "<", "<=", ">", ">="}[pick(6)]
	at, a := gen(t, ka, depth-1, fields)
	bt, b := gen(t, kb, depth-1, fields)
	return fmt.Sprintf("(%s %s %s)", at, op, bt), naiveCompare(op, ka, kb, a, b)
}

var propScope = Fields{{"i", Type{Kind: schemas.Int, Nullable: true}}, {"j", Type{Kind: schemas.Int, Nullable: true}}, {"d", Type{Kind: schemas.Double, Nullable: true}},
	{"e", Type{Kind: schemas.Double, Nullable: true}}, {"p", Type{Kind: schemas.Bool, Nullable: true}}, {"q", Type{Kind: schemas.Bool, Nullable: true}}}

func leaf(t *rapid.T, k schemas.Kind, fields []schemas.Value) (string, result) {
	first := map[schemas.Kind]int{schemas.Int: 0, schemas.Double: 2, schemas.Bool: 4}[k]
	n := first + rapid.IntRange(0, 1).Draw(t, "field")
	v := fields[n]
	r := result{null: v.IsNull(), b: v.Bool()}
	if v.Kind() == schemas.Int {
		r.i = big.NewInt(v.Int())
	}
	if v.Kind() == schemas.Double {
		r.d = v.Double()
		r = finiteResult(r)
	}
	return propScope[n].Path, r
}

func either(a, b result) (result, bool) {
	switch {
	case a.err != nil:
		return a, true
	case b.err != nil:
		return b, true
	case a.null || b.null:
		return result{null: true}, true
	}
	return result{}, false
}

func naiveInt(op string, a, b result) result {
	if r, done := either(a, b); done {
		return r
	}
	x := new(big.Int)
	switch op {
	case "+":
		x.Add(a.i, b.i)
	case "-":
		x.Sub(a.i, b.i)
	case "*":
		x.Mul(a.i, b.i)
	case "%":
		if b.i.Sign() == 0 {
			return result{err: ErrOverflow}
		}
		x.Rem(a.i, b.i)
	}
	if !x.IsInt64() {
		return result{err: ErrOverflow}
	}
	return result{i: x}
}

func finiteResult(r result) result {
	if math.IsNaN(r.d) || math.IsInf(r.d, 0) {
		return result{err: ErrNonFinite}
	}
	return r
}

func naiveDouble(op string, a, b result) result {
	if r, done := either(a, b); done {
		return r
	}
	var d float64
	switch op {
	case "+":
		d = a.d + b.d
	case "-":
		d = a.d - b.d
	case "*":
		d = a.d * b.d
	case "/":
		d = a.d / b.d
	}
	return finiteResult(result{d: d})
}

func naiveLogic(op string, a, b result) result {
	decides := op == "||"
	switch {
	case a.err != nil || !a.null && a.b == decides:
		return a
	case b.err != nil || !b.null && b.b == decides:
		return b
	case a.null || b.null:
		return result{null: true}
	}
	return result{b: !decides}
}

func naiveCompare(op string, ka, kb schemas.Kind, a, b result) result {
	if r, done := either(a, b); done {
		return r
	}
	rat := func(k schemas.Kind, r result) *big.Rat {
		if k == schemas.Int {
			return new(big.Rat).SetInt(r.i)
		}
		return new(big.Rat).SetFloat64(r.d)
	}
	c := rat(ka, a).Cmp(rat(kb, b))
	return result{b: map[string]bool{"==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op]}
}

var (
	someInts    = []int64{0, 1, -1, 2, 7, 1 << 53, 1<<53 + 1, -1<<53 - 1, math.MaxInt64, math.MinInt64, math.MaxInt64 - 1023}
	someDoubles = []float64{0, 1, -1, 0.5, 1 << 53, 1<<53 + 2, 1 << 63, -1 << 63, 1e308, -1e308, 5e-324, math.Inf(1), math.NaN()}
)

func drawFields(t *rapid.T) []schemas.Value {
	f := make([]schemas.Value, 6)
	for n := range f {
		if rapid.IntRange(0, 4).Draw(t, "null") == 0 {
			continue
		}
		switch n / 2 {
		case 0:
			f[n] = schemas.IntValue(rapid.OneOf(rapid.SampledFrom(someInts), rapid.Int64()).Draw(t, "int"))
		case 1:
			f[n] = schemas.DoubleValue(rapid.OneOf(rapid.SampledFrom(someDoubles), rapid.Float64()).Draw(t, "double"))
		default:
			f[n] = schemas.BoolValue(rapid.Bool().Draw(t, "bool"))
		}
	}
	return f
}

func TestAgainstNaive(t *testing.T) { // V12, V2
	rapid.Check(t, func(t *rapid.T) {
		fields := drawFields(t)
		k := rapid.SampledFrom([]schemas.Kind{schemas.Int, schemas.Double, schemas.Bool}).Draw(t, "kind")
		src, want := gen(t, k, 4, fields)
		p, err := Compile(src, propScope)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		got, err := p.Eval(fields)
		expected := schemas.Value{}
		switch {
		case want.err != nil || want.null:
		case k == schemas.Int:
			expected = schemas.IntValue(want.i.Int64())
		case k == schemas.Double:
			expected = schemas.DoubleValue(want.d)
		default:
			expected = schemas.BoolValue(want.b)
		}
		if err != want.err || got != expected && err == nil {
			t.Fatalf("%s over %v = %v, %v; want %v, %v", src, fields, got, err, expected, want.err)
		}
		// The normal form is the same program.
		q, err := Compile(p.Canonical(), propScope)
		if err != nil || q.Canonical() != p.Canonical() {
			t.Fatalf("%s → %s: %v", src, p.Canonical(), err)
		}
		again, err := q.Eval(fields)
		if again != got || err != want.err {
			t.Fatalf("%s ≠ %s", src, q.Canonical())
		}
	})
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"i + j > 3 ? s : t", `t in ["a", "b"]`, "((((", "a.b[0].c{d: 1}", "1u + .5e3", `b"\xff" == raw`,
		"ts - duration('1h') > timestamp('2024-01-01T00:00:00Z')", "!!--i", "[1,2].all(x, x > 0)", "has(a.b)", "a.?b", "`a`",
		`"vip" in tags && size(tags) > 1`, `attrs['a"b'] == null`, "double(lines[0].cost) + 1.0", "unscaled(price) % 7", "rec == null ? string(price) : tags[0]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Compile(src, scope)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a text")
			}
			return
		}
		v, err := p.Eval(row())
		if err == nil && (!v.Finite() || !v.IsNull() && v.Kind() != p.Type().Kind) {
			t.Fatalf("%q = %v, type %v", src, v, p.Type())
		}
		q, err := Compile(p.Canonical(), scope)
		if err != nil || q.Canonical() != p.Canonical() {
			t.Fatalf("%q → %q: %v", src, p.Canonical(), err)
		}
		w, _ := q.Eval(row())
		if w != v {
			t.Fatalf("%q = %v, but %q = %v", src, v, p.Canonical(), w)
		}
	})
}
