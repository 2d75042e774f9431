package transforms

import (
	"hash/maphash"
	"math/bits"
	"unsafe"
)

// A state may remember many thousand ids. They are kept where the garbage
// collector has no pointer to follow: in slabs that never move, their text in one
// run of bytes, and found through a table of numbers.

// ref names a slot of a slab; 0 is none.
type ref int32

// span is where an id or a row lies in the text: 34 bits of place, 30 of length.
// Longer ones no broker carries.
type span uint64

const spanBits = 30

func (s span) len() int { return int(s & (1<<spanBits - 1)) }

// slab holds identities in chunks of 2, 4, 8, … slots, so that they stay where
// they are while it grows.
type slab struct {
	chunks [][]identity
	made   ref // slots handed out so far
	free   ref // the first of those given back, linked by next
}

func (b *slab) at(r ref) *identity {
	k := bits.Len32(uint32(r)+1) - 2
	return &b.chunks[k][int(r)+1-1<<(k+1)]
}

// take returns an empty slot.
func (b *slab) take() *identity {
	if r := b.free; r != 0 {
		d := b.at(r)
		b.free = d.next
		*d = identity{self: r}
		return d
	}
	b.made++
	if k := bits.Len32(uint32(b.made)+1) - 2; k == len(b.chunks) {
		b.chunks = append(b.chunks, make([]identity, 2<<k))
	}
	d := b.at(b.made)
	d.self = b.made
	return d
}

// give takes a slot back. What still refers to it sees that its offset is none.
func (b *slab) give(d *identity) {
	*d = identity{self: d.self, next: b.free, offset: -1}
	b.free = d.self
}

func (b *slab) footprint() int {
	n := cap(b.chunks) * int(unsafe.Sizeof([]identity{}))
	if k := len(b.chunks); k > 0 {
		n += (2<<k - 2) * int(unsafe.Sizeof(identity{}))
	}
	return n
}

// idTable finds ids: open addressing, linear probing. An entry is 32 bits of the
// id's hash and its ref.
type idTable struct {
	entries []uint64
	n       int
}

func (t *idTable) find(x *identities, id []byte) *identity {
	if t.n == 0 {
		return nil
	}
	h, mask := x.hash(id), uint64(len(t.entries)-1)
	for i := h & mask; t.entries[i] != 0; i = (i + 1) & mask {
		if e := t.entries[i]; e>>32 == h {
			if d := x.slab.at(ref(uint32(e))); string(x.bytes(d.id)) == string(id) {
				return d
			}
		}
	}
	return nil
}

func (t *idTable) add(h uint64, r ref) {
	if 4*(t.n+1) > 3*len(t.entries) {
		old := t.entries
		t.entries = make([]uint64, max(4, 2*len(old)))
		for _, e := range old {
			if e != 0 {
				t.place(e)
			}
		}
	}
	t.place(h<<32 | uint64(uint32(r)))
	t.n++
}

func (t *idTable) place(e uint64) {
	mask := uint64(len(t.entries) - 1)
	i := e >> 32 & mask
	for t.entries[i] != 0 {
		i = (i + 1) & mask
	}
	t.entries[i] = e
}

// remove takes an entry out and moves up those that it was in the way of.
func (t *idTable) remove(h uint64, r ref) {
	mask := uint64(len(t.entries) - 1)
	i := h & mask
	for e := h<<32 | uint64(uint32(r)); t.entries[i] != e; {
		if t.entries[i] == 0 {
			panic("transforms: an id is forgotten that is not remembered")
		}
		i = (i + 1) & mask
	}
	t.n--
	for j := i; ; {
		t.entries[i] = 0
		for {
			j = (j + 1) & mask
			e := t.entries[j]
			if e == 0 {
				return
			}
			if home := e >> 32 & mask; (j-home)&mask >= (j-i)&mask { // it may stand at i
				break
			}
		}
		t.entries[i], i = t.entries[j], j
	}
}

// hash returns 32 bits. Its seed is another in each process, so that nobody can
// choose ids that collide; nothing that is seen depends on it.
func (x *identities) hash(id []byte) uint64 { return maphash.Bytes(x.seed, id) >> 32 }

// bytes returns text. What it lies in is never overwritten.
func (x *identities) bytes(s span) []byte {
	at, n := s>>spanBits, s&(1<<spanBits-1)
	return x.text[at : at+n : at+n]
}

// rowOf returns the event in force of d, which is open.
func (x *identities) rowOf(d *identity) string {
	b := x.bytes(d.row)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// keep copies text.
func (x *identities) keep(b []byte) span {
	if len(x.text)+len(b) > cap(x.text) {
		x.grow(len(b))
	}
	s := span(len(x.text))<<spanBits | span(len(b))
	x.text = append(x.text, b...)
	return s
}

// drop gives text up.
func (x *identities) drop(s span) { x.dead += s.len() }

// grow makes room for n more bytes, and leaves out what was given up where that
// is much.
func (x *identities) grow(n int) {
	if 4*x.dead < len(x.text) {
		x.text = append(make([]byte, 0, len(x.text)/4*5+n+16), x.text...)
		return
	}
	live := len(x.text) - x.dead
	text := make([]byte, 0, live/4*5+n+16)
	move := func(s span) span {
		if s.len() == 0 {
			return 0
		}
		at := len(text)
		text = append(text, x.bytes(s)...)
		return span(at)<<spanBits | span(s.len())
	}
	for _, e := range x.table.entries {
		if e != 0 {
			d := x.slab.at(ref(uint32(e)))
			d.id, d.row = move(d.id), move(d.row)
		}
	}
	x.text, x.dead = text, 0
}

// footprint returns the bytes that the ids take in memory.
func (x *identities) footprint() int {
	if x == nil {
		return 0
	}
	marks := cap(x.opens) + cap(x.memory) + cap(x.ahead) + cap(x.force)
	return int(unsafe.Sizeof(*x)) + x.slab.footprint() + 8*cap(x.table.entries) + cap(x.text) +
		cap(x.hours)*int(unsafe.Sizeof(hourIDs{})) + marks*int(unsafe.Sizeof(mark{}))
}
