package transforms

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/tallystick/tallystick/schemas"
)

// orderKey orders events for first, last, first_k and last_k (V5); for min_by
// and max_by by what they look at, and so only among ties.
type orderKey struct {
	by        schemas.Value // null for the former
	eventTime schemas.Micros
	version   int64
	partition int32
	offset    int64
}

// set leaves by null, as it is but while a cell that goes by it is added to.
func (a *orderKey) set(eventTime schemas.Micros, version int64, partition int32, offset int64) {
	a.eventTime, a.version, a.partition, a.offset = eventTime, version, partition, offset
}

func (a *orderKey) less(b *orderKey) bool {
	if !a.by.IsNull() {
		if c := a.by.Compare(b.by); c != 0 {
			return c < 0
		}
	}
	switch {
	case a.eventTime != b.eventTime:
		return a.eventTime < b.eventTime
	case a.version != b.version:
		return a.version < b.version
	case a.partition != b.partition:
		return a.partition < b.partition
	}
	return a.offset < b.offset
}

// ranked is an input with its place in the order.
type ranked struct {
	order orderKey
	value schemas.Value
}

// append writes a ranked value of kind k: the scalar of by, unless null, then
// event time and version as varints, partition and offset as unsigned ones, the
// scalar of the value.
func (x *ranked) append(dst []byte) []byte {
	o := &x.order
	if !o.by.IsNull() {
		dst = appendScalar(dst, o.by)
	}
	dst = binary.AppendVarint(dst, int64(o.eventTime))
	dst = binary.AppendVarint(dst, o.version)
	dst = binary.AppendUvarint(dst, uint64(o.partition))
	dst = binary.AppendUvarint(dst, uint64(o.offset))
	return appendScalar(dst, x.value)
}

// parse reads what append wrote for those kinds; 0 = it did not.
func (x *ranked) parse(b []byte, kind, by schemas.Kind) int {
	at := 0
	if x.order.by = (schemas.Value{}); by != schemas.Null {
		if x.order.by, at = parseScalar(b, by); at == 0 {
			return 0
		}
	}
	r := reader{b: b[at:]}
	o := &x.order
	o.eventTime, o.version = schemas.Micros(r.varint()), r.varint()
	p, off := r.uvarint(), r.uvarint()
	if p > math.MaxInt32 || off > math.MaxInt64 || r.bad {
		return 0
	}
	o.partition, o.offset = int32(p), int64(off)
	var w int
	if x.value, w = parseScalar(r.b, kind); w == 0 {
		return 0
	}
	return len(b) - len(r.b) + w
}

// skipRanked returns the length of a sound ranked value.
func skipRanked(b []byte, kind, by schemas.Kind) int {
	w := 0
	if by != schemas.Null {
		w = skipScalar(b, by)
	}
	for range 4 {
		_, n := uvarint(b[w:])
		w += n
	}
	return w + skipScalar(b[w:], kind)
}

// ordered keeps the first or last value by orderKey (V5): for first and last,
// and for min_by and max_by.
type ordered struct {
	kind, by schemas.Kind
	last     bool
}

func (ordered) name() string { return "ordered" }

func (a ordered) add(c *cell, v schemas.Value, at *orderKey) {
	x := &c.extra().held
	if c.n == 0 || at.less(&x.order) != a.last {
		x.order, x.value = *at, v
	}
	c.n = 1
}

func (a ordered) merge(c, d *cell) {
	if d.n != 0 {
		a.add(c, d.x.held.value, &d.x.held.order)
	}
}

func (a ordered) append(dst []byte, c *cell) []byte {
	dst = append(dst, byte(c.n))
	if c.n == 0 {
		return dst
	}
	return c.x.held.append(dst)
}

func (a ordered) parse(b []byte, c *cell) int {
	if len(b) == 0 || b[0] > 1 {
		return 0
	}
	if c.n = int64(b[0]); c.n == 0 {
		return 1
	}
	w := c.extra().held.parse(b[1:], a.kind, a.by)
	if w == 0 {
		return 0
	}
	return 1 + w
}

func (a ordered) fold(b []byte, cells []*cell, tmp *cell) int { return fold(a, b, cells, tmp) }

func (a ordered) skip(b []byte) int {
	if b[0] == 0 {
		return 1
	}
	return 1 + skipRanked(b[1:], a.kind, a.by)
}

// series keeps the first or last k values by orderKey (V5), ascending. Its n is
// how many there are.
type series struct {
	kind schemas.Kind
	k    int
	last bool
}

func (series) name() string { return "series" }

func (a series) add(c *cell, v schemas.Value, at *orderKey) {
	x := c.extra()
	i := sort.Search(len(x.list), func(i int) bool { return at.less(&x.list[i].order) })
	switch {
	case len(x.list) < a.k:
		x.list = slices.Insert(x.list, i, ranked{*at, v})
	case a.last && i > 0: // the least makes room
		copy(x.list, x.list[1:i])
		x.list[i-1] = ranked{*at, v}
	case !a.last && i < a.k:
		copy(x.list[i+1:], x.list[i:a.k-1])
		x.list[i] = ranked{*at, v}
	}
	c.n = int64(len(x.list))
}

func (a series) merge(c, d *cell) {
	if d.n == 0 {
		return
	}
	for i := range d.x.list {
		a.add(c, d.x.list[i].value, &d.x.list[i].order)
	}
}

func (series) append(dst []byte, c *cell) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.n))
	if c.n == 0 {
		return dst
	}
	for i := range c.x.list {
		dst = c.x.list[i].append(dst)
	}
	return dst
}

func (a series) parse(b []byte, c *cell) int {
	n, w := uvarint(b)
	if w == 0 || n > uint64(a.k) {
		return 0
	}
	x := c.extra()
	c.n, x.list = int64(n), x.list[:0]
	for i := range int(n) {
		var e ranked
		l := e.parse(b[w:], a.kind, schemas.Null)
		if l == 0 || i > 0 && !x.list[i-1].order.less(&e.order) {
			return 0
		}
		x.list, w = append(x.list, e), w+l
	}
	return w
}

func (a series) fold(b []byte, cells []*cell, tmp *cell) int { return fold(a, b, cells, tmp) }

func (a series) skip(b []byte) int {
	n, w := uvarint(b)
	for range n {
		w += skipRanked(b[w:], a.kind, schemas.Null)
	}
	return w
}

// values returns the values of a series as a list.
func (c *cell) values() schemas.Value {
	list := make([]schemas.Value, len(c.x.list))
	for i := range list {
		list[i] = c.x.list[i].value
	}
	return schemas.ListValue(list)
}
