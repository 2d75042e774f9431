package spill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// drawStreams draws rows of some streams, in the order in which they are added.
func drawStreams(t *rapid.T) (names []Stream, rows [][]byte) {
	for range rapid.IntRange(0, 100).Draw(t, "rows") {
		var s Stream
		binary.BigEndian.PutUint32(s[:], uint32(rapid.IntRange(0, 9).Draw(t, "stream")))
		names = append(names, s)
		rows = append(rows, bytes.Repeat([]byte{byte(len(rows))}, rapid.SampledFrom([]int{0, 1, 7, 300, 5000, 400_000}).Draw(t, "size")))
	}
	return names, rows
}

// held returns the bytes that the chunks take, and whether they are one row.
func (b *BlockWriter) held() (n int, alone bool) {
	rows := uint32(0)
	for _, g := range b.streams {
		for _, c := range g.chunks {
			rows += c.rows
		}
	}
	return b.memory.used + len(b.memory.free)*b.memory.full, rows == 1
}

// B3, B4: every stream comes back, row by row in its order, whatever memory they
// gathered in; no file holds more than the disk allows.
func TestBlocksComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names, rows := drawStreams(t)
		want := map[Stream][][]byte{}
		var file bytes.Buffer
		memory := rapid.SampledFrom([]int{0, 1 << 17, 1 << 22}).Draw(t, "memory")
		w := NewBlockWriter(&file, memory, nil)
		for i, s := range names {
			want[s] = append(want[s], rows[i])
			if err := w.Add(s, rows[i]); err != nil {
				t.Fatal(err)
			}
			if held, alone := w.held(); held > max(memory, minBuffer) && !alone {
				t.Fatalf("B3: %d bytes are held, %d are allowed", held, memory)
			}
		}
		size, err := w.Close()
		if err != nil || size != int64(file.Len()) {
			t.Fatalf("%d bytes, told %d, %v", file.Len(), size, err)
		}
		f, err := OpenBlocks(bytes.NewReader(file.Bytes()), size)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range f.blocks {
			if b.length > blockBytes && b.rows > 1 {
				t.Fatalf("B3: a block of %d bytes, which a reader holds", b.length)
			}
		}
		if got := f.Streams(); len(got) != len(want) {
			t.Fatalf("streams %v, want %d", got, len(want))
		}
		for s, list := range want {
			i := 0
			err := f.Rows(t.Context(), s, new([]byte), func(row []byte) error {
				if i >= len(list) || !bytes.Equal(row, list[i]) {
					return fmt.Errorf("row %d is another one", i)
				}
				i++
				return nil
			})
			if err != nil || i != len(list) {
				t.Fatalf("stream %x: %d of %d rows, %v", s, i, len(list), err)
			}
		}
		disk := NewDisk(size - 1)
		short := NewBlockWriter(&bytes.Buffer{}, 0, disk)
		err = nil
		for i := 0; i < len(rows) && err == nil; i++ {
			err = short.Add(names[i], rows[i])
		}
		if err == nil {
			_, err = short.Close()
		}
		if !errors.Is(err, ErrDisk) {
			t.Fatalf("B3: a disk of one byte less took the file: %v", err)
		}
		if short.Discard(); disk.used != 0 {
			t.Fatalf("B3: %d bytes of a file that is gone are not given back", disk.used)
		}
	})
}

// FuzzBlocks: bytes that are no file of blocks, or were one, are told, and never
// taken for other rows. What all of a file's sums cover cannot be read otherwise.
func FuzzBlocks(f *testing.F) {
	var file bytes.Buffer
	w := NewBlockWriter(&file, 0, nil)
	for i := range 40 {
		if err := w.Add(Stream{byte(i % 3)}, bytes.Repeat([]byte{byte(i)}, i)); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		f.Fatal(err)
	}
	good := file.Bytes()
	for _, at := range []int{0, 50, len(good) - footerSize - 1, len(good) - 5, len(good) - 1} {
		f.Add(good, at, byte(1))
	}
	f.Add([]byte("tblk"), 0, byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at int, flip byte) {
		changed := bytes.Clone(b)
		if at >= 0 && at < len(b) {
			changed[at] ^= flip
		}
		var d *DamagedError
		file, err := OpenBlocks(bytes.NewReader(changed), int64(len(changed)))
		if err != nil {
			if !errors.As(err, &d) {
				t.Fatalf("not told as damage: %v", err)
			}
			return
		}
		for _, s := range file.Streams() {
			if err = file.Rows(t.Context(), s, new([]byte), func([]byte) error { return nil }); err != nil {
				break
			}
		}
		if err != nil && !errors.As(err, &d) {
			t.Fatalf("not told as damage: %v", err)
		}
		if err == nil && bytes.Equal(b, good) && !bytes.Equal(changed, good) {
			t.Fatalf("byte %d has changed, and nobody noticed", at)
		}
	})
}
