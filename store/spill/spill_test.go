package spill

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

// testRow is a row that no other one equals.
func testRow(r *rand.Rand, n int) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(r.IntN(20)))
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	if r.IntN(50) == 0 {
		return append(b, make([]byte, r.IntN(200_000))...) // larger than a buffer now and then
	}
	return append(b, make([]byte, r.IntN(1+r.IntN(2000)))...)
}

func newTest(t testing.TB, memory int, disk int64) *Sorter {
	return newPrefixed(t, memory, disk, nil)
}

// prefixes order a few rows, many, or all of them.
var prefixes = []func(row []byte) Prefix{nil, func(row []byte) Prefix { return PrefixOf(row[:2]) },
	func(row []byte) Prefix { return Prefix{0, 0, PrefixOf(row[:2])[0]} }, PrefixOf}

func newPrefixed(t testing.TB, memory int, disk int64, prefix func(row []byte) Prefix) *Sorter {
	return newPooled(t, memory, disk, prefix, nil)
}

func newPooled(t testing.TB, memory int, disk int64, prefix func(row []byte) Prefix, pool *Pool) *Sorter {
	s := New(Options{Path: filepath.Join(t.TempDir(), "rows"), Memory: memory, Disk: NewDisk(disk), Compare: bytes.Compare, Prefix: prefix, Pool: pool})
	t.Cleanup(func() { s.Close() })
	return s
}

// Whatever the memory, every row comes back once, in order, any number of times, and
// nothing is left behind (B1, B3), of earlier sorters neither.
func TestSorted(t *testing.T) {
	runs := 0
	var pool Pool
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := newPooled(t, 1<<(16+r.IntN(5)), 0, prefixes[seed%uint64(len(prefixes))], &pool)
		var want [][]byte
		for i := range r.IntN(900) {
			row := testRow(r, i)
			want = append(want, slices.Clone(row))
			if err := s.Add(row); err != nil {
				t.Fatal(err)
			}
			clear(row) // nothing of it may be kept
		}
		slices.SortFunc(want, bytes.Compare)
		for range 2 {
			var got [][]byte
			err := s.Each(t.Context(), func(row []byte) error {
				got = append(got, slices.Clone(row))
				return nil
			})
			if err != nil || !slices.EqualFunc(got, want, slices.Equal[[]byte]) {
				t.Fatalf("seed %d: B3: %d runs: %d rows come back of %d, or in another order: %v", seed, len(s.runs), len(got), len(want), err)
			}
		}
		runs += len(s.runs)
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.o.Path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("seed %d: the file is left behind: %v", seed, err)
		}
	}
	if runs < 100 {
		t.Errorf("%d runs: the test merges next to nothing", runs)
	}
}

// Memory is what was allowed, nothing is written while the rows fit, and what
// would pass the disk limit is refused before it is written (B3).
func TestBounds(t *testing.T) {
	const memory, disk = 1 << 20, 1 << 22
	r := rand.New(rand.NewPCG(1, 1))
	s := newTest(t, memory, disk)
	row := func(i int) []byte { return testRow(r, i)[:6] }
	added := 0
	var err error
	for i := 0; err == nil && i < 1_000_000; i++ {
		x := append(row(i), make([]byte, r.IntN(300))...)
		if err = s.Add(x); err == nil {
			added += len(x) + pieceHead + groupSize + 2*slotSize
		}
		if taken := taken(s.buffer); taken > memory {
			t.Fatalf("B3: row %d: %d bytes are held, %d are allowed", i, taken, memory)
		}
		if added < memory/2 && s.Spilled() > 0 {
			t.Fatalf("B3: %d bytes of rows are spilled though %d are allowed in memory", added, memory)
		}
	}
	if !errors.Is(err, ErrDisk) {
		t.Fatalf("B3: %v, want ErrDisk", err)
	}
	fi, e := os.Stat(s.o.Path)
	if e != nil {
		t.Fatal(e)
	}
	if n := fi.Size(); n > disk || n < disk/2 || n != s.Spilled() {
		t.Errorf("B3: %d bytes are in the file, %d counted, %d allowed", n, s.Spilled(), disk)
	}
	if again := s.Add(row(0)); !errors.Is(again, ErrDisk) {
		t.Errorf("after ErrDisk: %v", again)
	}
	if e := s.Each(t.Context(), func([]byte) error { return nil }); !errors.Is(e, ErrDisk) {
		t.Errorf("rows that are not all there are read: %v", e)
	}
}

