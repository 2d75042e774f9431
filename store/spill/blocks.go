package spill

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Stream names a sequence of rows within a file of blocks.
type Stream [9]byte

// BlockWriter writes rows of many streams into one file. The rows of a stream keep
// their order. Memory is bounded but for 21 bytes a block, 40 for who reads: rows gather in
// chunks, and when no more may be taken those of a stream go to the file together.
//
//	file    block… index footer
//	block   row…          of one stream, 1 MiB or one row; row = length (uvarint) bytes
//	index   entry…        stream, length, rows, CRC-32C of the block; in the order of the blocks
//	footer  offset of the index (8 bytes), its entries (4), its CRC-32C (4), "tblk"
//
// Numbers are big-endian. It is for one goroutine.
type BlockWriter struct {
	w      *bufio.Writer
	disk   *Disk
	memory chunks

	ids     map[Stream]int
	streams []*gathered // in the order in which they were seen
	last    int         // the stream of the last row
	recent  [256]int32  // streams by a part of their names, + 1: looked at before ids
	index   []byte      // as in the file
	size    int64
	taken   int64 // of the disk
}

// block is an entry of the index that is read.
type block struct {
	stream Stream
	length uint32
	rows   uint32
	sum    uint32
	offset int64 // not in the file
}

// knownStreams is how many streams a writer remembers from one flush to the next: there
// may be one for each date and partition of many years.
const knownStreams = 4096

