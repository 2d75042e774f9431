package spill

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// B1, B3: rows that come group by group, nearly in order or in none, stand in the
// order of a plain sort; grouping gives up where it has no use,
// and leaves the rows as they were.
func TestGrouped(t *testing.T) {
	grouped, given, inOrder := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		apart := rapid.SampledFrom([]int{1, 3, 300}).Draw(t, "groups")
		sorted := rapid.Bool().Draw(t, "in order")
		b := &buffer{limit: 1 << 20}
		var want [][]byte
		for n := range rapid.IntRange(0, 400).Draw(t, "rows") {
			key := byte(n / 2)
			if !sorted {
				key = rapid.Byte().Draw(t, "key")
			}
			of := rapid.IntRange(0, apart-1).Draw(t, "group")
			row := append(bytes.Repeat([]byte{7}, 12), byte(of>>8), byte(of), 0, 0, key, byte(n>>8), byte(n)) // the end is no part of the prefix
			p := PrefixOf(row[:17])
			b.add(row, p)
			want = append(want, row)
		}
		before := slices.Clone(b.index)
		if b.group() {
			grouped++
		} else if given++; !slices.EqualFunc(b.index, before, func(x, y rowAt) bool { return x.from == y.from && x.chunk == y.chunk }) {
			t.Fatal("rows that were not grouped have moved")
		}
		b.index = before
		b.sort(bytes.Compare)
		slices.SortFunc(want, bytes.Compare)
		for i, x := range b.index {
			if !bytes.Equal(b.row(x), want[i]) {
				t.Fatalf("row %d of %d is another one", i, len(want))
			}
		}
		if sorted {
			inOrder++
		}
	})
	if !testing.Short() && min(grouped, given, inOrder) < 10 {
		t.Errorf("%d times grouped, %d times given up, %d times in order: the test sees too little", grouped, given, inOrder)
	}
}
