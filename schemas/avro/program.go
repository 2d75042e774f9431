package avro

import (
	"github.com/tallystick/tallystick/schemas"
)

// A program is a flat list of ops that walks one body from its first byte to
// its last. Ops come in the writer's order; those with a dst also project.

type opcode uint8

const (
	opReturn opcode = iota // end of the program, of a record's or of an item's part

	// Walk without projecting.
	opSkipInt
	opSkipLong
	opSkipMillis // a long that must hold as µs after × 1000
	opSkipDate   // an int that must hold as µs after × 1 day
	opSkipBytes
	opSkipString
	opSkipFixed // n bytes
	opSkipBool
	opSkipEnum // n symbols

	// Project into dst: what is written, then what is read where they differ.
	opBool
	opInt
	opIntFloat
	opIntDouble
	opLong
	opLongFloat
	opLongDouble
	opFloat
	opDouble
	opString // also bytes read as a string
	opBytes
	opStringBytes // checked as the string that it was written as
	opFixed       // n bytes
	opEnum        // table n
	opMillis
	opMicros
	opNanos
	opDate
	opConst // constant n

	// Control.
	opUnion    // of n branches; the next n ops are jumps to them
	opJump     // to op n
	opMismatch // the branch written cannot be read
	opCopy     // dst[dst] = dst[n]
	opCall     // the record's part at op n, one deeper
	opEnter    // one deeper
	opLeave
	opArray // items are the ops up to n; dst 1 = its items take no bytes
	opMap
	opItems   // an array of which something is read: items dst, up to op n
	opEntries // likewise a map
)

type op struct {
	code opcode
	dst  int32
	n    int32
}

// symbol is a writer's enum symbol as the reader sees it.
type symbol struct {
	text  string
	known bool
}

// Decoder reads bodies of one writer schema. It does not change and may be used
// by several goroutines at once.
type Decoder struct {
	ops    []op
	fields []string // per op, the writer field it belongs to
	enums  [][]symbol
	consts []schemas.Value
	items  []items
	width  int // values in dst
	// partial: a body may leave some of dst unset, which then reads null.
	partial bool
}

// Decode reads one body into dst, which has one Value per path given to
// Compile. The whole body is checked (A1); text in dst aliases body, which must
// not change while dst is in use. The error is a *DecodeError; dst is then
// meaningless. Doubles may be NaN or infinite: the caller judges.
func (d *Decoder) Decode(dst []schemas.Value, body []byte) error {
	if len(dst) != d.width {
		return &DecodeError{Reason: "internal: dst has the wrong length"}
	}
	if d.partial {
		clear(dst)
	}
	w := walk{d: d, dst: dst, body: body}
	pos := w.run(0, 0, 0)
	if pos == len(body) {
		return nil
	}
	if pos >= 0 {
		return &DecodeError{Offset: pos, Reason: faultText[faultTrailing]}
	}
	return &DecodeError{Offset: w.failPos, Field: d.fields[w.failPC], Reason: faultText[-pos]}
}
