package spill

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"sort"
)

// groups finds the group of a row. Its zero value is ready.
type groups struct {
	list  []group
	table []int32 // hash → place in list + 1, linear probing; at most half full
}

// group is rows that belong together, such as the events of an entity: they mostly come
// in their order. They lie in pieces, back to back, each behind its length, as in a run.
type group struct {
	prefix    Prefix // of the last row
	first     place  // the first piece
	piece     place  // the last piece
	fill, end uint32 // where in its slab the next row goes, and where the piece ends
	last      uint32 // where the last row begins, behind its length
	rows      int32
	hash      uint32
	disorder  bool // a row came that goes before the one before it
}

const (
	groupSize = 64 // bytes of a group
	slotSize  = 4
	leastList = 16
	keyBytes  = 16 // of Options.Group, that stand in the prefix
)

// seed keeps who names entities from choosing such as collide.
var seed, keySeed = [2]uint64{rand.Uint64(), rand.Uint64()}, maphash.MakeSeed()

// hashOf returns the hash of what rows of a group have in common.
func hashOf(p *Prefix, key []byte) uint32 {
	if len(key) > keyBytes {
		return uint32(maphash.Bytes(keySeed, key))
	}
	hi, lo := bits.Mul64(p[0]^seed[0], p[1]^seed[1])
	return uint32(hi ^ lo)
}

// find returns the group of a row; nil = there is none yet.
func (b *buffer) find(hash uint32, p *Prefix, key []byte, o *Options) *group {
	g := &b.groups
	if len(g.table) == 0 {
		return nil
	}
	for i := hash; ; i++ {
		n := g.table[int(i)&(len(g.table)-1)]
		if n == 0 {
			return nil
		}
		x := &g.list[n-1]
		if x.hash == hash && x.prefix[0] == p[0] && x.prefix[1] == p[1] && (len(key) <= keyBytes || bytes.Equal(b.key(x, o), key)) {
			return x
		}
	}
}

// key returns what the rows of a group have in common.
func (b *buffer) key(g *group, o *Options) []byte {
	first := b.in(g, g.first)
	n, k := binary.Uvarint(first)
	return o.Group(first[k : k+int(n)])
}

// sortGroups brings the groups into order. None is found from then on.
func (b *buffer) sortGroups(o *Options) { sort.Sort(groupOrder{b, o}) }

// groupOrder sorts groups where they lie: a comparison by value would copy both.
type groupOrder struct {
	b *buffer
	o *Options
}

func (s groupOrder) Len() int { return len(s.b.groups.list) }

func (s groupOrder) Swap(i, j int) {
	list := s.b.groups.list
	list[i], list[j] = list[j], list[i]
}

func (s groupOrder) Less(i, j int) bool {
	x, y := &s.b.groups.list[i], &s.b.groups.list[j]
	for k := range x.prefix[:2] {
		if x.prefix[k] != y.prefix[k] {
			return x.prefix[k] < y.prefix[k]
		}
	}
	return s.o.Group != nil && bytes.Compare(s.b.key(x, s.o), s.b.key(y, s.o)) < 0
}

// insert returns a new group, which moves the others.
func (g *groups) insert(hash uint32, p *Prefix) *group {
	if list, table := g.grown(); list > cap(g.list) || table > len(g.table) {
		g.grow(list, table)
	}
	g.list = append(g.list, group{prefix: *p, hash: hash})
	g.enter(len(g.list) - 1)
	return &g.list[len(g.list)-1]
}

// grown returns how long list and table are with another group.
func (g *groups) grown() (list, table int) {
	list, table = cap(g.list), len(g.table)
	if len(g.list) == list {
		list = max(leastList, 2*list)
	}
	if 2*(len(g.list)+1) > table {
		table = max(2*leastList, 2*table)
	}
	return list, table
}

func (g *groups) grow(list, table int) {
	if list > cap(g.list) {
		g.list = append(make([]group, 0, list), g.list...)
	}
	if table > len(g.table) {
		g.table = make([]int32, table)
		for n := range g.list {
			g.enter(n)
		}
	}
}

// enter puts a group into the table.
func (g *groups) enter(n int) {
	i := int(g.list[n].hash) & (len(g.table) - 1)
	for g.table[i] != 0 {
		i = (i + 1) & (len(g.table) - 1)
	}
	g.table[i] = int32(n) + 1
}

// held returns the bytes that they take.
func (g *groups) held() int { return groupSize*cap(g.list) + slotSize*len(g.table) }

func (g *groups) clear() {
	g.list = g.list[:0]
	clear(g.table)
}
