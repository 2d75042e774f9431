package oracle

import (
	"encoding/binary"
	"math"
	"math/big"
	"sort"
)

// Values returns every feature as of t over the accepted events of one entity,
// of all its partitions (V3, V9).
func Values(c *Config, accepted []*Record, t int64) []Result {
	return ValuesOf(c, accepted, t, func(int) bool { return true })
}

// ValuesOf is Values for the features that in tells of, as if the view had no
// others; the rest get the zero Result.
func ValuesOf(c *Config, accepted []*Record, t int64, in func(feature int) bool) []Result {
	out := make([]Result, len(c.Features))
	absent := true
	for i, f := range c.Features {
		if in(i) && f.Derived == nil && len(within(accepted, f.Window, t)) > 0 {
			absent = false
		}
	}
	vals := make([]Val, len(out))
	for i, f := range c.Features {
		switch {
		case !in(i):
		case absent:
			out[i] = Result{Status: Absent}
		case f.Derived != nil:
			out[i] = derived(f, vals, out)
		default:
			out[i] = aggregate(f, within(accepted, f.Window, t))
		}
		vals[i] = out[i].Val
	}
	return out
}

func within(rs []*Record, w Window, t int64) (in []*Record) {
	lo, hi := w.Span(t)
	for _, r := range rs {
		if lo <= r.EventTime && r.EventTime < hi {
			in = append(in, r)
		}
	}
	return in
}

// derived evaluates a function of earlier features. The rules say nothing of its
// status when an input overflowed or is an estimate: it then says so too. Its
// default stands in for every null.
func derived(f Feature, vals []Val, before []Result) Result {
	r := Result{f.Derived(vals), Present}
	if r.Val.Kind == Null {
		r.Val = f.Default
	}
	if r.Val.Kind == Null {
		r.Status = IsNull
	}
	for _, i := range f.Uses {
		switch in := before[i].Status; {
		case r.Status == IsNull && in == Overflow, r.Status == Present && in == Approximate:
			r.Status = in
		}
	}
	return r
}

// counts tells whether the feature counts the record at all.
func counts(r *Record, f Feature) bool { return f.Filter < 0 || r.Filters[f.Filter] }

// aggregate computes a feature over the events of its window.
func aggregate(f Feature, rs []*Record) Result {
	var vs, bys []Val
	rs = append([]*Record(nil), rs...)
	sort.Slice(rs, func(a, b int) bool { return before(rs[a], rs[b]) })
	for _, r := range rs {
		if !counts(r, f) {
			continue
		}
		if f.Input < 0 {
			vs = append(vs, Val{Kind: Bool})
		} else if v := r.Inputs[f.Input]; v.Kind != Null {
			if by := f.Agg.ByInput(); by && r.Inputs[f.By].Kind == Null {
				continue
			} else if by {
				bys = append(bys, r.Inputs[f.By])
			}
			vs = append(vs, v)
		}
	}
	if len(vs) == 0 {
		return Empty(f)
	}
	switch f.Agg {
	case "count":
		return Result{Val{Kind: Int, I: int64(len(vs))}, Present}
	case "count_distinct":
		return distinct(vs)
	case "first":
		return Result{vs[0], Present}
	case "last":
		return Result{vs[len(vs)-1], Present}
	case "min", "max":
		sort.Slice(vs, func(a, b int) bool { return less(vs[a], vs[b]) })
		if f.Agg == "min" {
			return Result{vs[0], Present}
		}
		return Result{vs[len(vs)-1], Present}
	case "first_k":
		return list(vs[:min(f.K, len(vs))])
	case "last_k":
		return list(vs[max(0, len(vs)-f.K):])
	case "quantile":
		return quantile(vs, f.Q)
	case "min_by", "max_by":
		return by(f.Agg, vs, bys)
	}
	return moments(f.Agg, vs)
}

// list is the values in their order (V5, V9).
func list(vs []Val) Result {
	var b []byte
	for _, v := range vs {
		b = append(b, Canonical(v)...)
	}
	return Result{Val{Kind: List, S: string(b)}, Present}
}

// Elements returns the values of a list.
func Elements(v Val) (vs []Val) {
	for b := []byte(v.S); len(b) > 0; {
		x := Val{Kind: Kind(b[0])}
		b = b[1:]
		switch x.Kind {
		case Bool:
			x.I, b = int64(b[0]), b[1:]
		case Double:
			x.F, b = math.Float64frombits(binary.BigEndian.Uint64(b)), b[8:]
		case Int, Timestamp:
			x.I, b = int64(binary.BigEndian.Uint64(b)), b[8:]
		default:
			n, w := binary.Uvarint(b)
			x.S, b = string(b[w:w+int(n)]), b[w+int(n):]
		}
		vs = append(vs, x)
	}
	return vs
}

