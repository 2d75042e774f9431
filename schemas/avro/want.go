package avro

import (
	"cmp"
	"maps"
	"slices"
)

// want is the tree of what is asked of a value: by the paths that end at it, and
// by those that lead on into it.
type want struct {
	value   []leaf
	present []leaf
	size    []leaf
	in      []leaf
	kids    map[string]*want // of a record, by the reader's field
	items   map[int64]*want  // of an array
	keys    map[string]*want // of a map
}

// leaf is one path and its place in dst.
type leaf struct {
	target
	path string
	dst  int32
}

func (w *want) add(path string, t target, dst int32) {
	for _, s := range t.steps {
		switch s.kind {
		case stepField:
			w = within(&w.kids, s.name)
		case stepItem:
			w = within(&w.items, s.index)
		case stepKey:
			w = within(&w.keys, s.name)
		}
	}
	list := map[reading]*[]leaf{readValue: &w.value, readPresent: &w.present, readSize: &w.size, readIn: &w.in}[t.reads]
	*list = append(*list, leaf{t, path, dst})
}

func within[K comparable](m *map[K]*want, key K) *want {
	if *m == nil {
		*m = map[K]*want{}
	}
	if (*m)[key] == nil {
		(*m)[key] = &want{}
	}
	return (*m)[key]
}

// sorted returns the entries of m in the order of their keys: programs and
// messages do not depend on the order of maps.
func sorted[K cmp.Ordered](m map[K]*want) []K { return slices.Sorted(maps.Keys(m)) }

// leaves returns all paths that end at the value or within, in a fixed order.
func (w *want) leaves() []leaf {
	out := slices.Concat(w.value, w.present, w.size, w.in)
	for _, k := range sorted(w.kids) {
		out = append(out, w.kids[k].leaves()...)
	}
	for _, k := range sorted(w.items) {
		out = append(out, w.items[k].leaves()...)
	}
	for _, k := range sorted(w.keys) {
		out = append(out, w.keys[k].leaves()...)
	}
	return out
}
