package transforms

import "unsafe"

// Decoded returns about how many bytes a state takes in memory beside its served
// part: its lists of tiles, and what of them is kept decoded; its ids.
func (s *State) Decoded() int {
	n := len(s.levels) * int(unsafe.Sizeof(tileList{}))
	for li := range s.levels {
		x := &s.levels[li]
		if x.hot != nil {
			n += x.hot.footprint()
		}
		if r := x.runs; r != nil {
			n += (cap(r.runs) + 1) * r.next.sum.footprint()
		}
	}
	return n + s.IDs()
}

// IDs returns about how many bytes the remembered ids take in memory, with the
// events that are kept raw.
func (s *State) IDs() int { return s.ids.footprint() }

func (t *tile) footprint() int {
	n := int(unsafe.Sizeof(*t)) + cap(t.cells)*int(unsafe.Sizeof(cell{}))
	for i := range t.cells {
		if x := t.cells[i].x; x != nil {
			n += int(unsafe.Sizeof(*x)) + cap(x.hashes)*8 + cap(x.list)*int(unsafe.Sizeof(ranked{})) + cap(x.buckets)*int(unsafe.Sizeof(bucket{}))
		}
	}
	return n
}
