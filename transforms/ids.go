package transforms

import (
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// identity is a remembered id (V7): which of its versions is in force and how
// long it is remembered. With versions it keeps the event in force raw while
// that can still be replaced.
type identity struct {
	id        string
	version   int64
	eventTime schemas.Micros // of the event in force
	memory    schemas.Micros // the greatest event time among its versions seen
	offset    int64          // of the event in force
	accepted  bool           // the event in force passes the view's filter
	open      bool           // row holds the event in force, not yet sealed
	gone      bool           // forgotten
	listed    bool           // has an entry in the queue of memories
	row       string
	at        int // index in its bucket
}

// bucketSpan is the interval of event time whose ids and open events make one
// field of the online store's second hash (O1).
const bucketSpan = schemas.Hour

func bucketOf(t schemas.Micros) int64 { return int64(t.Floor(bucketSpan) / bucketSpan) }

// identities are the remembered ids of a state.
type identities struct {
	byID    map[string]*identity
	buckets map[int64][]*identity // by bucketOf(eventTime)
	dirty   map[int64]struct{}    // buckets changed since they were last encoded
	opens   queue                 // open events, by event time
	memory  queue                 // ids, by memory as it was when it was last looked at
	ahead   []mark                // ids whose event in force lies ahead of the clock
	// force orders the ids by the event in force, for max_open; it is made when
	// the limit is first passed.
	force   queue
	ordered bool
	sealed  []sealedTile // while parsing
}

func newIdentities() *identities {
	return &identities{byID: map[string]*identity{}, buckets: map[int64][]*identity{}, dirty: map[int64]struct{}{}}
}

func (x *identities) len() int {
	if x == nil {
		return 0
	}
	return len(x.byID)
}

// find returns the remembered id; nil = none.
func (x *identities) find(id []byte) *identity {
	if x == nil {
		return nil
	}
	return x.byID[string(id)]
}

// put remembers d, or what has changed of it. clock says whether it lies ahead.
func (x *identities) put(d *identity, clock schemas.Micros) {
	x.byID[d.id] = d
	b := bucketOf(d.eventTime)
	d.at = len(x.buckets[b])
	x.buckets[b] = append(x.buckets[b], d)
	x.dirty[b] = struct{}{}
	if !d.listed {
		d.listed = true
		x.push(&x.memory, mark{key: int64(d.memory), d: d}, remembered)
	}
	if d.eventTime > clock {
		x.ahead = append(x.ahead, d.inForce())
	}
	if x.ordered {
		x.push(&x.force, d.inForce(), inForce)
	}
}

// What makes an entry of a queue worth keeping. Each id has at most one such
// entry in each queue.
func remembered(m mark) bool { return !m.d.gone }
func inForce(m mark) bool    { return !m.stale(true) }
func isOpen(m mark) bool     { return !m.stale(m.d.open) }

// push adds an entry to a queue, which is rid of its stale ones when they are
// most of it: its length stays proportional to the ids remembered.
func (x *identities) push(q *queue, m mark, live func(mark) bool) {
	if len(*q) >= 2*len(x.byID)+64 {
		q.keep(live)
	}
	q.push(m)
}

// take removes d from its bucket, before a change of its event time or for good.
func (x *identities) take(d *identity) {
	x.ahead = slices.DeleteFunc(x.ahead, func(m mark) bool { return m.d == d })
	b := bucketOf(d.eventTime)
	list := x.buckets[b]
	end := len(list) - 1
	list[d.at] = list[end]
	list[d.at].at = d.at
	list[end] = nil
	if x.buckets[b] = list[:end]; end == 0 {
		delete(x.buckets, b)
	}
	x.dirty[b] = struct{}{}
}

// forget removes d for good.
func (x *identities) forget(d *identity) {
	x.take(d)
	d.gone = true
	delete(x.byID, d.id)
}

// lengthen sets how long d is remembered. Its entry in the queue is put right
// when it comes up: memory only grows.
func (x *identities) lengthen(d *identity, memory schemas.Micros) {
	d.memory = memory
	x.dirty[bucketOf(d.eventTime)] = struct{}{}
}

// forgetBefore forgets the ids whose memory ends before t.
func (x *identities) forgetBefore(t schemas.Micros) {
	for {
		m, ok := x.memory.min()
		if !ok || m.key >= int64(t) {
			return
		}
		x.memory.pop()
		switch {
		case m.d.gone:
		case m.d.memory < t:
			x.forget(m.d)
		default:
			x.memory.push(mark{key: int64(m.d.memory), d: m.d})
		}
	}
}

// opened keeps the event in force of d raw.
func (x *identities) opened(d *identity, row string) {
	d.open, d.row = true, row
	x.dirty[bucketOf(d.eventTime)] = struct{}{}
	x.push(&x.opens, d.inForce(), isOpen)
}

// closed stops keeping it raw.
func (x *identities) closed(d *identity) {
	d.open, d.row = false, ""
	x.dirty[bucketOf(d.eventTime)] = struct{}{}
}

// nextOpen returns an open event before t, nil when there is none.
func (x *identities) nextOpen(t schemas.Micros) *identity {
	for {
		m, ok := x.opens.min()
		if ok && m.stale(m.d.open) {
			x.opens.pop()
			continue
		}
		if !ok || m.key >= int64(t) {
			return nil
		}
		return m.d
	}
}

// settleAhead drops from ahead what the clock has reached.
func (x *identities) settleAhead(clock schemas.Micros) {
	x.ahead = slices.DeleteFunc(x.ahead, func(m mark) bool { return m.key <= int64(clock) })
}

// least returns the id whose event in force is the least by (event time,
// version, offset).
func (x *identities) least() *identity {
	if !x.ordered {
		for _, d := range x.byID {
			x.force.push(d.inForce())
		}
		x.ordered = true
	}
	for {
		m, ok := x.force.min()
		if !ok {
			return nil
		}
		if !m.stale(true) {
			return m.d
		}
		x.force.pop()
	}
}

// mark is an entry of a queue: an id as it stood when the entry was made.
type mark struct {
	key     int64
	version int64
	offset  int64
	d       *identity
}

func (d *identity) inForce() mark {
	return mark{key: int64(d.eventTime), version: d.version, offset: d.offset, d: d}
}

// stale tells whether the id has changed since; wanted is what else must hold.
func (m mark) stale(wanted bool) bool {
	return !wanted || m.d.gone || m.d.offset != m.offset
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
