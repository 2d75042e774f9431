package transforms

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// identity is a remembered id (V7): which of its versions is in force and how
// long it is remembered. With versions it keeps the event in force raw while
// that can still be replaced.
type identity struct {
	version    int64
	eventTime  schemas.Micros // of the event in force
	memory     schemas.Micros // the greatest event time among its versions seen
	offset     int64          // of the event in force; -1 = forgotten
	id, row    span
	self       ref
	next, prev ref  // in the list of its hour
	accepted   bool // the event in force passes the view's filter
	open       bool // row holds the event in force, not yet sealed
}

// bucketSpan is the interval of event time whose ids and open events make one
// field of the online store's second hash (O1).
const bucketSpan = schemas.Hour

func bucketOf(t schemas.Micros) int64 { return int64(t.Floor(bucketSpan) / bucketSpan) }

// hourIDs are the ids whose event in force lies in one hour (bucketOf), in a list.
type hourIDs struct {
	hour  int64
	first ref
	n     int32
	dirty bool // changed since it was last encoded
}

// identities are the remembered ids of a state.
type identities struct {
	slab  slab
	table idTable
	seed  maphash.Seed
	text  []byte // ids and rows
	dead  int    // bytes of text given up
	hours []hourIDs
	opens queue // open events, by event time
	// memory has the ids whose hour is at most ripe, by memory as it was when it
	// was last looked at: the others cannot end before.
	memory queue
	ripe   int64
	ahead  []mark // ids whose event in force lies ahead of the clock
	// force orders the ids by the event in force, for max_open; it is made when
	// the limit is first passed.
	force   queue
	ordered bool
	sealed  []sealedTile // while parsing
}

func (v *View) newIdentities() *identities { return &identities{seed: v.seed, ripe: math.MinInt64} }

func (x *identities) len() int {
	if x == nil {
		return 0
	}
	return x.table.n
}

// find returns the remembered id; nil = none.
func (x *identities) find(id []byte) *identity {
	if x == nil {
		return nil
	}
	return x.table.find(x, id)
}

// add remembers an id that is not yet. What it stands for is set before put.
func (x *identities) add(id []byte) *identity {
	d := x.slab.take()
	d.id = x.keep(id)
	x.table.add(x.hash(id), d.self)
	return d
}

// hour returns where the ids of an hour are, or would be.
func (x *identities) hour(hour int64) (int, bool) {
	if n := len(x.hours); n > 0 && x.hours[n-1].hour == hour {
		return n - 1, true
	}
	return slices.BinarySearchFunc(x.hours, hour, func(h hourIDs, hour int64) int { return cmp.Compare(h.hour, hour) })
}

// touch notes that the field of an hour has changed.
func (x *identities) touch(hour int64) *hourIDs {
	i, ok := x.hour(hour)
	if !ok {
		x.hours = slices.Insert(x.hours, i, hourIDs{hour: hour})
	}
	x.hours[i].dirty = true
	return &x.hours[i]
}

// takeChanged returns the hours that have changed since the last call, ascending.
func (x *identities) takeChanged() (list []int64) {
	for i := range x.hours {
		if h := &x.hours[i]; h.dirty {
			h.dirty = false
			list = append(list, h.hour)
		}
	}
	x.hours = slices.DeleteFunc(x.hours, func(h hourIDs) bool { return h.n == 0 })
	return list
}

// eachOf calls f with every id of an hour; f may forget it.
func (x *identities) eachOf(h hourIDs, f func(*identity)) {
	for r := h.first; r != 0; {
		d := x.slab.at(r)
		r = d.next
		f(d)
	}
}

// put enters d, or what has changed of it, into its hour. clock says whether it
// lies ahead.
func (x *identities) put(d *identity, clock schemas.Micros) {
	h := x.touch(bucketOf(d.eventTime))
	if d.prev, d.next = 0, h.first; d.next != 0 {
		x.slab.at(d.next).prev = d.self
	}
	h.first = d.self
	h.n++
	if h.hour <= x.ripe {
		x.push(&x.memory, d.remembered(), x.inForce)
	}
	if d.eventTime > clock {
		x.ahead = append(x.ahead, d.inForce())
	}
	if x.ordered {
		x.push(&x.force, d.inForce(), x.inForce)
	}
}

// What makes an entry of a queue worth keeping. Each id has at most one such
// entry in each queue.
func (x *identities) inForce(m mark) bool { _, ok := x.of(m); return ok }
func (x *identities) isOpen(m mark) bool  { d, ok := x.of(m); return ok && d.open }

