package integration

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eExpr is an expression of the definition's language, with a meaning of our
// own. eval's second result is false where it is an error (V12).
type e2eExpr struct {
	text  string
	kind  oracle.Kind
	reads []int // fields
	eval  func(vals []oracle.Val) (oracle.Val, bool)
}

// bool3 evaluates a condition that cannot fail: 1, 0, or -1 for null.
func (e *e2eExpr) bool3(vals []oracle.Val) int {
	v, ok := e.eval(vals)
	switch {
	case !ok:
		panic("a condition fails: " + e.text)
	case v.Kind == oracle.Null:
		return -1
	}
	return int(v.I)
}

func truth(n int) oracle.Val {
	if n < 0 {
		return oracle.Val{}
	}
	return oracle.Val{Kind: oracle.Bool, I: int64(n)}
}

func truthOf(b bool) oracle.Val {
	if b {
		return truth(1)
	}
	return truth(0)
}

// exprs draws expressions over fields.
type exprs struct {
	r      *rand.Rand
	fields []e2eField
}

func (x *exprs) of(kinds ...oracle.Kind) (at []int) {
	for i := range x.fields {
		for _, k := range kinds {
			if x.fields[i].kind() == k && x.fields[i].role != "time" && !strings.HasPrefix(x.fields[i].typ, "local") {
				at = append(at, i)
			}
		}
	}
	return at
}

func (x *exprs) field(i int) *e2eExpr {
	return &e2eExpr{x.fields[i].path(), x.fields[i].kind(), []int{i}, func(vals []oracle.Val) (oracle.Val, bool) { return vals[i], true }}
}

// strict makes an expression that is null where a field that it reads is.
func (x *exprs) strict(text string, kind oracle.Kind, reads []int, fn func(v []oracle.Val) (oracle.Val, bool)) *e2eExpr {
	return &e2eExpr{text, kind, reads, func(vals []oracle.Val) (oracle.Val, bool) {
		in := make([]oracle.Val, len(reads))
		for i, f := range reads {
			if in[i] = vals[f]; in[i].Kind == oracle.Null {
				return oracle.Val{}, true
			}
		}
		return fn(in)
	}}
}

func (x *exprs) sure(text string, reads []int, fn func(v oracle.Val) bool) *e2eExpr {
	return x.strict(text, oracle.Bool, reads, func(v []oracle.Val) (oracle.Val, bool) { return truthOf(fn(v[0])), true })
}

