package transforms

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/tallystick/tallystick/schemas"
)

// Scalars whose kind the definition fixes are written without a tag: 8 bytes
// little-endian (Bool too), or an unsigned varint length and the text.

func scalarBits(v schemas.Value) uint64 {
	switch v.Kind() {
	case schemas.Double:
		return math.Float64bits(v.Double())
	case schemas.Bool:
		if v.Bool() {
			return 1
		}
		return 0
	}
	return uint64(v.Int())
}

func scalarValue(k schemas.Kind, b uint64) schemas.Value {
	switch k {
	case schemas.Double:
		return schemas.DoubleValue(math.Float64frombits(b))
	case schemas.Bool:
		return schemas.BoolValue(b != 0)
	case schemas.Timestamp:
		return schemas.TimestampValue(schemas.Micros(b))
	}
	return schemas.IntValue(int64(b))
}

func appendScalar(dst []byte, v schemas.Value) []byte {
	if k := v.Kind(); k == schemas.String || k == schemas.Bytes {
		dst = binary.AppendUvarint(dst, uint64(len(v.Text())))
		return append(dst, v.Text()...)
	}
	return binary.LittleEndian.AppendUint64(dst, scalarBits(v))
}

// parseScalar reads what appendScalar wrote for kind k; 0 = it did not. Text
// aliases b.
func parseScalar(b []byte, k schemas.Kind) (schemas.Value, int) {
	if k == schemas.String || k == schemas.Bytes {
		n, w := uvarint(b)
		if w == 0 || n > uint64(len(b)-w) {
			return schemas.Value{}, 0
		}
		t := unsafe.String(unsafe.SliceData(b[w:]), n) // see cell
		if k == schemas.String {
			return schemas.StringValue(t), w + int(n)
		}
		return schemas.BytesValue(t), w + int(n)
	}
	if len(b) < 8 {
		return schemas.Value{}, 0
	}
	bits := binary.LittleEndian.Uint64(b)
	v := scalarValue(k, bits)
	if !v.Finite() || scalarBits(v) != bits {
		return schemas.Value{}, 0
	}
	return v, 8
}

// skipScalar returns the length of a sound scalar.
func skipScalar(b []byte, k schemas.Kind) int {
	if k == schemas.String || k == schemas.Bytes {
		n, w := uvarint(b)
		return w + int(n)
	}
	return 8
}

// reader reads canonical varints from hostile bytes; after a failure it reads
// zeros and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	x, n := uvarint(r.b)
	if n == 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) varint() int64 {
	x, n := varint(r.b)
	if n == 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// bytes reads a length and that many bytes, which alias the input.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	t := r.b[:n]
	r.b = r.b[n:]
	return t
}

// count reads a number of things that take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) fail() { r.b, r.bad = nil, true }
