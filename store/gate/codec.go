package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tallystick/tallystick/transforms"
)

// maxCount bounds every count that is read.
const maxCount = 1 << 53

// format is the version of a Builder's bytes.
const format = 1

// reader reads varints from hostile bytes; after a failure it reads zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	n, w := binary.Uvarint(r.b)
	if w <= 0 || n > maxCount || w > 1 && r.b[w-1] == 0 { // one form per number
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[w:]
	return n
}

// count reads a signed number: a day, or what a ledger corrects.
func (r *reader) count() int64 {
	n := r.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (r *reader) float() float64 {
	if len(r.b) < 8 {
		r.b, r.bad = nil, true
		return 0
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(r.b))
	r.b, r.bad = r.b[8:], r.bad || math.IsNaN(f) || math.IsInf(f, 0)
	return f
}

// shape stands for what a Builder counts: the view's columns and cells.
func (b *Builder) shape() uint64 {
	s := fmt.Sprint(b.snapshots, b.hops, b.cells)
	for i := range b.view.Spec().Features {
		f := &b.view.Spec().Features[i]
		s += fmt.Sprintf("\x00%s\x00%s", f.Name, f.Type())
	}
	return transforms.HashBytes([]byte(s))
}

// MarshalBinary returns the canonical bytes of what was counted, for a unit of a
// replay to leave to whoever merges the units. The error is always nil.
func (b *Builder) MarshalBinary() ([]byte, error) {
	dst := binary.BigEndian.AppendUint64([]byte{format}, b.shape())
	dst = binary.AppendVarint(dst, b.from)
	dst = binary.AppendUvarint(dst, uint64(len(b.days)))
	for _, k := range slices.Sorted(maps.Keys(b.days)) {
		dst = b.days[k].append(binary.AppendVarint(dst, k))
	}
	return dst, nil
}

// ledgerFields are the counts of a ledger, in the order of the bytes.
func ledgerFields(l *transforms.Ledger) [9]*int64 {
	return [9]*int64{&l.Applied, &l.Filtered, &l.Duplicate, &l.Superseded, &l.Late, &l.Future, &l.Invalid, &l.Conflicts, &l.SealedEarly}
}

func (d *dayPart) append(dst []byte) []byte {
	for _, n := range [...]int64{d.rows, d.provisional, d.repeated} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	for i := range d.columns {
		dst = d.columns[i].append(dst)
	}
	for _, t := range d.tiles {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(t.rows)), uint64(t.events))
	}
	for _, n := range d.taken {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	for _, n := range ledgerFields(&d.ledger) {
		dst = binary.AppendVarint(dst, *n)
	}
	return dst
}

func (c *column) append(dst []byte) []byte {
	for _, n := range c.status {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = binary.AppendUvarint(dst, uint64(c.nulls))
	dst = c.numbers.append(dst)
	if c.numbers.n == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(c.min))
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(c.max))
	return c.distinct.append(dst)
}

// UnmarshalBinary reads what MarshalBinary of a Builder of the same view wrote, in
// place of what was counted. Anything else is a *MalformedError.
func (b *Builder) UnmarshalBinary(bytes []byte) error {
	bad := func(err error) error { return &MalformedError{"counts of a unit do not decode", err} }
	if len(bytes) < 9 || bytes[0] != format {
		return bad(errors.New("they are of another format"))
	}
	if binary.BigEndian.Uint64(bytes[1:]) != b.shape() {
		return bad(errors.New("they are of another view"))
	}
	r := &reader{b: bytes[9:]}
	from, days := r.count(), map[int64]*dayPart{}
	last := int64(math.MinInt64)
	for range r.uvarint() {
		k := r.count()
		d := b.newDay()
		d.parse(r)
		if r.bad || k <= last {
			return bad(fmt.Errorf("they break %d bytes before their end", len(r.b)))
		}
		days[k], last = d, k
	}
	if r.bad || len(r.b) > 0 {
		return bad(fmt.Errorf("%d bytes too many, or some are missing", len(r.b)))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from, b.days = from, days
	return nil
}

func (d *dayPart) parse(r *reader) {
	for _, n := range [...]*int64{&d.rows, &d.provisional, &d.repeated} {
		*n = int64(r.uvarint())
	}
	for i := range d.columns {
		d.columns[i].parse(r, d.rows)
	}
	for i := range d.tiles {
		d.tiles[i] = tileSums{int64(r.uvarint()), int64(r.uvarint())}
	}
	for i := range d.taken {
		d.taken[i] = int64(r.uvarint())
	}
	for _, n := range ledgerFields(&d.ledger) {
		*n = r.count()
	}
}

func (c *column) parse(r *reader, rows int64) {
	var sum int64
	for i := range c.status {
		c.status[i] = int64(r.uvarint())
		sum += c.status[i]
	}
	c.nulls = int64(r.uvarint())
	c.numbers.parse(r)
	if c.numbers.n > 0 {
		c.min, c.max = r.float(), r.float()
		c.distinct.parse(r)
	}
	if sum != rows || c.nulls+c.numbers.n != rows || c.numbers.n > 0 && (c.min > c.max || len(c.distinct) == 0) {
		r.bad = true
	}
}
