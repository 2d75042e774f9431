package transforms

import (
	"encoding/binary"

	"github.com/tallystick/tallystick/schemas"
)

// AppendInput appends a valid prepared event in the form that replay sorts and
// carries. Rows of one entity compare bytewise by RowKey in the order of their
// clocks, and within a partition by offset. It is no format to keep: only this
// build reads it.
func (in *Input) AppendInput(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(in.Clock)^1<<63)
	dst = binary.BigEndian.AppendUint32(dst, uint32(in.Partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(in.Offset))
	dst = appendUvarintBytes(dst, in.Entity)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(in.EventTime))
	return in.appendCarried(dst)
}

// appendCarried appends what no order goes by: id, version, inputs.
func (in *Input) appendCarried(dst []byte) []byte {
	dst = appendUvarintBytes(dst, in.ID)
	dst = binary.AppendVarint(dst, in.Version)
	switch {
	case !in.Accept:
		return append(dst, 0)
	case in.Tombstone:
		return append(dst, 2)
	}
	return in.appendRow(append(dst, 1))
}

// rowKeySize is the length of clock, partition and offset in front of a row.
const rowKeySize = 8 + 4 + 8

// RowKey splits a row of AppendInput into its entity and the key that orders
// the rows of that entity. Both alias it.
func RowKey(row []byte) (entity, key []byte) {
	rest := row[rowKeySize:]
	if len(rest) > 0 && int(rest[0]) < min(0x80, len(rest)) { // nearly all are short
		return rest[1 : 1+rest[0]], row[:rowKeySize]
	}
	r := &reader{b: rest}
	return r.bytes(), row[:rowKeySize]
}

// ParseInput reads what AppendInput wrote into in; false when it did not. Text
// in it does not alias the row.
func (v *View) ParseInput(row []byte, in *Input) bool {
	if len(row) < rowKeySize {
		return false
	}
	in.Clock = schemas.Micros(binary.BigEndian.Uint64(row) ^ 1<<63)
	in.Partition = int32(binary.BigEndian.Uint32(row[8:]))
	in.Offset = int64(binary.BigEndian.Uint64(row[12:]))
	r := &reader{b: row[rowKeySize:]}
	in.Fault = nil
	in.Entity = append(in.Entity[:0], r.bytes()...)
	if len(r.b) < 8 {
		return false
	}
	in.EventTime = schemas.Micros(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v.parseCarried(r, in)
}

// parseCarried reads what appendCarried wrote, to the end.
func (v *View) parseCarried(r *reader, in *Input) bool {
	in.ID = append(in.ID[:0], r.bytes()...)
	in.Version = r.varint()
	kind := r.byte()
	in.Accept, in.Tombstone = kind != 0, kind == 2
	if r.bad || kind > 2 {
		return false
	}
	if kind != 1 {
		clear(in.filters)
		clear(in.values)
		return len(r.b) == 0
	}
	return v.parseRowBytes(r.b, in)
}

// AppendBrief appends a valid prepared event in a shorter form, of which whoever
// keeps it knows the entity. ParseBrief reads it.
func (in *Input) AppendBrief(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(in.Clock))
	dst = binary.AppendVarint(dst, int64(in.EventTime-in.Clock)) // wraps around and back
	dst = binary.AppendUvarint(dst, uint64(in.Partition))
	dst = binary.AppendUvarint(dst, uint64(in.Offset))
	return in.appendCarried(dst)
}

// BriefClock returns the clock in what AppendBrief wrote.
func BriefClock(row []byte) schemas.Micros { return schemas.Micros(binary.LittleEndian.Uint64(row)) }

// ParseBrief reads what AppendBrief wrote into in, all but its entity; false when
// it did not. Text in it does not alias the row.
func (v *View) ParseBrief(row []byte, in *Input) bool {
	if len(row) < 8 {
		return false
	}
	in.Clock, in.Fault = BriefClock(row), nil
	r := &reader{b: row[8:]}
	in.EventTime = in.Clock + schemas.Micros(r.varint())
	in.Partition, in.Offset = int32(r.uvarint()), int64(r.uvarint())
	return v.parseCarried(r, in)
}

// keptClock is Never as rows have it: no event has that clock.
const keptClock = 0

// AppendKept appends a row that RowKey puts before all events of an entity, in the
// order of part and n: what a replay goes on from. ParseKept reads it.
func AppendKept(dst, entity []byte, part int32, n int64, kept []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, keptClock)
	dst = binary.BigEndian.AppendUint32(dst, uint32(part))
	dst = binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63)
	return append(appendUvarintBytes(dst, entity), kept...)
}

// ParseKept reads a row of AppendKept, whose parts alias it; false for one of
// AppendInput.
func ParseKept(row []byte) (entity []byte, part int32, n int64, kept []byte, ok bool) {
	if len(row) < rowKeySize || binary.BigEndian.Uint64(row) != keptClock {
		return nil, 0, 0, nil, false
	}
	r := &reader{b: row[rowKeySize:]}
	entity = r.bytes()
	return entity, int32(binary.BigEndian.Uint32(row[8:])), int64(binary.BigEndian.Uint64(row[12:]) ^ 1<<63), r.b, !r.bad
}

// RowClock reads the clock from a key that RowKey has returned.
func RowClock(key []byte) schemas.Micros {
	return schemas.Micros(binary.BigEndian.Uint64(key) ^ 1<<63)
}
