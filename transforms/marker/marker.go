// Package marker holds what the online store keeps beside the states: the
// marker of a (shard, partition), and the changes that go with a new one. The
// stream, the store's adapter and its readers share these words; nothing here
// does I/O.
//
// # Bytes of a marker
//
//	byte     Format
//	byte     phase: 1 bootstrapping, 2 live
//	uvarint  length of the topic id, and the id
//	varint   next offset
//	8 bytes  log clock in µs, little-endian; the least int64 = none
//	8 bytes  newest event time in µs, little-endian; likewise
//	8 bytes  valid_from in µs, little-endian; likewise
//	9 × varint  ledger: applied, filtered, duplicate, superseded, late, future,
//	         invalid, conflicts, sealed early
//	8 bytes  token, little-endian
//	4 bytes  CRC32C of all before, little-endian
package marker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Format is the version of a marker's bytes.
const Format = 1

// Phase is what a marker says of its (shard, partition).
type Phase uint8

// The phases. The zero Phase stands for a marker that is not there.
const (
	Missing       Phase = iota
	Bootstrapping       // taken: its fields are being removed and written anew (O2)
	Live                // its fields are the fold of all records before Next
)

func (p Phase) String() string {
	switch p {
	case Missing:
		return "missing"
	case Bootstrapping:
		return "bootstrapping"
	case Live:
		return "live"
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Mark is the marker of one (shard, partition): how far it is folded. It
// changes in one atomic unit with the states. Marks compare with ==.
type Mark struct {
	Phase   Phase
	TopicID string
	// Next is the first offset that is not folded.
	Next int64
	// Clock is the log clock at Next: the running maximum over the whole
	// partition, not only over the shard's records; Never = none.
	Clock schemas.Micros
	// Newest is the greatest event time of the shard's records that are neither
	// invalid nor late nor future; Never = none.
	Newest schemas.Micros
	// ValidFrom is where the fold began, if that was not offset 0 (K8): windows
	// that begin at or before it are INCOMPLETE. Never = offset 0.
	ValidFrom schemas.Micros
	Ledger    transforms.Ledger
	// Token is random, and new with every write: a counter could come back
	// after a failover (O1).
	Token uint64
}

// Key names a state within a partition.
type Key struct {
	Shard  int
	Entity string // canonical bytes
}

// Stored is a state as stored. Served is nil where there is none.
type Stored = transforms.Parts

// Write changes one state.
type Write struct {
	Entity string // canonical bytes
	// Remove takes the whole state out before the rest is written.
	Remove bool
	Served []byte // nil = stays as it is
	Old    []byte // nil = stays as it is; empty = is taken out
	// Open are the fields of the open part that changed; one without Data is
	// taken out.
	Open []transforms.Open
}

// Size returns how many bytes the write carries.
func (w *Write) Size() int {
	n := len(w.Entity) + len(w.Served) + len(w.Old)
	for _, o := range w.Open {
		n += len(o.Data)
	}
	return n
}

// Item is a state met on a walk over a shard. Served is nil where only other parts
// are left.
type Item struct {
	Entity string
	Served []byte
}

// Page is a part of a walk over the states of a (shard, partition).
type Page struct {
	Items []Item
	Mark  Mark   // as read after the items
	Next  string // the cursor of the next page; "" = none
}

// What a store says of a write or a read that failed. Errors that are none of
// these are final.
var (
	// ErrMoved: the stored marker is not the one expected; nothing was written.
	ErrMoved = errors.New("the marker has moved")
	// ErrUnknown: the reply was lost; the write may have been done or may yet be
	// done. It must not be repeated before the marker has been read again.
	ErrUnknown = errors.New("the reply to a write was lost")
	// ErrFull: the store is out of memory; nothing was written. Try later.
	ErrFull = errors.New("the store is full")
	// ErrUnavailable: the store could not be reached; nothing was written. Try
	// later.
	ErrUnavailable = errors.New("the store is unavailable")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// counts lists the ledger's numbers in the order of the bytes.
func counts(l *transforms.Ledger) [9]*int64 {
	return [9]*int64{&l.Applied, &l.Filtered, &l.Duplicate, &l.Superseded, &l.Late, &l.Future, &l.Invalid, &l.Conflicts, &l.SealedEarly}
}

// Append appends the bytes of m.
func (m *Mark) Append(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, Format, byte(m.Phase))
	dst = binary.AppendUvarint(dst, uint64(len(m.TopicID)))
	dst = append(dst, m.TopicID...)
	dst = binary.AppendVarint(dst, m.Next)
	for _, t := range []schemas.Micros{m.Clock, m.Newest, m.ValidFrom} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(t))
	}
	for _, n := range counts(&m.Ledger) {
		dst = binary.AppendVarint(dst, *n)
	}
	dst = binary.LittleEndian.AppendUint64(dst, m.Token)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// Parse reads what Append wrote. Its error is a *transforms.CorruptError.
func Parse(b []byte) (m Mark, err error) {
	bad := func(why string) (Mark, error) {
		return Mark{}, &transforms.CorruptError{Part: "marker", Reason: why}
	}
	n := len(b) - 4
	if n < 2 {
		return bad("too short")
	}
	if crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return bad("the checksum does not match")
	}
	if b[0] != Format {
		return bad(fmt.Sprintf("format %d, this build reads %d", b[0], Format))
	}
	m.Phase = Phase(b[1])
	b = b[2:n]
	size, w := binary.Uvarint(b)
	if w <= 0 || size > uint64(len(b)-w) || m.Phase != Bootstrapping && m.Phase != Live {
		return bad("the header is out of range")
	}
	m.TopicID, b = string(b[w:w+int(size)]), b[w+int(size):]
	if m.Next, w = binary.Varint(b); w <= 0 || m.Next < 0 || len(b)-w < 24 {
		return bad("the next offset is out of range")
	}
	b = b[w:]
	for _, t := range []*schemas.Micros{&m.Clock, &m.Newest, &m.ValidFrom} {
		*t, b = schemas.Micros(binary.LittleEndian.Uint64(b)), b[8:]
	}
	for _, c := range counts(&m.Ledger) {
		if *c, w = binary.Varint(b); w <= 0 {
			return bad("the ledger does not decode")
		}
		b = b[w:]
	}
	if len(b) != 8 {
		return bad("wrong length")
	}
	m.Token = binary.LittleEndian.Uint64(b)
	return m, nil
}
