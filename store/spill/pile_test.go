package spill

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// B3: whatever its memory, a pile gives back every row under its key, those that
// one goroutine added in that order, and leaves no file.
func TestPile(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		const keys, shards = 7, 3
		p := NewPile(filepath.Join(dir, "rows"), rapid.SampledFrom([]int{0, 5_000, 1 << 20}).Draw(rt, "limit"), keys, shards)
		var wg sync.WaitGroup
		sizes := rapid.SliceOfN(rapid.IntRange(9, 3000), 0, 60).Draw(rt, "sizes")
		for writer := range 2 {
			wg.Go(func() {
				for i, n := range sizes {
					row := binary.LittleEndian.AppendUint64([]byte{byte(writer)}, uint64(i))
					if err := p.Add(int32(i%keys), append(row, make([]byte, n-len(row))...)); err != nil {
						rt.Error(err)
					}
				}
			})
		}
		wg.Wait()
		total := 0
		for shard := range shards {
			var got [][]byte
			last := map[byte]int{0: -1, 1: -1}
			if err := p.Each(t.Context(), shard, func(key int32, row []byte) error {
				i := int(binary.LittleEndian.Uint64(row[1:]))
				if i <= last[row[0]] || int(key) != i%keys || p.ShardOf(key) != shard || len(row) != sizes[i] {
					rt.Errorf("shard %d: row %d of %d bytes under key %d, behind row %d", shard, i, len(row), key, last[row[0]])
				}
				last[row[0]] = i
				got = append(got, slices.Clone(row))
				return nil
			}); err != nil {
				rt.Fatal(err)
			}
			blocks, err := p.Load(shard)
			if err != nil {
				rt.Fatal(err)
			}
			for _, b := range blocks {
				for at := 0; at < len(b); {
					_, row, end := PiledRow(b, at)
					if !slices.Equal(row, got[0]) {
						rt.Fatalf("shard %d: loaded, a row differs", shard)
					}
					got, at, total = got[1:], end, total+1
				}
			}
			if len(got) > 0 {
				rt.Errorf("shard %d: loaded, %d rows are missing", shard, len(got))
			}
		}
		if total != 2*len(sizes) {
			rt.Errorf("%d rows of %d", total, 2*len(sizes))
		}
		if err := p.Close(); err != nil {
			rt.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			rt.Errorf("%v is left", left)
		}
	})
}
