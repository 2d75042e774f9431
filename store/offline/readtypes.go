package offline

import (
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/expr"
)

// MissingColumnError says that a file has no column of that name.
type MissingColumnError struct {
	Column string
	Have   []string
}

func (e *MissingColumnError) Error() string {
	s := fmt.Sprintf("there is no column %q", e.Column)
	if hint := expr.DidYouMean(e.Column, e.Have); hint != "" {
		s += "; " + hint
	}
	return s
}

// UnsupportedColumnError says that a Parquet column has a type that is not read.
type UnsupportedColumnError struct{ Column, Type, Hint string }

func (e *UnsupportedColumnError) Error() string {
	return fmt.Sprintf("column %q is of type %s, which is not read: %s", e.Column, e.Type, e.Hint)
}

func textValue(v parquet.Value) (schemas.Value, error) {
	b := v.ByteArray()
	if !utf8.Valid(b) {
		return schemas.Value{}, fmt.Errorf("the text is not UTF-8")
	}
	return schemas.StringValue(string(b)), nil
}

// ints reads integers of any width; one beyond an int64 is an error.
func (c *columnReader) ints(k parquet.Kind, l *format.IntType) error {
	c.column.Kind = schemas.Int
	switch {
	case k == parquet.Int32 && l.IsSigned:
		c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.IntValue(int64(v.Int32())), nil }
	case k == parquet.Int32:
		c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.IntValue(int64(v.Uint32())), nil }
	case l.IsSigned:
		c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.IntValue(v.Int64()), nil }
	default:
		c.convert = func(v parquet.Value) (schemas.Value, error) {
			if v.Uint64() > math.MaxInt64 {
				return schemas.Value{}, fmt.Errorf("%d is beyond the range of a 64-bit signed integer", v.Uint64())
			}
			return schemas.IntValue(v.Int64()), nil
		}
	}
	return nil
}

// instants reads timestamps as µs. Local ones need local.
func (c *columnReader) instants(l *format.TimestampType, local *schemas.LocalParser) error {
	c.column.Kind = schemas.Timestamp
	if !l.IsAdjustedToUTC && local == nil {
		return &UnsupportedColumnError{Column: c.column.Name, Type: "timestamp without a zone",
			Hint: "write it as TIMESTAMP(MICROS, UTC) or name its IANA time zone"}
	}
	scale, divide := int64(1), int64(1)
	switch l.Unit.Value.(type) {
	case *format.MilliSeconds:
		scale = 1000
	case *format.NanoSeconds:
		divide = 1000
	}
	utc := l.IsAdjustedToUTC
	c.convert = func(v parquet.Value) (schemas.Value, error) {
		n := v.Int64()
		if n%divide != 0 {
			return schemas.Value{}, fmt.Errorf("%d ns is not a whole number of microseconds: round it to microseconds before", n)
		}
		m, ok := scaleMicros(n/divide, scale)
		if !ok {
			return schemas.Value{}, fmt.Errorf("%d is beyond the range of instants", n)
		}
		if utc {
			return schemas.TimestampValue(m), nil
		}
		at, err := local.FromWallClock(m)
		return schemas.TimestampValue(at), err
	}
	return nil
}

// scaleMicros returns n*scale, false when it overflows.
func scaleMicros(n, scale int64) (schemas.Micros, bool) {
	abs := uint64(n)
	if n < 0 {
		abs = -abs
	}
	hi, lo := bits.Mul64(abs, uint64(scale))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	return schemas.Micros(n * scale), true
}
