package transforms

import (
	"encoding/binary"
	"math"

	"github.com/tallystick/tallystick/schemas"
)

// AppendInput appends a valid prepared event in a form that ParseInput reads:
// what replay spills and carries. It is no format to keep: only this build reads it.
func (in *Input) AppendInput(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(in.Partition))
	dst = binary.AppendUvarint(dst, uint64(in.Offset))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(in.Clock))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(in.EventTime))
	dst = appendUvarintBytes(dst, in.Entity)
	dst = appendUvarintBytes(dst, in.ID)
	dst = binary.AppendVarint(dst, in.Version)
	if !in.Accept {
		return append(dst, 0)
	}
	return in.appendRow(append(dst, 1))
}

// ParseInput reads what AppendInput wrote into in; false when it did not.
func (v *View) ParseInput(b []byte, in *Input) bool {
	r := &reader{b: b}
	p, off := r.uvarint(), r.uvarint()
	if p > math.MaxInt32 || off > math.MaxInt64 || len(r.b) < 16 {
		return false
	}
	in.Partition, in.Offset = int32(p), int64(off)
	in.Clock = schemas.Micros(binary.LittleEndian.Uint64(r.b))
	in.EventTime = schemas.Micros(binary.LittleEndian.Uint64(r.b[8:]))
	r.b = r.b[16:]
	in.Fault = nil
	in.Entity = append(in.Entity[:0], r.bytes()...)
	in.ID = append(in.ID[:0], r.bytes()...)
	in.Version = r.varint()
	in.Accept = r.byte() == 1
	if r.bad {
		return false
	}
	if !in.Accept {
		clear(in.filters)
		clear(in.values)
		return len(r.b) == 0
	}
	return v.parseRow(string(r.b), in)
}
