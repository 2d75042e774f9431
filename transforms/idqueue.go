package transforms

import "slices"

// mark is an entry of a queue: an id as it stood when the entry was made.
type mark struct {
	key     int64
	version int64
	offset  int64
	r       ref
}

func (d *identity) inForce() mark {
	return mark{key: int64(d.eventTime), version: d.version, offset: d.offset, r: d.self}
}

// of returns the id of an entry; false when it has changed since, or is forgotten.
func (x *identities) of(m mark) (*identity, bool) {
	d := x.slab.at(m.r)
	return d, d.offset == m.offset
}

func (m mark) less(o mark) bool {
	switch {
	case m.key != o.key:
		return m.key < o.key
	case m.version != o.version:
		return m.version < o.version
	}
	return m.offset < o.offset
}

// queue is a binary heap, the least first. Entries are never changed in place:
// one that has gone stale is skipped when it comes up.
type queue []mark

func (q queue) min() (mark, bool) {
	if len(q) == 0 {
		return mark{}, false
	}
	return q[0], true
}

func (q *queue) push(m mark) {
	h := append(*q, m)
	i := len(h) - 1
	for i > 0 && m.less(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = m
	*q = h
}

func (q *queue) pop() {
	h := *q
	end := len(h) - 1
	h[0], h[end] = h[end], mark{}
	*q = h[:end]
	q.down(0)
}

// down moves the entry at i to its place among those behind it.
func (q queue) down(i int) {
	if i >= len(q) {
		return
	}
	m := q[i]
	for 2*i+1 < len(q) {
		c := 2*i + 1
		if c+1 < len(q) && q[c+1].less(q[c]) {
			c++
		}
		if !q[c].less(m) {
			break
		}
		q[i] = q[c]
		i = c
	}
	q[i] = m
}

// keep drops the entries that are not live.
func (q *queue) keep(live func(mark) bool) {
	*q = slices.DeleteFunc(*q, func(m mark) bool { return !live(m) })
	for i := len(*q)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}
