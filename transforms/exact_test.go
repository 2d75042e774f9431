package transforms

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// seen is what a sum has been given: the slow, obvious way. Numbers are kept as
// integers times 2^-2148, which every double and every square of one is.
type seen struct {
	n            int64
	sum, squares *big.Int
}

const seenScale = 2 * 1074

func (s *seen) add(x *big.Float) {
	scaled := new(big.Float).SetPrec(8192)
	n, acc := scaled.SetMantExp(x, seenScale).Int(nil)
	if acc != big.Exact {
		panic("not exact")
	}
	s.n++
	s.sum.Add(s.sum, n)
	q, _ := scaled.SetMantExp(new(big.Float).SetPrec(8192).Mul(x, x), seenScale).Int(nil)
	s.squares.Add(s.squares, q)
}

// ratio rounds num·2^-2148 / den once, to nearest even; false beyond the finite.
func (s *seen) ratio(num *big.Int, scale uint, den *big.Int) (float64, bool) {
	f, _ := new(big.Rat).SetFrac(num, new(big.Int).Lsh(den, scale)).Float64()
	return f + 0, !math.IsInf(f, 0)
}

// edges are the numbers where arithmetic goes wrong first.
var edges = []float64{0, 1, -1, 1 << 52, 1<<53 - 1, 1 << 53, 0x1p62, 0x1p63, -0x1p63, 0x1p126, -0x1p126, 0x1p127, -0x1p127, 0x1p128,
	0x1p-1022, -0x1p-1022, 0x1p-1074, -0x1p-1074, 0x1.fffffffffffffp-1023, 0x1p1023, -0x1p1023, math.MaxFloat64, -math.MaxFloat64,
	0x1p-537, 0x1p511, 1 + 0x1p-52, 0.1, 1e300, -1e300, 1e-300}

var intEdges = []int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1, 1 << 62, 1 << 53, -1 << 53, 1<<53 + 1}

func drawDouble(r *rand.Rand) float64 {
	switch r.IntN(4) {
	case 0:
		return edges[r.IntN(len(edges))]
	case 1:
		return math.Ldexp(r.Float64()-0.5, r.IntN(2000)-1000)
	case 2:
		return float64(r.IntN(2000)-1000) / 100
	}
	for {
		if f := math.Float64frombits(r.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f + 0
		}
	}
}

// TestExactSums: sums, means and variances are those of math/big, in whatever
// order and grouping, and their encoding is one (V2, V11).
func TestExactSums(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		agg := moments{double: seed%3 != 0}
		want := &seen{sum: new(big.Int), squares: new(big.Int)}
		var values []schemas.Value
		n := 1 + r.IntN(1<<(1+r.IntN(6)))
		same := r.IntN(4) == 0 // many of one edge carry the furthest
		edge, intEdge := edges[r.IntN(len(edges))], intEdges[r.IntN(len(intEdges))]
		for range n {
			if agg.double {
				x := edge
				if !same {
					x = drawDouble(r)
				}
				values = append(values, schemas.DoubleValue(x))
				want.add(new(big.Float).SetFloat64(x))
				continue
			}
			x := intEdge
			if !same {
				if x = intEdges[r.IntN(len(intEdges))]; r.IntN(2) == 0 {
					x = int64(r.Uint64())
				}
			}
			values = append(values, schemas.IntValue(x))
			want.add(new(big.Float).SetPrec(64).SetInt64(x))
		}
		a, b := foldMoments(t, agg, r, values), foldMoments(t, agg, r, values)
		if x, y := agg.append(nil, a), agg.append(nil, b); !bytes.Equal(x, y) {
			t.Fatalf("seed %d: V2: one set of %v, two encodings:\n%x\n%x", seed, values, x, y)
		}
		same64 := func(what string, got float64, ok bool, want float64, wantOK bool) {
			t.Helper()
			if ok != wantOK || ok && math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("seed %d: V2: %s of %v = %v %v, math/big has %v %v", seed, what, values, got, ok, want, wantOK)
			}
		}
		one, m := big.NewInt(1), big.NewInt(want.n)
		x, ok := a.sum.double()
		y, wantOK := want.ratio(want.sum, seenScale, one)
		same64("sum", x, ok, y, wantOK)
		x, ok = a.sum.quotient(a.n)
		y, wantOK = want.ratio(want.sum, seenScale, m)
		same64("mean", x, ok, y, wantOK)
		div := 1 + r.Int64N(math.MaxInt64)
		x, ok = a.sum.quotient(div)
		y, wantOK = want.ratio(want.sum, seenScale, big.NewInt(div))
		same64("quotient", x, ok, y, wantOK)
		// n Σx² - (Σx)², over n²
		num := new(big.Int).Lsh(new(big.Int).Mul(m, want.squares), seenScale)
		num.Sub(num, new(big.Int).Mul(want.sum, want.sum))
		x, ok = variance(&a.sum, &a.x.squares, a.n, a.n)
		y, wantOK = want.ratio(num, 2*seenScale, new(big.Int).Mul(m, m))
		same64("variance", x, ok, y, wantOK)
		if !agg.double {
			i, ok := a.sum.int64()
			s := new(big.Int).Rsh(want.sum, seenScale)
			if ok != s.IsInt64() || ok && i != s.Int64() {
				t.Fatalf("seed %d: V2: integer sum of %v = %d %v, math/big has %v", seed, values, i, ok, s)
			}
		}
	}
}

// foldMoments adds the values in a random order to random cells, merges those in
// a random order, and sends some of them through their encoding.
func foldMoments(t *testing.T, agg moments, r *rand.Rand, values []schemas.Value) *cell {
	t.Helper()
	cells := make([]*cell, 1+r.IntN(5))
	for i := range cells {
		cells[i] = &cell{}
	}
	for _, i := range r.Perm(len(values)) {
		agg.add(cells[r.IntN(len(cells))], values[i], nil)
	}
	total := &cell{}
	for _, i := range r.Perm(len(cells)) {
		c := cells[i]
		if r.IntN(2) == 0 {
			c = reread(t, agg, c)
		}
		agg.merge(total, c)
	}
	return reread(t, agg, total)
}

func reread(t *testing.T, agg aggregator, c *cell) *cell {
	t.Helper()
	b := agg.append(nil, c)
	d := &cell{}
	if n := agg.parse(append(b, 0xff), d); n != len(b) || agg.skip(b) != n {
		t.Fatalf("V11: %x is written, but parse takes %d and skip %d of its %d bytes", b, n, agg.skip(b), len(b))
	}
	if again := agg.append(nil, d); !bytes.Equal(again, b) {
		t.Fatalf("V11: %x is read and written as %x", b, again)
	}
	return d
}