// by is the value of the event whose by is least or greatest; of equal ones the
// first or last in the order of events (V5).
func by(agg Agg, vs, bys []Val) Result {
	best := 0
	for i := range bys {
		if agg == "min_by" && less(bys[i], bys[best]) || agg == "max_by" && !less(bys[i], bys[best]) {
			best = i
		}
	}
	return Result{vs[best], Present}
}

// quantile is the value with rank ceil(q n), at least 1, known to seven binary
// digits of its mantissa (V2): the middle of the numbers that share them.
func quantile(vs []Val, millionths int) Result {
	fs := make([]float64, len(vs))
	for i, v := range vs {
		if fs[i] = v.F; v.Kind == Int {
			fs[i] = float64(v.I)
		}
	}
	sort.Float64s(fs)
	rank := 1
	for rank*1_000_000 < millionths*len(fs) {
		rank++
	}
	x := fs[rank-1]
	digits, exp := math.Frexp(math.Abs(x)) // [0.5, 1)
	middle := math.Ldexp((math.Floor(digits*128)+0.5)/128, exp)
	if x == 0 {
		middle = 0
	}
	if math.Abs(middle-math.Abs(x)) > 0.008*math.Abs(x) {
		panic("a quantile off by more than 0.8 %")
	}
	return Result{Val{Kind: Double, F: math.Copysign(middle, x) + 0}, Approximate}
}

// Empty is what a feature reads without events (V9).
func Empty(f Feature) Result {
	switch {
	case f.Default.Kind != Null:
		return Result{f.Default, Present}
	case f.Agg == "count", f.Agg == "count_distinct", f.Agg == "sum":
		return Result{Val{Kind: f.Kind}, Present} // 0
	}
	return Result{Status: IsNull}
}

func less(a, b Val) bool {
	switch a.Kind {
	case Double:
		return a.F < b.F
	case String, Bytes:
		return a.S < b.S
	}
	return a.I < b.I
}

// scale: every finite double is an integer multiple of 2^-1074.
const scale = 1074

// exact returns v as an integer: an Int itself, a Double times 2^1074.
func exact(v Val) *big.Int {
	if v.Kind == Int {
		return big.NewInt(v.I)
	}
	x := new(big.Float).SetFloat64(v.F)
	n, _ := x.SetMantExp(x, scale).Int(nil)
	return n
}

// moments computes sums, means and variances: exact integers, one quotient,
// rounded once to nearest even (V2).
func moments(agg Agg, vs []Val) Result {
	sum, squares := new(big.Int), new(big.Int)
	for _, v := range vs {
		x := exact(v)
		sum.Add(sum, x)
		squares.Add(squares, new(big.Int).Mul(x, x))
	}
	shift := uint(0)
	if vs[0].Kind == Double {
		shift = scale
	}
	n := big.NewInt(int64(len(vs)))
	switch agg {
	case "sum":
		if shift == 0 {
			if !sum.IsInt64() {
				return Result{Status: Overflow}
			}
			return Result{Val{Kind: Int, I: sum.Int64()}, Present}
		}
		return quotient(sum, big.NewInt(1), shift)
	case "mean":
		return quotient(sum, n, shift)
	}
	div := n
	if agg == "var_samp" || agg == "stddev_samp" {
		if len(vs) < 2 {
			return Result{Status: IsNull}
		}
		div = new(big.Int).Sub(n, big.NewInt(1))
	}
	// Σ(x-m)² = (n Σx² - (Σx)²) / n
	num := new(big.Int).Mul(n, squares)
	num.Sub(num, new(big.Int).Mul(sum, sum))
	r := quotient(num, new(big.Int).Mul(n, div), 2*shift)
	if r.Status == Present && (agg == "stddev_pop" || agg == "stddev_samp") {
		r.Val.F = math.Sqrt(r.Val.F)
	}
	return r
}

// quotient rounds num / (den * 2^shift) once.
func quotient(num, den *big.Int, shift uint) Result {
	q := new(big.Rat).SetFrac(num, new(big.Int).Lsh(den, shift))
	f, _ := q.Float64()
	if math.IsInf(f, 0) {
		return Result{Status: Overflow}
	}
	return Result{Val{Kind: Double, F: f + 0}, Present}
}
