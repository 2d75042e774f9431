package avro

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
	"unsafe"

	"github.com/tallystick/tallystick/schemas"
)

// maxEmptyItems bounds an array whose items take no bytes, the one case in which
// what remains of the body does not bound the count.
const maxEmptyItems = 1 << 20

// Range of the counts that microseconds in 64 bits can hold.
const (
	maxMillis = math.MaxInt64 / 1000
	minMillis = math.MinInt64 / 1000
	dayMicros = int64(schemas.Day)
	maxDays   = math.MaxInt64 / dayMicros
	minDays   = math.MinInt64 / dayMicros
)

// walk is one Decode. Positions are returned, never stored, so that the loop
// keeps them in registers; where it failed is stored once.
type walk struct {
	d       *Decoder
	dst     []schemas.Value
	body    []byte
	failPC  int
	failPos int
}

// fail notes where op pc, begun at pos, failed, innermost first.
func (w *walk) fail(pc, pos, end int) int {
	w.failPC, w.failPos = pc, pos
	return end
}

// run executes ops from pc to an opReturn and returns the position in the body
// it came to, negative for a fault. The loop is one long switch on purpose: it
// is the hot path, and Go compiles it to a jump table.
func (w *walk) run(pc, pos, depth int) int {
	ops, b, dst := w.d.ops, w.body, w.dst
	for {
		o := ops[pc]
		var end int // position behind this op
		switch o.code {
		case opReturn:
			return pos
		case opSkipLong:
			if pos < len(b) && b[pos] < 0x80 {
				end = pos + 1
			} else {
				_, end = varint(b, pos)
			}
		case opSkipInt:
			if pos < len(b) && b[pos] < 0x80 {
				end = pos + 1
			} else {
				_, end = varint32(b, pos)
			}
		case opSkipString:
			var start int
			start, end = extent(b, pos)
			if end > 0 && !utf8.Valid(b[start:end]) {
				end = failed(faultUTF8)
			}
		case opSkipBytes:
			_, end = extent(b, pos)
		case opSkipFixed:
			if end = pos + int(o.n); end > len(b) {
				end = failed(faultShort)
			}
		case opSkipBool:
			_, end = boolean(b, pos)
		case opSkipEnum:
			_, end = index(b, pos, int(o.n), faultEnum)
		case opString, opStringBytes:
			var start int
			start, end = extent(b, pos)
			if end < 0 {
				break
			}
			if !utf8.Valid(b[start:end]) {
				end = failed(faultUTF8)
			} else if s := unsafe.String(unsafe.SliceData(b[start:end]), end-start); o.code == opStringBytes {
				dst[o.dst] = schemas.BytesValue(s)
			} else {
				dst[o.dst] = schemas.StringValue(s)
			}
		case opDouble:
			if end = pos + 8; end > len(b) {
				end = failed(faultShort)
				break
			}
			dst[o.dst] = schemas.DoubleValue(math.Float64frombits(binary.LittleEndian.Uint64(b[pos:end])))
		case opLong:
			var v int64
			v, end = varint(b, pos)
			dst[o.dst] = schemas.IntValue(v)
		case opMicros:
			var v int64
			v, end = varint(b, pos)
			dst[o.dst] = schemas.TimestampValue(schemas.Micros(v))
		case opInt:
			var v int64
			v, end = varint32(b, pos)
			dst[o.dst] = schemas.IntValue(v)
		case opConst:
			dst[o.dst], end = w.d.consts[o.n], pos
		case opCopy:
			dst[o.dst], end = dst[o.n], pos
		case opUnion:
			var i int
			i, end = index(b, pos, int(o.n), faultUnion)
			if end >= 0 {
				pc, pos = int(ops[pc+1+i].n), end
				continue
			}
		case opJump:
			pc = int(o.n)
			continue
		case opMismatch:
			end = failed(faultBranch)
		case opEnter:
			end = pos
			if depth++; depth > MaxDepth {
				end = failed(faultDepth)
			}
		case opLeave:
			depth, end = depth-1, pos
		case opCall:
			if depth == MaxDepth {
				end = failed(faultDepth)
			} else if end = w.run(int(o.n), pos, depth+1); end < 0 {
				return end // noted where it happened
			}
		case opArray, opMap, opItems, opEntries:
			if depth == MaxDepth {
				end = failed(faultDepth)
				break
			}
			if pos = w.blocks(pc, pos, depth+1); pos < 0 {
				return pos
			}
			pc = int(o.n)
			continue
		default:
			end = w.convert(o, pos)
		}
		if end < 0 {
			return w.fail(pc, pos, end)
		}
		pos = end
		pc++
	}
}

