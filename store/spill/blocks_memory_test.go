package spill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// B3: ten years of dates of 100 partitions are some 365,000 streams. Of each block a
// writer keeps 21 bytes, a reader 40; write units open the files of all folds.
func TestBlocksOfManyStreams(t *testing.T) {
	const memory, streams = 1 << 20, 365_000
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	stream := func(i int) (s Stream) {
		binary.BigEndian.PutUint32(s[1:], uint32(i*7919%streams))
		return s
	}
	var file bytes.Buffer
	file.Grow(64 << 20)
	before := heap()
	w := NewBlockWriter(&file, memory, nil)
	for pass := range 2 {
		for i := range streams {
			if err := w.Add(stream(i), fmt.Append(nil, "row ", i, pass)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const blocks = 2 * streams
	if took := heap() - before; took > 3*memory+blocks*entrySize*3/2 { // half of a slice that grows may be empty
		t.Errorf("B3: %d blocks take %d MB beside the %d MB that are allowed", blocks, took>>20, memory>>20)
	}
	size, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	w = nil
	before = heap()
	r, err := OpenBlocks(bytes.NewReader(file.Bytes()), size)
	if err != nil {
		t.Fatal(err)
	}
	if took := heap() - before; took > blocks*40+memory {
		t.Errorf("B3: to have %d blocks open takes %d MB", blocks, took>>20)
	}
	if n := len(r.Streams()); n != streams {
		t.Errorf("%d streams come back of %d", n, streams)
	}
	for i := 0; i < streams; i += 997 {
		var got []string
		if err := r.Rows(t.Context(), stream(i), new([]byte), func(row []byte) error { got = append(got, string(row)); return nil }); err != nil {
			t.Fatal(err)
		}
		if want := []string{fmt.Sprint("row ", i, 0), fmt.Sprint("row ", i, 1)}; !slices.Equal(got, want) {
			t.Fatalf("B4: of a stream %q come back, not %q", got, want)
		}
	}
	runtime.KeepAlive(r)
}
