package spill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// walked returns the rows in memory, in their order.
func walked(b *buffer, o *Options) (out [][]byte) {
	for w := (&walk{b: b, o: o}); ; {
		row, err := w.next()
		if err == io.EOF {
			return out
		}
		out = append(out, slices.Clone(row))
	}
}

// B1, B3: rows that come group by group, in order, nearly so or in none, stand in the
// order of a plain sort, in memory and in a run; what they take is counted, and no more
// than allowed.
func TestGrouped(t *testing.T) {
	ordered, jumbled, full := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		apart := rapid.SampledFrom([]int{1, 3, 300}).Draw(t, "groups")
		sorted := rapid.Bool().Draw(t, "in order")
		long := rapid.SampledFrom([]int{0, 10, 3000, 9000}).Draw(t, "length")
		o, zeros := &Options{Compare: bytes.Compare, Prefix: func(row []byte) Prefix { return PrefixOf(row[:17]) }}, 0 // the end is no part of it
		if rapid.Bool().Draw(t, "long keys") {
			zeros = 4
			o.Prefix, o.Group = func(row []byte) Prefix { return PrefixOf(row[:21]) }, func(row []byte) []byte { return row[:20] }
		}
		b := &buffer{limit: rapid.SampledFrom([]int{minBuffer, 1 << 20}).Draw(t, "limit")}
		var want [][]byte
		for n := range rapid.SampledFrom([]int{0, 5, 60, 400}).Draw(t, "rows") {
			key := byte(n / 2)
			if !sorted {
				key = rapid.Byte().Draw(t, "key")
			}
			of := rapid.IntRange(0, apart-1).Draw(t, "group")
			row := append(make([]byte, zeros, 3*zeros+24), bytes.Repeat([]byte{7}, 12)...)
			row = append(row, byte(of>>8), byte(of), 0, 0, key, byte(n>>8), byte(n))
			row = append(row, make([]byte, rapid.IntRange(0, long).Draw(t, "more"))...)
			if !b.add(row, o) {
				full++
				break
			}
			if taken := taken(b); taken > b.limit || taken != b.held() {
				t.Fatalf("B3: %d rows take %d bytes, of which %d are counted; %d are allowed", len(want)+1, taken, b.held(), b.limit)
			}
			want = append(want, row)
		}
		for _, g := range b.groups.list {
			if g.disorder && sorted {
				t.Fatal("rows of a group that came in order are sorted")
			}
			if g.disorder {
				jumbled++
			} else if g.rows > 1 {
				ordered++
			}
		}
		slices.SortFunc(want, bytes.Compare)
		b.sortGroups(o)
		if got := walked(b, o); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%d rows of %d come back, or in another order", len(got), len(want))
		}
	})
	if !testing.Short() && min(ordered, jumbled, 10*full) < 10 {
		t.Errorf("%d groups in order, %d not, %d times full: the test sees too little", ordered, jumbled, full)
	}
}

// taken returns the bytes that a buffer takes, with the index that sorting it takes.
func taken(b *buffer) int {
	rows := 0
	for _, g := range b.groups.list {
		if g.disorder {
			rows = max(rows, int(g.rows))
		}
	}
	n := indexCost*max(rows, cap(b.index)) + groupSize*cap(b.groups.list) + slotSize*len(b.groups.table)
	for _, s := range b.slabs {
		n += cap(s)
	}
	return n
}

// B3: what is counted for a group and for a row of an index is what they take.
func TestSizes(t *testing.T) {
	if g, x := unsafe.Sizeof(group{}), unsafe.Sizeof(rowAt{}); g != groupSize || x != indexCost {
		t.Errorf("a group takes %d bytes, a row of an index %d", g, x)
	}
}

