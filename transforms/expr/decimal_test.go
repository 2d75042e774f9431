package expr

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"pgregory.net/rapid"
)

// twosComplement returns n as Avro's decimals hold it, with needless bytes.
func twosComplement(n *big.Int, more int) string {
	size := n.BitLen()/8 + 1 + more
	x := new(big.Int).Set(n)
	if n.Sign() < 0 {
		x.Add(x, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	return string(x.FillBytes(make([]byte, size)))
}

// halfway draws numbers that lie at, or next to, the middle of two doubles.
func halfway(t *rapid.T) *big.Int {
	n := new(big.Int).SetUint64(1<<53 | rapid.Uint64Range(0, 1<<53-1).Draw(t, "mantissa"))
	n.Lsh(n, 1).Add(n, big.NewInt(1))
	n.Lsh(n, rapid.UintRange(0, 200).Draw(t, "shift"))
	return n.Add(n, big.NewInt(rapid.Int64Range(-1, 1).Draw(t, "next")))
}

// V2, V12: double() of a decimal is its nearest double, unscaled() its digits,
// string() its text, for numbers of any length.
func TestDecimalAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := new(big.Int)
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			n.SetInt64(rapid.Int64().Draw(t, "int") >> rapid.IntRange(0, 63).Draw(t, "shift"))
		case 1:
			n.SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 180).Draw(t, "bytes"))
		case 2:
			n = halfway(t)
		case 3: // around the greatest int that a double holds with all before it
			n.SetInt64(rapid.Int64Range(1<<53-8, 1<<54+8).Draw(t, "int"))
		}
		if rapid.Bool().Draw(t, "negative") {
			n.Neg(n)
		}
		scale := rapid.OneOf(rapid.IntRange(0, 30), rapid.IntRange(0, 400)).Draw(t, "scale")
		digits := twosComplement(n, rapid.IntRange(0, 3).Draw(t, "more"))
		exact := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))

		want, _ := exact.Float64()
		got, err := decimalDouble(digits, scale)
		if math.IsInf(want, 0) != (err == ErrNonFinite) || err == nil && got != schemas.DoubleValue(want) {
			t.Fatalf("%x e-%d: double is %v, %v; want %v", digits, scale, got, err, want)
		}
		i, err := decimalInt(digits)
		if n.IsInt64() != (err == nil) || err == nil && i != n.Int64() {
			t.Fatalf("%x: unscaled is %d, %v; want %v", digits, i, err, n)
		}
		if text, err := decimalText(digits, scale); err != nil || text != exact.FloatString(scale) {
			t.Fatalf("%x e-%d: text is %s, %v; want %s", digits, scale, text, err, exact.FloatString(scale))
		}
	})
}

// S3: what is longer than any number is an error at once.
func TestHostileDecimals(t *testing.T) {
	for _, c := range []struct {
		digits             string
		double, text, unsc error
	}{
		{"", ErrDecimal, ErrDecimal, ErrDecimal},
		{"\x7f" + strings.Repeat("\xff", maxDecimal-1), ErrNonFinite, nil, ErrOverflow},
		{"\x80" + strings.Repeat("\x00", maxDecimal-1), ErrNonFinite, nil, ErrOverflow},
		{"\x01" + strings.Repeat("\x00", 10_000_000), ErrNonFinite, ErrDecimal, ErrOverflow},
		{strings.Repeat("\xff", 10_000_000), nil, nil, nil}, // -1, at length
	} {
		_, a := decimalDouble(c.digits, 400)
		_, b := decimalText(c.digits, 400)
		if _, d := decimalInt(c.digits); a != c.double || b != c.text || d != c.unsc {
			t.Errorf("%d bytes: %v, %v, %v", len(c.digits), a, b, d)
		}
	}
}

func TestDecimalsAllocateNothing(t *testing.T) {
	fields := Fields{{"d", Type{Kind: schemas.Bytes, Decimal: true, Scale: 18}}}
	for _, src := range []string{"double(d) > 1.0", "unscaled(d) == 0 || true"} {
		p, err := Compile(src, fields)
		if err != nil {
			t.Fatal(err)
		}
		for _, digits := range []string{"\x05", strings.Repeat("\x11", 8), strings.Repeat("\x11", 16), strings.Repeat("\x11", 60)} {
			row := []schemas.Value{schemas.BytesValue(digits)}
			if n := testing.AllocsPerRun(50, func() { _, _ = p.Eval(row) }); n != 0 {
				t.Errorf("%s of %d bytes allocates %v times", src, len(digits), n)
			}
		}
	}
}