// push adds an entry to a queue, which is rid of its stale ones when they are
// most of it: its length stays proportional to the ids remembered.
func (x *identities) push(q *queue, m mark, live func(mark) bool) {
	if len(*q) >= 2*x.len()+64 {
		q.keep(live)
	}
	q.push(m)
}

// take removes d from its hour, before a change of its event time or for good.
func (x *identities) take(d *identity) {
	if len(x.ahead) > 0 {
		x.ahead = slices.DeleteFunc(x.ahead, func(m mark) bool { return m.r == d.self })
	}
	h := x.touch(bucketOf(d.eventTime))
	if d.prev != 0 {
		x.slab.at(d.prev).next = d.next
	} else {
		h.first = d.next
	}
	if d.next != 0 {
		x.slab.at(d.next).prev = d.prev
	}
	h.n--
}

// forget removes d for good.
func (x *identities) forget(d *identity) {
	x.take(d)
	x.table.remove(x.hash(x.bytes(d.id)), d.self)
	x.drop(d.id)
	x.drop(d.row)
	x.slab.give(d)
}

// lengthen sets how long d is remembered. Its entry in the queue is put right
// when it comes up: memory only grows.
func (x *identities) lengthen(d *identity, memory schemas.Micros) {
	d.memory = memory
	x.touch(bucketOf(d.eventTime))
}

// forgetBefore forgets the ids whose memory ends before t.
func (x *identities) forgetBefore(t schemas.Micros) {
	if h := bucketOf(t); h > x.ripe {
		x.ripen(h, t)
	}
	for {
		m, ok := x.memory.min()
		if !ok || m.key >= int64(t) {
			return
		}
		x.memory.pop()
		switch d, ok := x.of(m); {
		case !ok:
		case d.memory < t:
			x.forget(d)
		default:
			x.memory.push(d.remembered())
		}
	}
}

// ripen looks at the ids of the hours up to h for the first time.
func (x *identities) ripen(h int64, t schemas.Micros) {
	for i := 0; i < len(x.hours) && x.hours[i].hour <= h; i++ {
		if x.hours[i].hour <= x.ripe {
			continue
		}
		x.eachOf(x.hours[i], func(d *identity) {
			if d.memory < t {
				x.forget(d)
			} else {
				x.memory.push(d.remembered())
			}
		})
	}
	x.ripe = h
}

// opened keeps the event in force of d raw.
func (x *identities) opened(d *identity, row []byte) {
	d.open, d.row = true, x.keep(row)
	x.touch(bucketOf(d.eventTime))
	x.push(&x.opens, d.inForce(), x.isOpen)
}

// closed stops keeping it raw.
func (x *identities) closed(d *identity) {
	x.drop(d.row)
	d.open, d.row = false, 0
	x.touch(bucketOf(d.eventTime))
}

// nextOpen returns an open event before t, nil when there is none.
func (x *identities) nextOpen(t schemas.Micros) *identity {
	for {
		m, ok := x.opens.min()
		if ok && !x.isOpen(m) {
			x.opens.pop()
			continue
		}
		if !ok || m.key >= int64(t) {
			return nil
		}
		return x.slab.at(m.r)
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
		for _, h := range x.hours {
			x.eachOf(h, func(d *identity) { x.force.push(d.inForce()) })
		}
		x.ordered = true
	}
	for {
		m, ok := x.force.min()
		if !ok {
			return nil
		}
		if d, ok := x.of(m); ok {
			return d
		}
		x.force.pop()
	}
}

// remembered returns its entry in the queue of memories.
func (d *identity) remembered() mark { return mark{key: int64(d.memory), offset: d.offset, r: d.self} }

// openEvent returns the event in force of d, which is open.
func (x *identities) openEvent(d *identity) held {
	return held{d.eventTime, d.version, d.offset, x.rowOf(d), nil}
}

// sorted returns the ids of an hour in the order of their bytes.
func (x *identities) sorted(hour int64) []*identity {
	i, ok := x.hour(hour)
	if !ok {
		return nil
	}
	list := make([]*identity, 0, x.hours[i].n)
	x.eachOf(x.hours[i], func(d *identity) { list = append(list, d) })
	slices.SortFunc(list, func(a, b *identity) int { return bytes.Compare(x.bytes(a.id), x.bytes(b.id)) })
	return list
}
