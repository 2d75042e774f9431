package spill

import "slices"

// groups finds rows that belong together. Its zero value is ready.
type groups struct {
	list  []group
	table []int32 // hash → place in list + 1, linear probing; at most half full
}

// group is rows whose prefixes begin with the same two numbers.
type group struct {
	first, second uint64
	rows          int32
	at            int // where in the order they begin
}

// leastRows is how many rows groups have on average for grouping to be worth it, and
// to take little memory.
const leastRows = 8

// groupOverhead is what groups cost in memory, for each row.
const groupOverhead = 8

// of returns the number of a row's group.
func (g *groups) of(a *rowAt) int32 {
	if 2*len(g.list) >= len(g.table) {
		g.grow()
	}
	for i := g.slot(a.prefix[0], a.prefix[1]); ; i++ {
		i &= len(g.table) - 1
		n := g.table[i]
		if n == 0 {
			g.list = append(g.list, group{first: a.prefix[0], second: a.prefix[1]})
			g.table[i] = int32(len(g.list))
			return g.table[i] - 1
		}
		if x := &g.list[n-1]; x.first == a.prefix[0] && x.second == a.prefix[1] {
			return n - 1
		}
	}
}

func (g *groups) slot(first, second uint64) int {
	h := first * 0x9e3779b97f4a7c15
	h = (h ^ h>>32 ^ second) * 0xd6e8feb86659fd93
	return int(h>>32) & (len(g.table) - 1)
}

func (g *groups) grow() {
	g.table = make([]int32, max(1<<6, 2*len(g.table)))
	for n := range g.list {
		x := &g.list[n]
		i := g.slot(x.first, x.second)
		for g.table[i] != 0 {
			i = (i + 1) & (len(g.table) - 1)
		}
		g.table[i] = int32(n) + 1
	}
}

func (g *groups) clear() {
	g.list = g.list[:0]
	clear(g.table)
}

// group brings the rows of each group together, groups in their order and rows in the
// order in which they were added, in linear time. false: there are too many groups,
// and nothing has changed.
func (b *buffer) group() bool {
	g := &b.groups
	g.clear()
	for i := range b.index {
		a := &b.index[i]
		n := g.of(a)
		if len(g.list) > len(b.index)/leastRows {
			return false
		}
		g.list[n].rows++
		a.group = n
	}
	b.arrange()
	return true
}

// arrange moves each row to its place.
func (b *buffer) arrange() {
	list := b.groups.list
	order := make([]int32, len(list))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int { return list[x].compare(&list[y]) })
	at := 0
	for _, n := range order {
		list[n].at = at
		at += int(list[n].rows)
	}
	for i := range b.index {
		x := &list[b.index[i].group]
		b.index[i].group = int32(x.at) // its place from here on
		x.at++
	}
	for i := range b.index {
		for to := int(b.index[i].group); to != i; to = int(b.index[i].group) {
			b.index[i], b.index[to] = b.index[to], b.index[i]
		}
	}
}

func (x *group) compare(y *group) int {
	p, o := Prefix{x.first, x.second}, Prefix{y.first, y.second}
	return p.compare(&o)
}