func literal(v oracle.Val) string {
	switch v.Kind {
	case oracle.Bool:
		return strconv.FormatBool(v.I != 0)
	case oracle.Int:
		return strconv.FormatInt(v.I, 10)
	case oracle.Double:
		s := strconv.FormatFloat(v.F, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case oracle.Timestamp:
		return "timestamp(\"" + time.UnixMicro(v.I).UTC().Format("2006-01-02T15:04:05.999999Z07:00") + "\")"
	}
	return strconv.Quote(v.S)
}

// order compares values of one kind, or an int with a double, exactly.
func order(a, b oracle.Val) int {
	if a.Kind == oracle.String || a.Kind == oracle.Bytes {
		return strings.Compare(a.S, b.S)
	}
	num := func(v oracle.Val) *big.Float {
		f := new(big.Float).SetPrec(200)
		if v.Kind == oracle.Double {
			return f.SetFloat64(v.F)
		}
		return f.SetInt64(v.I)
	}
	return num(a).Cmp(num(b))
}

// finite guards conditions: a record with NaN in a field that the view
// reads is invalid whatever a condition says of it.
func finite(v oracle.Val) bool {
	return v.Kind != oracle.Double || !math.IsNaN(v.F) && !math.IsInf(v.F, 0)
}

var comparisons = map[string]func(int) bool{"==": func(c int) bool { return c == 0 }, "!=": func(c int) bool { return c != 0 },
	"<": func(c int) bool { return c < 0 }, "<=": func(c int) bool { return c <= 0 }, ">": func(c int) bool { return c > 0 }, ">=": func(c int) bool { return c >= 0 }}

// condition draws a condition that cannot fail.
func (x *exprs) condition(depth int) *e2eExpr {
	if depth > 0 && x.r.IntN(3) == 0 {
		return x.connective(depth)
	}
	i := x.r.IntN(len(x.fields))
	for x.fields[i].role == "time" {
		i = x.r.IntN(len(x.fields))
	}
	f := &x.fields[i]
	p, reads := f.path(), []int{i}
	if f.nullable && x.r.IntN(4) == 0 {
		if x.r.IntN(2) == 0 {
			return &e2eExpr{p + " == null", oracle.Bool, reads, func(v []oracle.Val) (oracle.Val, bool) { return truthOf(v[i].Kind == oracle.Null), true }}
		}
		return &e2eExpr{p + " != null", oracle.Bool, reads, func(v []oracle.Val) (oracle.Val, bool) { return truthOf(v[i].Kind != oracle.Null), true }}
	}
	switch f.kind() {
	case oracle.Bool:
		return x.sure(pick(x.r, p, p+" == true"), reads, func(v oracle.Val) bool { return v.I == 1 })
	case oracle.String:
		return x.textCondition(p, reads)
	case oracle.Bytes:
		return x.sure("size("+p+") > 1", reads, func(v oracle.Val) bool { return len(v.S) > 1 })
	case oracle.Timestamp:
		if strings.HasPrefix(f.typ, "local") {
			return &e2eExpr{"true", oracle.Bool, nil, func([]oracle.Val) (oracle.Val, bool) { return truthOf(true), true }}
		}
		return x.instantCondition(p, reads)
	}
	c := oracle.Val{Kind: pick(x.r, oracle.Int, oracle.Double), I: pick[int64](x.r, 0, 1, 7, -2, 100), F: 0}
	if c.Kind == oracle.Double {
		c.F, c.I = float64(c.I)+pick(x.r, 0, 0.5), 0
	}
	op := pick(x.r, "<", "<=", ">", ">=", "!=", "==")
	return x.sure(fmt.Sprintf("%s %s %s", p, op, literal(c)), reads, func(v oracle.Val) bool { return finite(v) && comparisons[op](order(v, c)) })
}

func (x *exprs) textCondition(p string, reads []int) *e2eExpr {
	lit := pick(x.r, "a", "é", "", "NEW", "b")
	q := strconv.Quote(lit)
	switch x.r.IntN(6) {
	case 0:
		return x.sure(p+".startsWith("+q+")", reads, func(v oracle.Val) bool { return strings.HasPrefix(v.S, lit) })
	case 1:
		return x.sure(p+".endsWith("+q+")", reads, func(v oracle.Val) bool { return strings.HasSuffix(v.S, lit) })
	case 2:
		return x.sure(p+".contains("+q+")", reads, func(v oracle.Val) bool { return strings.Contains(v.S, lit) })
	case 3:
		return x.sure("size("+p+") >= 2", reads, func(v oracle.Val) bool { return utf8.RuneCountInString(v.S) >= 2 })
	case 4:
		return x.sure(p+` in ["NEW", "GONE"]`, reads, func(v oracle.Val) bool { return v.S == "NEW" || v.S == "GONE" })
	}
	op := pick(x.r, "<", ">=", "!=")
	if op == "!=" { // an enum may only be compared with its symbols
		lit, q = "NEW", `"NEW"`
	}
	return x.sure(p+" "+op+" "+q, reads, func(v oracle.Val) bool { return comparisons[op](strings.Compare(v.S, lit)) })
}

func (x *exprs) instantCondition(p string, reads []int) *e2eExpr {
	at := func(v oracle.Val) time.Time { return time.UnixMicro(v.I).UTC() }
	switch x.r.IntN(4) {
	case 0:
		return x.sure(p+".getHours() < 12", reads, func(v oracle.Val) bool { return at(v).Hour() < 12 })
	case 1:
		return x.sure(p+".getDayOfWeek() != 1", reads, func(v oracle.Val) bool { return at(v).Weekday() != time.Monday })
	case 2:
		return x.sure(p+".getMonth() <= 10", reads, func(v oracle.Val) bool { return at(v).Month() <= 11 })
	}
	c := oracle.Val{Kind: oracle.Timestamp, I: 1_700_000_000_000_001}
	return x.sure(p+" < "+literal(c), reads, func(v oracle.Val) bool { return v.I < c.I })
}

// connective joins conditions by Kleene's logic.
func (x *exprs) connective(depth int) *e2eExpr {
	a, b := x.condition(depth-1), x.condition(depth-1)
	reads := append(append([]int{}, a.reads...), b.reads...)
	var fn func(p, q int) int
	text := ""
	switch x.r.IntN(3) {
	case 0:
		text = fmt.Sprintf("(%s) && (%s)", a.text, b.text)
		fn = func(p, q int) int {
			if p == 0 || q == 0 {
				return 0
			}
			return min(p, q)
		}
	case 1:
		text = fmt.Sprintf("(%s) || (%s)", a.text, b.text)
		fn = func(p, q int) int {
			if p == 1 || q == 1 {
				return 1
			}
			return min(p, q)
		}
	default:
		text, reads = fmt.Sprintf("!(%s)", a.text), a.reads
		fn = func(p, _ int) int {
			if p < 0 {
				return p
			}
			return 1 - p
		}
	}
	return &e2eExpr{text, oracle.Bool, reads, func(v []oracle.Val) (oracle.Val, bool) { return truth(fn(a.bool3(v), b.bool3(v))), true }}
}

// input draws an expression to aggregate; it may fail.
func (x *exprs) input() *e2eExpr {
	if x.r.IntN(5) < 3 {
		return x.field(pick(x.r, x.of(oracle.Int, oracle.Int, oracle.Double, oracle.Double, oracle.String, oracle.Bytes, oracle.Bool, oracle.Timestamp)...))
	}
	var c []*e2eExpr
	for _, i := range x.of(oracle.Int) {
		c = append(c, x.integer(i))
	}
	for _, i := range x.of(oracle.Double) {
		c = append(c, x.double(i), x.double(i))
	}
	for _, i := range x.of(oracle.String) {
		p := x.fields[i].path()
		c = append(c, x.strict(p+` + "-é"`, oracle.String, []int{i}, func(v []oracle.Val) (oracle.Val, bool) { v[0].S += "-é"; return v[0], true }),
			x.strict("size("+p+")", oracle.Int, []int{i}, func(v []oracle.Val) (oracle.Val, bool) {
				return oracle.Val{Kind: oracle.Int, I: int64(utf8.RuneCountInString(v[0].S))}, true
			}))
	}
	if len(c) == 0 {
		return x.field(x.r.IntN(len(x.fields)))
	}
	return pick(x.r, c...)
}

func fits(n *big.Int) (oracle.Val, bool) {
	return oracle.Val{Kind: oracle.Int, I: n.Int64()}, n.IsInt64()
}

func (x *exprs) integer(i int) *e2eExpr {
	p, reads := x.fields[i].path(), []int{i}
	k := pick[int64](x.r, 2, 3, 7, 1000)
	switch x.r.IntN(5) {
	case 0:
		return x.strict(fmt.Sprintf("%s * %d", p, k), oracle.Int, reads, func(v []oracle.Val) (oracle.Val, bool) {
			return fits(new(big.Int).Mul(big.NewInt(v[0].I), big.NewInt(k)))
		})
	case 1:
		return x.strict(fmt.Sprintf("%s - %d", p, k), oracle.Int, reads, func(v []oracle.Val) (oracle.Val, bool) {
			return fits(new(big.Int).Sub(big.NewInt(v[0].I), big.NewInt(k)))
		})
	case 2:
		return x.strict(fmt.Sprintf("%s %% %d", p, k), oracle.Int, reads, func(v []oracle.Val) (oracle.Val, bool) {
			return oracle.Val{Kind: oracle.Int, I: v[0].I % k}, true
		})
	case 3:
		return x.strict("string("+p+")", oracle.String, reads, func(v []oracle.Val) (oracle.Val, bool) {
			return oracle.Val{Kind: oracle.String, S: fmt.Sprint(v[0].I)}, true
		})
	}
	return x.strict("double("+p+") / 7.0", oracle.Double, reads, func(v []oracle.Val) (oracle.Val, bool) {
		return oracle.Val{Kind: oracle.Double, F: float64(v[0].I)/7 + 0}, true
	})
}

func (x *exprs) double(i int) *e2eExpr {
	p, reads := x.fields[i].path(), []int{i}
	num := func(f float64) (oracle.Val, bool) {
		v := oracle.Val{Kind: oracle.Double, F: f + 0}
		return v, finite(v)
	}
	ds := x.of(oracle.Double)
	switch x.r.IntN(5) {
	case 0:
		return x.strict(p+" * -2.5", oracle.Double, reads, func(v []oracle.Val) (oracle.Val, bool) { return num(v[0].F * -2.5) })
	case 1:
		j := pick(x.r, ds...)
		return x.strict(p+" / "+x.fields[j].path(), oracle.Double, []int{i, j}, func(v []oracle.Val) (oracle.Val, bool) { return num(v[0].F / v[1].F) })
	case 2:
		return x.strict(p+" + 0.1", oracle.Double, reads, func(v []oracle.Val) (oracle.Val, bool) { return num(v[0].F + 0.1) })
	case 3:
		return x.strict("int("+p+")", oracle.Int, reads, func(v []oracle.Val) (oracle.Val, bool) {
			if !finite(v[0]) {
				return v[0], false
			}
			n, _ := new(big.Float).SetFloat64(v[0].F).Int(nil)
			return fits(n)
		})
	}
	c := x.condition(0)
	return &e2eExpr{fmt.Sprintf("(%s) ? %s : 0.5", c.text, p), oracle.Double, append([]int{i}, c.reads...), func(vals []oracle.Val) (oracle.Val, bool) {
		switch c.bool3(vals) {
		case -1:
			return oracle.Val{}, true
		case 1:
			return vals[i], true
		}
		return oracle.Val{Kind: oracle.Double, F: 0.5}, true
	}}
}