const (
	entrySize  = 9 + 4 + 4 + 4
	footerSize = 8 + 4 + 4 + 4
	blockMagic = "tblk"
	maxRow     = 1 << 29 // bytes
	blockBytes = 1 << 20 // of a block of more than one row, at most: a reader holds one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NewBlockWriter returns a writer of a file that gathers rows in about this many
// bytes, 64 KiB at least. disk bounds the file; nil = no limit.
func NewBlockWriter(w io.Writer, memory int, disk *Disk) *BlockWriter {
	return &BlockWriter{w: bufio.NewWriterSize(w, 1<<14), disk: disk, memory: newChunks(max(memory, minBuffer)), ids: map[Stream]int{}}
}

// Add takes a row, of which it keeps nothing. Errors: ErrDisk, or those of the file.
func (b *BlockWriter) Add(s Stream, row []byte) error {
	if len(row) > maxRow {
		return fmt.Errorf("spill: a row of %d bytes is too large", len(row))
	}
	if b.last >= len(b.streams) || b.streams[b.last].stream != s {
		b.find(s)
	}
	g := b.streams[b.last]
	n := int(rowSize(len(row)))
	if k := len(g.chunks); k == 0 || cap(g.chunks[k-1].b)-len(g.chunks[k-1].b) < n {
		size := b.memory.size(g, n)
		if b.memory.used > 0 && b.memory.used+size > b.memory.limit {
			if err := b.flush(); err != nil {
				return err
			}
			size = b.memory.size(g, n)
		}
		g.chunks = append(g.chunks, chunk{b: b.memory.take(size)})
		g.size += size
	}
	c := &g.chunks[len(g.chunks)-1]
	c.b = append(binary.AppendUvarint(c.b, uint64(len(row))), row...)
	c.rows++
	return nil
}

// find makes a stream the last one.
func (b *BlockWriter) find(s Stream) {
	recent := &b.recent[(s[0]*31 ^ s[4]*7 ^ s[8])]
	if n := int(*recent); n > 0 && b.streams[n-1].stream == s {
		b.last = n - 1
		return
	}
	id, ok := b.ids[s]
	if !ok {
		id = len(b.streams)
		b.ids[s] = id
		b.streams = append(b.streams, &gathered{stream: s})
	}
	b.last, *recent = id, int32(id)+1
}

// flush writes the rows that have gathered, those of a stream in blocks.
func (b *BlockWriter) flush() error {
	for _, g := range b.streams {
		for rest := g.chunks; len(rest) > 0; {
			n, size := 1, len(rest[0].b)
			for ; n < len(rest) && size+len(rest[n].b) <= blockBytes; n++ {
				size += len(rest[n].b)
			}
			if err := b.block(g.stream, rest[:n], size); err != nil {
				return err
			}
			rest = rest[n:]
		}
		b.memory.give(g)
	}
	if len(b.streams) > knownStreams {
		b.streams, b.recent = nil, [256]int32{}
		clear(b.ids)
	}
	return nil
}

// take asks the disk for n bytes.
func (b *BlockWriter) take(n int) error {
	err := b.disk.Take(int64(n))
	if err == nil {
		b.taken += int64(n)
	}
	return err
}

// Discard gives back what was taken of the disk: the file is gone.
func (b *BlockWriter) Discard() {
	b.disk.Give(b.taken)
	b.taken = 0
}

// block writes chunks of so many bytes.
func (b *BlockWriter) block(s Stream, cs []chunk, size int) error {
	if err := b.take(size); err != nil {
		return err
	}
	var rows, sum uint32
	for _, c := range cs {
		rows += c.rows
		sum = crc32.Update(sum, castagnoli, c.b)
		if _, err := b.w.Write(c.b); err != nil {
			return fmt.Errorf("spill: %w", err)
		}
	}
	b.size += int64(size)
	b.index = append(b.index, s[:]...)
	for _, n := range [...]uint32{uint32(size), rows, sum} {
		b.index = binary.BigEndian.AppendUint32(b.index, n)
	}
	return nil
}

// Close writes what is left and the index; the file is the caller's to close. It
// returns the size of the file in bytes.
func (b *BlockWriter) Close() (int64, error) {
	if err := b.flush(); err != nil {
		return 0, err
	}
	foot := binary.BigEndian.AppendUint64(nil, uint64(b.size))
	foot = binary.BigEndian.AppendUint32(foot, uint32(len(b.index)/entrySize))
	foot = binary.BigEndian.AppendUint32(foot, crc32.Checksum(b.index, castagnoli))
	foot = append(foot, blockMagic...)
	if err := b.take(len(b.index) + len(foot)); err != nil {
		return 0, err
	}
	b.size += int64(len(b.index) + len(foot))
	b.w.Write(b.index) // an error sticks and is seen at Flush
	b.w.Write(foot)
	if err := b.w.Flush(); err != nil {
		return 0, fmt.Errorf("spill: %w", err)
	}
	return b.size, nil
}

// DamagedError says that a file of blocks is not what was written.
type DamagedError struct{ Reason string }

func (e *DamagedError) Error() string { return "a file of rows is damaged: " + e.Reason }

// Blocks is a file of blocks that is read. Its methods may be called by several
// goroutines at once.
type Blocks struct {
	r      io.ReaderAt
	blocks []block // by stream; those of one in their order
}

// OpenBlocks reads the index of a file of this many bytes. The error is a
// *DamagedError where the file is to blame.
func OpenBlocks(r io.ReaderAt, size int64) (*Blocks, error) {
	var foot [footerSize]byte
	if size < footerSize {
		return nil, &DamagedError{fmt.Sprintf("it has %d bytes", size)}
	}
	if _, err := r.ReadAt(foot[:], size-footerSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("spill: %w", err)
	}
	at, n := binary.BigEndian.Uint64(foot[:]), int64(binary.BigEndian.Uint32(foot[8:]))
	if string(foot[16:]) != blockMagic || n*entrySize > size-footerSize || at != uint64(size-footerSize-n*entrySize) {
		return nil, &DamagedError{"it does not end as one"}
	}
	index := make([]byte, n*entrySize)
	if _, err := r.ReadAt(index, int64(at)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("spill: %w", err)
	}
	if crc32.Checksum(index, castagnoli) != binary.BigEndian.Uint32(foot[12:]) {
		return nil, &DamagedError{"its index has changed"}
	}
	f := &Blocks{r: r, blocks: make([]block, 0, n)}
	offset := int64(0)
	for ; len(index) > 0; index = index[entrySize:] {
		e := block{stream: Stream(index), length: binary.BigEndian.Uint32(index[9:]), rows: binary.BigEndian.Uint32(index[13:]),
			sum: binary.BigEndian.Uint32(index[17:]), offset: offset}
		if e.length > blockBytes && e.rows > 1 {
			return nil, &DamagedError{"a block is too long"}
		}
		f.blocks = append(f.blocks, e)
		offset += int64(e.length)
	}
	if uint64(offset) != at {
		return nil, &DamagedError{"its blocks do not fill it"}
	}
	slices.SortStableFunc(f.blocks, func(a, b block) int { return bytes.Compare(a.stream[:], b.stream[:]) })
	return f, nil
}

// Streams returns the streams of the file, in ascending order.
func (f *Blocks) Streams() []Stream {
	var out []Stream
	for i := range f.blocks {
		if s := f.blocks[i].stream; i == 0 || s != f.blocks[i-1].stream {
			out = append(out, s)
		}
	}
	return out
}

// Rows calls fn with the rows of a stream in the order in which they were added,
// until it fails or ctx ends, whose cause is returned then. A row is valid during
// the call only. Blocks are read into buf, which grows to hold the largest one. The error
// is a *DamagedError where the file is to blame.
func (f *Blocks) Rows(ctx context.Context, s Stream, buf *[]byte, fn func(row []byte) error) error {
	at, _ := slices.BinarySearchFunc(f.blocks, s, func(e block, s Stream) int { return bytes.Compare(e.stream[:], s[:]) })
	for _, e := range f.blocks[at:] {
		if e.stream != s {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if cap(*buf) < int(e.length) {
			*buf = make([]byte, e.length)
		}
		b := (*buf)[:e.length]
		if _, err := f.r.ReadAt(b, e.offset); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("spill: %w", err)
		}
		if crc32.Checksum(b, castagnoli) != e.sum {
			return &DamagedError{"a block has changed"}
		}
		rows := uint32(0)
		for ; len(b) > 0; rows++ {
			n, k := binary.Uvarint(b)
			if k <= 0 || n > uint64(len(b)-k) {
				return &DamagedError{"a row does not fit its block"}
			}
			if err := fn(b[k : k+int(n)]); err != nil {
				return err
			}
			b = b[k+int(n):]
		}
		if rows != e.rows {
			return &DamagedError{"a block lacks rows"}
		}
	}
	return nil
}
