package avro

import (
	"fmt"
	"unicode/utf8"

	"github.com/tallystick/tallystick/schemas"
)

// items says what is read of an array's items or of a map's values.
type items struct {
	size  int32 // where the count goes, -1 = nowhere
	empty bool  // items take no bytes
	picks []pick
	tests []test
}

// pick is an item or a value that somebody reads.
type pick struct {
	index int64  // of an array's item, ascending among picks
	key   string // of a map's value
	pc    int32  // of the part that reads it
	// clear lists what the part reads: when a key comes twice, the last one counts.
	clear []int32
}

// test is whether an item, or a key, equals a constant.
type test struct {
	value schemas.Value
	pc    int32 // of the part that reads an item into dst
	dst   int32
}

// items emits an array or a map that somebody reads something of: the walk over
// an item nobody asked for, as skipItems has it, then the parts of picks and
// tests.
func (c *compiler) items(w, r *node, wanted *want, path, at string) {
	if len(wanted.size)+len(wanted.in)+len(wanted.items)+len(wanted.keys) == 0 {
		c.skipItems(w, at)
		return
	}
	it := items{size: -1, empty: w.kind == kArray && c.empty(w.items)}
	if len(wanted.size) > 0 {
		it.size = wanted.size[0].dst
	}
	c.d.partial = true // what is not there reads null
	head := c.emit(op{code: opItems}, at)
	if w.kind == kMap {
		c.d.ops[head].code = opEntries
	}
	c.label()
	c.skip(w.items, at)
	c.emit(op{code: opReturn}, at)
	for _, i := range sorted(wanted.items) {
		it.picks = append(it.picks, c.pick(w, r, wanted.items[i], pick{index: i}, fmt.Sprintf("%s[%d]", path, i), at))
	}
	for _, k := range sorted(wanted.keys) {
		it.picks = append(it.picks, c.pick(w, r, wanted.keys[k], pick{key: k}, fmt.Sprintf("%s[%q]", path, k), at))
	}
	for _, l := range wanted.in {
		value, _ := contained(r, l.target) // Lookup has seen to it that it can be
		t := test{value: value, dst: l.dst}
		if w.kind == kArray {
			t.pc = c.part(w, r, &want{value: []leaf{l}}, l.path, at)
		}
		it.tests = append(it.tests, t)
	}
	c.d.items = append(c.d.items, it)
	c.d.ops[head].dst = int32(len(c.d.items) - 1)
	c.d.ops[head].n = int32(len(c.d.ops))
	c.label()
}

func (c *compiler) pick(w, r *node, wanted *want, p pick, path, at string) pick {
	for _, l := range wanted.leaves() {
		p.clear = append(p.clear, l.dst)
	}
	p.pc = c.part(w, r, wanted, path, at)
	return p
}

// part emits the reading of an item and returns where it begins.
func (c *compiler) part(w, r *node, wanted *want, path, at string) int32 {
	c.label()
	pc := len(c.d.ops)
	c.value(w.items, r.items, wanted, path, at)
	c.emit(op{code: opReturn}, at)
	return int32(pc)
}

// items walks the array or map at op pc, of which something is read, and returns
// the position behind it, negative for a fault. Limits are those of blocks.
func (w *walk) items(pc, pos, depth int) int {
	it := &w.d.items[w.d.ops[pc].dst]
	for _, t := range it.tests {
		w.dst[t.dst] = schemas.BoolValue(false)
	}
	isMap := w.d.ops[pc].code == opEntries
	total := int64(0)
	picks := it.picks // that are still to come
	for {
		count, at, blockEnd := w.block(pc, pos, it.empty, total)
		if pos = at; count == 0 {
			break
		}
		first := total
		total += count
		switch {
		case isMap:
			for ; count > 0 && pos >= 0; count-- {
				pos = w.entry(it, pc, pos, depth)
			}
		case it.empty:
			pos = w.emptyItems(it, first, total, pos, depth)
		default:
			for i := first; i < total && pos >= 0; i++ {
				part := pc + 1
				if len(picks) > 0 && picks[0].index == i {
					part, picks = int(picks[0].pc), picks[1:]
				}
				if pos = w.find(it.tests, pos, depth); pos >= 0 {
					pos = w.run(part, pos, depth)
				}
			}
		}
		if pos < 0 {
			return pos
		}
		if blockEnd >= 0 && pos != blockEnd {
			return w.fail(pc, pos, failed(faultBlock))
		}
	}
	if pos >= 0 && it.size >= 0 {
		w.dst[it.size] = schemas.IntValue(total)
	}
	return pos
}

// emptyItems reads what is asked of items that take no bytes, first to last:
// their number is not bounded by the body, so they are not walked one by one.
func (w *walk) emptyItems(it *items, first, last int64, pos, depth int) int {
	pos = w.find(it.tests, pos, depth)
	for i := range it.picks {
		if p := &it.picks[i]; first <= p.index && p.index < last && pos >= 0 {
			pos = w.run(int(p.pc), pos, depth)
		}
	}
	return pos
}

// find reads the item at pos for each test that has not been met, and returns
// pos, negative for a fault.
func (w *walk) find(tests []test, pos, depth int) int {
	for _, t := range tests {
		if w.dst[t.dst] == schemas.BoolValue(true) {
			continue
		}
		w.dst[t.dst] = schemas.Value{}
		if end := w.run(int(t.pc), pos, depth); end < 0 {
			return end
		}
		w.dst[t.dst] = schemas.BoolValue(w.dst[t.dst].Equal(t.value))
	}
	return pos
}

// entry walks one entry of a map.
func (w *walk) entry(it *items, pc, pos, depth int) int {
	start, end := extent(w.body, pos)
	if end >= 0 && !utf8.Valid(w.body[start:end]) {
		end = failed(faultUTF8)
	}
	if end < 0 {
		return w.fail(pc, pos, end)
	}
	key := w.body[start:end]
	for _, t := range it.tests {
		if string(key) == t.value.Text() {
			w.dst[t.dst] = schemas.BoolValue(true)
		}
	}
	part := pc + 1
	for i := range it.picks {
		if p := &it.picks[i]; string(key) == p.key {
			for _, dst := range p.clear {
				w.dst[dst] = schemas.Value{}
			}
			part = int(p.pc)
		}
	}
	return w.run(part, end, depth)
}
