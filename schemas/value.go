package schemas

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// Micros is an instant in microseconds since the Unix epoch, UTC (V10).
type Micros int64

// Never and Forever bound every instant that a clock may hold.
const (
	Never   Micros = math.MinInt64
	Forever Micros = math.MaxInt64
)

// Microseconds per unit.
const (
	Second Micros = 1_000_000
	Minute        = 60 * Second
	Hour          = 60 * Minute
	Day           = 24 * Hour
)

// Time returns the instant as a time.Time in UTC.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// String formats the instant as RFC 3339 with as many fractional digits as needed.
func (m Micros) String() string {
	if m == Never {
		return "never"
	}
	return m.Time().Format(time.RFC3339Nano)
}

// AddSat returns m+d, held within [Never, Forever] (V6: comparisons never wrap).
func (m Micros) AddSat(d Micros) Micros {
	s := m + d
	switch {
	case d > 0 && s < m:
		return Forever
	case d < 0 && s > m:
		return Never
	}
	return s
}

// SubSat returns m-d, held within [Never, Forever].
func (m Micros) SubSat(d Micros) Micros {
	s := m - d
	switch {
	case d < 0 && s < m:
		return Forever
	case d > 0 && s > m:
		return Never
	}
	return s
}

// Floor returns the greatest multiple of h at or before m, towards minus infinity (V3).
func (m Micros) Floor(h Micros) Micros {
	r := m % h
	if r < 0 {
		r += h
	}
	return m.SubSat(r)
}

// Days returns the UTC day that the instant lies on, in days since the epoch.
func (m Micros) Days() int64 {
	d := int64(m / Day)
	if m%Day < 0 {
		d--
	}
	return d
}

// Kind is the type of a Value. The zero Kind is Null.
type Kind uint8

// The kinds of values. Their numbers are the type tags of the canonical
// encoding and must not change.
const (
	Null Kind = iota
	Bool
	Int       // 64-bit signed
	Double    // finite, never -0
	String    // UTF-8
	Bytes     // any bytes
	Timestamp // Micros
	List      // values of one kind other than List, none of them null
)

var kindNames = [...]string{"null", "bool", "int", "double", "string", "bytes", "timestamp", "list"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Value is one typed scalar, or a list of them. The zero Value is null. A String
// or Bytes value may alias the record it was decoded from: whoever keeps it
// clones it. Equal values are equal by ==.
type Value struct {
	kind Kind
	bits uint64
	text string
}

// BoolValue returns b as a Value.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Bool, bits: 1}
	}
	return Value{kind: Bool}
}

// IntValue returns i as a Value.
func IntValue(i int64) Value { return Value{kind: Int, bits: uint64(i)} }

// DoubleValue returns f as a Value; -0 becomes +0 (V2). The caller sees to
// finiteness: Value.Finite tells.
func DoubleValue(f float64) Value {
	if f == 0 {
		f = 0
	}
	return Value{kind: Double, bits: math.Float64bits(f + 0)}
}

// CarriedDouble returns f as a Value, -0 and all: of what is carried through as it
// stands and never computed with.
func CarriedDouble(f float64) Value { return Value{kind: Double, bits: math.Float64bits(f)} }

// StringValue returns s as a Value.
func StringValue(s string) Value { return Value{kind: String, text: s} }

// BytesValue returns the bytes in s as a Value.
func BytesValue(s string) Value { return Value{kind: Bytes, text: s} }

// BytesAlias returns b as a Value that is valid as long as b stays as it is.
func BytesAlias(b []byte) Value {
	return Value{kind: Bytes, text: unsafe.String(unsafe.SliceData(b), len(b))}
}

// TimestampValue returns m as a Value.
func TimestampValue(m Micros) Value { return Value{kind: Timestamp, bits: uint64(m)} }

// Kind returns the value's type.
func (v Value) Kind() Kind { return v.kind }

// IsNull tells whether the value is null.
func (v Value) IsNull() bool { return v.kind == Null }

// Bool returns the value of a Bool.
func (v Value) Bool() bool { return v.bits != 0 }

// Int returns the value of an Int.
func (v Value) Int() int64 { return int64(v.bits) }

// Double returns the value of a Double.
func (v Value) Double() float64 { return math.Float64frombits(v.bits) }

// Text returns the value of a String, or the bytes of a Bytes.
func (v Value) Text() string { return v.text }

// Micros returns the value of a Timestamp.
func (v Value) Micros() Micros { return Micros(v.bits) }

// Finite tells whether the value is anything but a Double NaN or infinity.
func (v Value) Finite() bool {
	return v.kind != Double || v.bits&0x7ff0000000000000 != 0x7ff0000000000000
}

