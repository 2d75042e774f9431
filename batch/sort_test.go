package batch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// sortRow makes a row in the form of Input.AppendInput.
func sortRow(r *rand.Rand, offset int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.IntN(5)))
	b = binary.BigEndian.AppendUint32(b, uint32(r.IntN(3)))
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	entity := fmt.Sprint("e", r.IntN(6))
	b = append(binary.AppendUvarint(b, uint64(len(entity))), entity...)
	return append(b, make([]byte, r.IntN(1+r.IntN(300)))...)
}

// TestSorter: whatever the limit, every row comes back once, in order, shard by
// shard, and nothing is left behind (B3).
func TestSorter(t *testing.T) {
	const shards = 5
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		dir := filepath.Join(t.TempDir(), "spill")
		s := newSorter(dir, 1+r.IntN(1<<(1+r.IntN(18))), 0)
		want := make([][][]byte, shards)
		var wg sync.WaitGroup
		for g := range 3 {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			rows := map[int][][]byte{}
			for i := range r.IntN(200) {
				shard := r.IntN(shards) / (1 + r.IntN(2)) // some may stay empty
				rows[shard] = append(rows[shard], sortRow(r, 3*i+g))
			}
			for shard, rs := range rows {
				want[shard] = append(want[shard], rs...)
			}
			wg.Go(func() {
				for shard, rs := range rows {
					for _, row := range rs {
						if err := s.add(shard, slices.Clone(row)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		s.finish()
		err := eachShard(t.Context(), shards, 1+r.IntN(4), func(ctx context.Context, shard int) error {
			slices.SortFunc(want[shard], compareRows)
			var got [][]byte
			err := s.shard(ctx, shard, func(row []byte) error {
				got = append(got, slices.Clone(row))
				return nil
			})
			if !slices.EqualFunc(got, want[shard], slices.Equal[[]byte]) {
				return fmt.Errorf("shard %d: %d rows come back of %d, or in another order", shard, len(got), len(want[shard]))
			}
			return err
		})
		if err != nil {
			t.Fatalf("seed %d: B3: limit %d, %d runs: %v", seed, s.limit, len(s.runs), err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("seed %d: the spill directory is left behind: %v", seed, err)
		}
	}
}

// TestSorterBounds: memory is what was allowed, and a spill that would pass
// --disk is refused before it is written (B3).
func TestSorterBounds(t *testing.T) {
	const limit, disk = 1 << 16, 1 << 18
	r := rand.New(rand.NewPCG(1, 1))
	dir := t.TempDir()
	s := newSorter(dir, limit, disk)
	defer s.close()
	var err error
	for i := 0; err == nil && i < 100_000; i++ {
		err = s.add(i%3, sortRow(r, i))
		if held := s.capacity(); held > limit {
			t.Fatalf("B3: row %d: %d bytes are held, %d are allowed", i, held, limit)
		}
	}
	if !errors.Is(err, ErrDisk) {
		t.Fatalf("B3: %v, want ErrDisk", err)
	}
	var written int64
	for _, run := range s.runs {
		fi, err := os.Stat(run.file.Name())
		if err != nil {
			t.Fatal(err)
		}
		written += fi.Size()
	}
	if written > disk || written < disk/2 || written != s.spilled {
		t.Errorf("B3: %d bytes are spilled, %d counted, %d allowed", written, s.spilled, disk)
	}
}

// capacity returns the bytes that the rows in memory take.
func (s *sorter) capacity() int {
	n := 24 * cap(s.index)
	for _, c := range s.chunks {
		n += cap(c)
	}
	return n
}

// TestSorterFails: an error of the directory, of fn and of the context is
// returned, and ends the reading (B3).
func TestSorterFails(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSorter(filepath.Join(file, "dir"), 10, 0)
	if err := errors.Join(s.add(0, sortRow(r, 0)), s.add(0, sortRow(r, 1))); err == nil {
		t.Error("a run is written into a file")
	}
	s = newSorter(t.TempDir(), 1<<12, 0)
	defer s.close()
	for i := range 10_000 {
		if err := s.add(0, sortRow(r, i)); err != nil {
			t.Fatal(err)
		}
	}
	s.finish()
	stop, n := errors.New("stop"), 0
	if err := s.shard(t.Context(), 0, func([]byte) error { n++; return stop }); err != stop || n != 1 {
		t.Errorf("after fn failed: %v, %d rows", err, n)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	n = 0
	err := s.shard(ctx, 0, func([]byte) error { n++; cancel(stop); return nil })
	if err != stop || n > 2000 {
		t.Errorf("after the context ended: %v, %d rows", err, n)
	}
	if err := os.Truncate(s.runs[0].file.Name(), 100); err != nil {
		t.Fatal(err)
	}
	if err := s.shard(t.Context(), 0, func([]byte) error { return nil }); err == nil {
		t.Error("a run that was cut short reads as if it were whole")
	}
}
