package expr

import (
	"math/bits"
	"strconv"
	"strings"
	"unsafe"

	"cel.dev/cel-go/common/ast"
	"github.com/tallystick/tallystick/schemas"
)

// A decimal field is Bytes: an integer in two's complement, big-endian, in units
// of 10^-scale. It takes part in expressions by one of three functions, of which
// each says what becomes of the digits.

// maxDecimal is the length in bytes of the longest decimal that is read: 1,233 digits.
const maxDecimal = 512

// decimalInt returns the integer, in units of 10^-scale.
func decimalInt(digits string) (int64, error) {
	digits = withoutSign(digits)
	switch {
	case digits == "":
		return 0, ErrDecimal
	case len(digits) > 8:
		return 0, ErrOverflow
	}
	i := int64(int8(digits[0]))
	for _, b := range []byte(digits[1:]) {
		i = i<<8 | int64(b)
	}
	return i, nil
}

// withoutSign takes away leading bytes that only repeat the sign.
func withoutSign(digits string) string {
	for len(digits) > 1 && (digits[0] == 0 && digits[1] < 0x80 || digits[0] == 0xff && digits[1] >= 0x80) {
		digits = digits[1:]
	}
	return digits
}

var powersOf10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// decimalDouble returns the double nearest to the decimal, ties to even.
func decimalDouble(digits string, scale int) (schemas.Value, error) {
	i, err := decimalInt(digits)
	if err == ErrDecimal {
		return schemas.Value{}, err
	}
	// Both are exact as doubles, so the one division rounds once.
	if err == nil && abs(i) <= 1<<53 && scale < len(powersOf10) {
		return schemas.DoubleValue(float64(i) / powersOf10[scale]), nil
	}
	if digits = withoutSign(digits); len(digits) > maxDecimal {
		return schemas.Value{}, ErrNonFinite // whatever its scale, which is at most 400
	}
	var buf [maxText]byte
	text := strconv.AppendInt(append(decimalDigits(&buf, digits), 'e'), -int64(scale), 10)
	d, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	if err != nil {
		return schemas.Value{}, ErrNonFinite
	}
	return schemas.DoubleValue(d), nil
}

// decimalText returns the decimal with all its decimal places: "-0.50".
func decimalText(digits string, scale int) (string, error) {
	digits = withoutSign(digits)
	if digits == "" || len(digits) > maxDecimal {
		return "", ErrDecimal
	}
	var buf [maxText]byte
	text := string(decimalDigits(&buf, digits))
	sign := ""
	if text[0] == '-' {
		sign, text = "-", text[1:]
	}
	if scale == 0 {
		return sign + text, nil
	}
	text = strings.Repeat("0", max(0, scale+1-len(text))) + text
	return sign + text[:len(text)-scale] + "." + text[len(text)-scale:], nil
}

// maxText holds a sign, the digits of maxDecimal bytes in chunks, and an exponent.
const maxText = 1 + 66*chunkDigits + 8

const (
	chunk       = 10_000_000_000_000_000_000 // 10^19, the greatest power that 64 bits hold
	chunkDigits = 19
)

// decimalDigits writes the integer into buf, with room for an exponent behind it.
func decimalDigits(buf *[maxText]byte, digits string) []byte {
	var limbs [maxDecimal / 8]uint64 // the magnitude, least first
	n := (len(digits) + 7) / 8
	negative := digits[0] >= 0x80
	carry := uint64(1)
	for i := range n {
		limb := uint64(0)
		for j := max(0, len(digits)-8*(i+1)); j < len(digits)-8*i; j++ {
			limb = limb<<8 | uint64(digits[j])
		}
		if negative {
			if top := len(digits) - 8*i; top < 8 {
				limb |= ^uint64(0) << (8 * top)
			}
			limb, carry = bits.Add64(^limb, 0, carry)
		}
		limbs[i] = limb
	}
	end := maxText - 8 // an exponent follows
	at := end
	for n > 0 {
		rest := uint64(0)
		for i := n - 1; i >= 0; i-- {
			limbs[i], rest = bits.Div64(rest, limbs[i], chunk)
		}
		for n > 0 && limbs[n-1] == 0 {
			n--
		}
		for d := 0; d < chunkDigits && (n > 0 || rest > 0); d++ {
			at--
			buf[at] = '0' + byte(rest%10)
			rest /= 10
		}
	}
	if at == end {
		at--
		buf[at] = '0'
	}
	if negative {
		at--
		buf[at] = '-'
	}
	return buf[at:end]
}

// refuseDecimal says what to write instead of a bare decimal.
func (c *checker) refuseDecimal(n node) node {
	text, unit := unparse(n.expr), "1"
	if n.typ.scale > 0 && n.typ.scale <= 12 {
		unit = "0." + "000000000000"[:n.typ.scale-1] + "1"
	} else if n.typ.scale > 0 {
		unit = "1e-" + strconv.Itoa(n.typ.scale)
	}
	return c.fail(n.expr, "`"+text+"` is a decimal, which is not calculated with as it is",
		"write `double("+text+")`, the nearest double, or `unscaled("+text+")`, an int in units of "+unit)
}

func buildUnscaled(c *checker, e ast.Expr, args []node) node {
	if !args[0].typ.decimal {
		return c.fail(e, "unscaled() takes a decimal, this is "+articleOf(args[0]), "")
	}
	return c.unary(e, schemas.Int, args[0], func(v schemas.Value) (schemas.Value, error) {
		i, err := decimalInt(v.Text())
		return schemas.IntValue(i), err
	})
}