// Equal tells whether both values have the same kind and the same bits.
func (v Value) Equal(w Value) bool { return v == w }

// Compare orders two values of one kind: false < true, numbers by value, text
// bytewise, lists somehow. It is meaningless across kinds.
func (v Value) Compare(w Value) int {
	switch v.kind {
	case Double:
		a, b := v.Double(), w.Double()
		switch {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	case String, Bytes, List:
		return strings.Compare(v.text, w.text)
	}
	return cmp.Compare(int64(v.bits), int64(w.bits))
}

// String formats the value for people.
func (v Value) String() string {
	switch v.kind {
	case Bool:
		return strconv.FormatBool(v.Bool())
	case Int:
		return strconv.FormatInt(v.Int(), 10)
	case Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case String:
		return v.text
	case Bytes:
		return fmt.Sprintf("%x", v.text)
	case Timestamp:
		return v.Micros().String()
	case List:
		parts := make([]string, 0, v.Len())
		for _, x := range v.Elements() {
			if parts = append(parts, x.String()); x.kind == String {
				parts[len(parts)-1] = strconv.Quote(x.text)
			}
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return "null"
}

// Append appends the canonical typed encoding of v: the Kind's number as one
// byte, then 1 byte for a Bool, 8 bytes big-endian for Int, Double and
// Timestamp, an unsigned varint length and the bytes for String and Bytes,
// nothing for null (V2); for a List the length of its elements' encodings as an
// unsigned varint, and these.
func (v Value) Append(dst []byte) []byte {
	dst = append(dst, byte(v.kind))
	switch v.kind {
	case Bool:
		return append(dst, byte(v.bits))
	case Int, Double, Timestamp:
		return binary.BigEndian.AppendUint64(dst, v.bits)
	case String, Bytes, List:
		dst = binary.AppendUvarint(dst, uint64(len(v.text)))
		return append(dst, v.text...)
	}
	return dst
}

// ParseValue reads a value that Append wrote and returns how many bytes it
// took, 0 when b does not begin with one. Text is copied.
func ParseValue(b []byte) (Value, int) {
	v, n := ParseAlias(b)
	v.text = strings.Clone(v.text)
	return v, n
}

// ParseAlias is ParseValue without copying text, which is valid as long as b stays as
// it is.
func ParseAlias(b []byte) (Value, int) {
	if len(b) == 0 {
		return Value{}, 0
	}
	k := Kind(b[0])
	switch k {
	case Null:
		return Value{}, 1
	case Bool:
		if len(b) < 2 || b[1] > 1 {
			return Value{}, 0
		}
		return Value{kind: Bool, bits: uint64(b[1])}, 2
	case Int, Double, Timestamp:
		if len(b) < 9 {
			return Value{}, 0
		}
		v := Value{kind: k, bits: binary.BigEndian.Uint64(b[1:])}
		if !v.Finite() || k == Double && v.bits == 1<<63 {
			return Value{}, 0
		}
		return v, 9
	case String, Bytes, List:
		n, w := binary.Uvarint(b[1:])
		if w <= 0 || n > uint64(len(b)-1-w) || w > 1 && b[w] == 0 {
			return Value{}, 0
		}
		v := Value{kind: k, text: unsafe.String(unsafe.SliceData(b[1+w:]), int(n))}
		if k == List && !v.countElements() {
			return Value{}, 0
		}
		return v, 1 + w + int(n)
	}
	return Value{}, 0
}

// ListValue returns a list of values, which are of one kind, not null and no
// lists themselves. Their text is copied.
func ListValue(elements []Value) Value {
	var b []byte
	for _, x := range elements {
		b = x.Append(b)
	}
	return Value{kind: List, bits: uint64(len(elements)), text: string(b)}
}

// Len returns the number of elements of a List.
func (v Value) Len() int { return int(v.bits) }

// Elements returns the elements of a List.
func (v Value) Elements() []Value {
	list := make([]Value, 0, v.Len())
	for b := []byte(v.text); len(b) > 0; {
		x, n := ParseValue(b)
		list, b = append(list, x), b[n:]
	}
	return list
}

// countElements sets the number of elements of a parsed List; false when they
// are not those of one.
func (v *Value) countElements() bool {
	var kind Kind
	for b := []byte(v.text); len(b) > 0; v.bits++ {
		if k := Kind(b[0]); k == Null || k == List || v.bits > 0 && k != kind {
			return false
		}
		kind = Kind(b[0])
		_, n := ParseValue(b)
		if n == 0 {
			return false
		}
		b = b[n:]
	}
	return true
}