// B3: whatever came before, the next rows have the memory that earlier ones took and these
// do not, be it for an index, for groups or for rows of other lengths.
func TestRunsAfterOtherRows(t *testing.T) {
	const memory, bytesEach = 1 << 20, 8 << 20
	r := rand.New(rand.NewPCG(1, 1))
	kinds := map[string]struct {
		runs int // at most
		row  func(n int) []byte
	}{
		"one group, out of order": {20, func(n int) []byte { return binary.BigEndian.AppendUint64(make([]byte, 16, 400), uint64(-n)) }},
		"groups in order":         {12, func(n int) []byte { return append(make([]byte, 15, 400), byte(n), byte(n>>16), byte(n>>8)) }},
		"long":                    {20, func(int) []byte { return append(make([]byte, 70_000+r.IntN(70_000)), byte(r.Int())) }},
	}
	for before, x := range kinds {
		for after, y := range kinds {
			s := newTest(t, memory, 0)
			s.o.Prefix = PrefixOf
			add := func(row func(int) []byte) int {
				runs, size := len(s.runs), 0
				for n := 0; size < bytesEach; n++ {
					b := row(n)
					if len(b) < 400 {
						b = b[:len(b)+100]
					}
					size += len(b)
					if err := s.Add(b); err != nil {
						t.Fatal(err)
					}
				}
				return len(s.runs) - runs
			}
			add(x.row)
			if runs := add(y.row); runs > y.runs {
				t.Errorf("B3: %s, then %s: %d runs of %d bytes, with memory for %d", before, after, runs, bytesEach, memory)
			}
		}
	}
}

// B3: neither numbers that follow one another nor names that were chosen for it make
// groups hard to find.
func TestGroupsAreFound(t *testing.T) {
	const n = 20_000
	for what, name := range map[string]func(i uint64) Prefix{
		"numbers":      func(i uint64) Prefix { return PrefixOf(binary.BigEndian.AppendUint64([]byte{3}, i)) },
		"times of day": func(i uint64) Prefix { return PrefixOf(binary.BigEndian.AppendUint64([]byte{5}, i*86_400_000_000)) },
		"digits":       func(i uint64) Prefix { return PrefixOf(fmt.Appendf([]byte{4, 8}, "%08d", i)) },
		"chosen": func(i uint64) Prefix {
			h := i * 0x9e3779b97f4a7c15
			return Prefix{i, h ^ h>>32}
		},
	} {
		var g groups
		for i := range uint64(n) {
			p := name(i)
			g.insert(hashOf(&p, nil), &p)
		}
		looks := 0
		for at, n := range g.table {
			if n > 0 {
				looks += 1 + (at-int(g.list[n-1].hash))&(len(g.table)-1)
			}
		}
		if looks > 3*n {
			t.Errorf("%s: a group is found at look %d", what, looks/n)
		}
	}
}

// B3: a group that has as many rows as can be counted goes to a run, and on in the next.
func TestRowsOfAGroupAreCounted(t *testing.T) {
	b, o := &buffer{limit: minBuffer}, &Options{Compare: bytes.Compare, Prefix: PrefixOf}
	if !b.add([]byte("a"), o) || !b.add([]byte("b"), o) {
		t.Fatal("an empty buffer takes no row")
	}
	b.groups.list[0].rows = math.MaxInt32
	if b.add([]byte("a"), o) || !b.add([]byte("b"), o) {
		t.Error("B3: the count of a group's rows overflows, or that of another one counts")
	}
}

// B3: little memory is lost behind rows that do not fill their places.
func TestRunsAreLong(t *testing.T) {
	const memory, size = 16 << 20, 96 << 20
	for _, lengths := range [][]int{{20}, {350}, {600}, {3000}, {200_000}, {1_400_000}, {100, 1_400_000}} {
		s := newTest(t, memory, 0)
		s.o.Prefix = PrefixOf
		for n, sum := 0, 0; sum < size; n++ {
			row := make([]byte, lengths[n%len(lengths)])
			row[15] = byte(n)
			binary.BigEndian.PutUint32(row[16:], uint32(n))
			if err := s.Add(row); err != nil {
				t.Fatal(err)
			}
			sum += len(row)
		}
		if n := len(s.runs); n > 8 { // 6 is all that memory is
			t.Errorf("B3: rows of %d bytes: %d runs of %d bytes, with memory for %d", lengths, n, size, memory)
		}
		s.Close()
	}
}