// An error of the file, of fn and of the context is returned and ends the work (B3).
func TestFails(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	s := New(Options{Path: filepath.Join(t.TempDir(), "no", "rows"), Compare: bytes.Compare})
	added := 0
	for added < 100_000 && s.Add(testRow(r, added)) == nil {
		added++
	}
	if added == 100_000 {
		t.Error("runs are written into no directory")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Add(nil), s.Each(t.Context(), nil)); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}

	s = newTest(t, 1<<12, 0)
	for i := range 10_000 {
		if err := s.Add(testRow(r, i)); err != nil {
			t.Fatal(err)
		}
	}
	stop, n := errors.New("stop"), 0
	if err := s.Each(t.Context(), func([]byte) error { n++; return stop }); err != stop || n != 1 {
		t.Errorf("after fn failed: %v, %d rows", err, n)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	n = 0
	if err := s.Each(ctx, func([]byte) error { n++; cancel(stop); return nil }); err != stop || n > 2000 {
		t.Errorf("after the context ended: %v, %d rows", err, n)
	}
	if err := os.Truncate(s.o.Path, s.size-100); err != nil {
		t.Fatal(err)
	}
	if err := s.Each(t.Context(), func([]byte) error { return nil }); err == nil {
		t.Error("a file that was cut short reads as if it were whole")
	}
}

// What is added and read again, a million rows of 100 bytes.
func BenchmarkSorter(b *testing.B) {
	for _, memory := range []int{32 << 20, 256 << 20} {
		b.Run(fmt.Sprintf("memory=%dMB", memory>>20), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				benchmark(b, newTest(b, memory, 0))
			}
		})
	}
}

func benchmark(b *testing.B, s *Sorter) {
	r := rand.New(rand.NewPCG(1, 1))
	row := make([]byte, 100)
	for range 1_000_000 {
		binary.BigEndian.PutUint64(row, r.Uint64())
		if err := s.Add(row); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(s.Each(b.Context(), func([]byte) error { return nil }), s.Close()); err != nil {
		b.Fatal(err)
	}
}

// B3: sorters of one job share a budget; what a closed one held is free again.
func TestDiskIsShared(t *testing.T) {
	const memory = 192 << 10
	budget := NewDisk(600 << 10)
	fill := func() (*Sorter, error) {
		s := New(Options{Path: filepath.Join(t.TempDir(), "rows"), Memory: memory, Disk: budget, Compare: bytes.Compare})
		t.Cleanup(func() { s.Close() })
		for range 500 {
			if err := s.Add(make([]byte, 1<<10)); err != nil {
				return s, err
			}
		}
		return s, s.Each(t.Context(), func([]byte) error { return nil })
	}
	first, err := fill()
	if err != nil || first.Spilled() == 0 {
		t.Fatalf("the first sorter spills %d bytes: %v", first.Spilled(), err)
	}
	second, err := fill()
	if !errors.Is(err, ErrDisk) {
		t.Errorf("B3: the second sorter gets %v, want ErrDisk", err)
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := fill(); err != nil {
		t.Errorf("B3: after both are closed: %v", err)
	}
}

// B3: sorters, one after the other, take the memory of one.
func TestPool(t *testing.T) {
	const memory, rows = 8 << 20, 3000
	row := make([]byte, 1000)
	sortAll := func(pool *Pool) {
		s := newPooled(t, memory, 0, nil, pool)
		for i := range rows {
			binary.BigEndian.PutUint32(row, uint32(i))
			if err := s.Add(row); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(s.Each(t.Context(), func([]byte) error { return nil }), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	allocated := func(pool *Pool) uint64 {
		defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would empty the pool
		sortAll(pool)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 10 {
			sortAll(pool)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	with, without := allocated(new(Pool)), allocated(nil)
	if with > without/4*3 || without < 10*rows*1000 { // with -race, pools forget much
		t.Errorf("10 sorters took %d bytes, without a pool %d", with, without)
	}
}

// B3: what a row beyond the limit took is not kept for sorters that come later.
func TestPoolKeepsNoMoreThanTheLimit(t *testing.T) {
	var pool Pool
	for _, size := range []int{100, 100 << 10, 10 << 20} {
		s := newPooled(t, 1<<20, 0, nil, &pool)
		if err := errors.Join(s.Add(make([]byte, size)), s.Close()); err != nil {
			t.Fatal(err)
		}
		for b, _ := pool.free.Get().(*buffer); b != nil; b, _ = pool.free.Get().(*buffer) {
			if b.held() > b.limit {
				t.Errorf("B3: %d bytes are kept after a row of %d, %d are allowed", b.held(), size, b.limit)
			}
		}
	}
}