// convert executes the rarer projecting ops.
func (w *walk) convert(o op, pos int) (end int) {
	b := w.body
	var v int64
	var out schemas.Value
	switch o.code {
	case opSkipMillis, opMillis:
		if v, end = varint(b, pos); v > maxMillis || v < minMillis {
			return failed(faultRange)
		}
		out = schemas.TimestampValue(schemas.Micros(v * 1000))
	case opSkipDate, opDate:
		if v, end = varint32(b, pos); v > maxDays || v < minDays {
			return failed(faultRange)
		}
		out = schemas.TimestampValue(schemas.Micros(v * dayMicros))
	case opNanos:
		v, end = varint(b, pos)
		out = schemas.TimestampValue(schemas.Micros(floorDiv(v, 1000)))
	case opIntFloat:
		v, end = varint32(b, pos)
		out = schemas.DoubleValue(float64(float32(v)))
	case opIntDouble:
		v, end = varint32(b, pos)
		out = schemas.DoubleValue(float64(v))
	case opLongFloat:
		v, end = varint(b, pos)
		out = schemas.DoubleValue(float64(float32(v)))
	case opLongDouble:
		v, end = varint(b, pos)
		out = schemas.DoubleValue(float64(v))
	case opFloat:
		if end = pos + 4; end > len(b) {
			return failed(faultShort)
		}
		out = schemas.DoubleValue(float64(math.Float32frombits(binary.LittleEndian.Uint32(b[pos:end]))))
	case opBool:
		var t bool
		t, end = boolean(b, pos)
		out = schemas.BoolValue(t)
	case opBytes:
		var start int
		if start, end = extent(b, pos); end < 0 {
			return end
		}
		out = schemas.BytesValue(unsafe.String(unsafe.SliceData(b[start:end]), end-start))
	case opFixed:
		if end = pos + int(o.n); end > len(b) {
			return failed(faultShort)
		}
		out = schemas.BytesValue(unsafe.String(unsafe.SliceData(b[pos:end]), end-pos))
	case opEnum:
		var i int
		table := w.d.enums[o.n]
		if i, end = index(b, pos, len(table), faultEnum); end < 0 {
			return end
		}
		if !table[i].known {
			return failed(faultSymbol)
		}
		out = schemas.StringValue(table[i].text)
	}
	if o.code != opSkipMillis && o.code != opSkipDate {
		w.dst[o.dst] = out
	}
	return end
}

// blocks walks the array or map at op pc and returns the position behind it.
func (w *walk) blocks(pc, pos, depth int) int {
	o := w.d.ops[pc]
	if o.code == opItems || o.code == opEntries {
		return w.items(pc, pos, depth)
	}
	empty := o.code == opArray && o.dst == 1
	total := int64(0)
	for {
		count, at, blockEnd := w.block(pc, pos, empty, total)
		if pos = at; count == 0 {
			return pos
		}
		total += count
		for ; count > 0 && !empty; count-- {
			if pos = w.run(pc+1, pos, depth); pos < 0 {
				return pos
			}
		}
		if blockEnd >= 0 && pos != blockEnd {
			return w.fail(pc, pos, failed(faultBlock))
		}
	}
}

// block reads the head of a block of the array or map at op pc, of which total
// items came before: how many follow, where they begin (negative for a fault)
// and, if it is told, where they end, else -1. No item follows the last block,
// or a fault.
func (w *walk) block(pc, pos int, empty bool, total int64) (count int64, begin, end int) {
	at := pos
	count, pos = varint(w.body, pos)
	if pos < 0 {
		return 0, w.fail(pc, at, pos), -1
	}
	end = -1
	if count < 0 { // its size in bytes follows
		start, stop := extent(w.body, pos)
		if stop < 0 {
			return 0, w.fail(pc, pos, stop), -1
		}
		count, pos, end = -count, start, stop
	}
	limit := int64(len(w.body) - pos) // each item takes at least a byte
	if empty {
		limit = maxEmptyItems - total
	}
	if count < 0 || count > limit { // < 0: the least int64
		return 0, w.fail(pc, at, failed(faultCount)), -1
	}
	return count, pos, end
}

func floorDiv(v, by int64) int64 {
	q := v / by
	if v%by < 0 {
		q--
	}
	return q
}

func boolean(b []byte, pos int) (v bool, end int) {
	switch {
	case pos >= len(b):
		return false, failed(faultShort)
	case b[pos] > 1:
		return false, failed(faultBool)
	}
	return b[pos] == 1, pos + 1
}

// index reads an index of n alternatives.
func index(b []byte, pos, n int, beyond fault) (i, end int) {
	v, end := varint32(b, pos)
	if end >= 0 && (v < 0 || v >= int64(n)) {
		return 0, failed(beyond)
	}
	return int(v), end
}
