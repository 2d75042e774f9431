package spill

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tallystick/tallystick/store/files"
)

// Pile keeps rows of numbered keys in the order in which they come, divided
// into shards: those of a partition stay in the order of the log, so that a
// key's rows need little sorting. What passes its memory goes to a file.
type Pile struct {
	path  string
	limit int64 // bytes of blocks in memory
	held  atomic.Int64
	block int // size of a block
	// rows of each key, guarded by the lock of its shard.
	rows   []int32
	shards []pileShard

	mu   sync.Mutex // of what follows
	file files.File
	size int64
}

// pileShard is the blocks of one shard, cur the last one.
type pileShard struct {
	mu     sync.Mutex
	blocks []pileBlock
	cur    []byte
	rows   int
	filed  int64 // bytes in the file
}

// pileBlock is whole rows: in memory, or where in the file.
type pileBlock struct {
	rows  []byte // unless filed
	filed bool   // it is in the file
	at    int64  // where it stands there
	size  int
}

// NewPile returns a pile for so many keys, which must be closed. path is a file
// of its own; limit is in bytes.
func NewPile(path string, limit, keys, shards int) *Pile {
	return &Pile{path: path, limit: int64(limit), block: max(1<<10, min(1<<16, limit/(2*shards))),
		rows: make([]int32, keys), shards: make([]pileShard, shards)}
}

// ShardOf returns the shard of a key.
func (p *Pile) ShardOf(key int32) int { return int(key) % len(p.shards) }

// Add takes a row, of which it keeps nothing. It may be called by several goroutines
// at once, before the shards are read.
func (p *Pile) Add(key int32, row []byte) error {
	s := &p.shards[p.ShardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if need := 4 + binary.MaxVarintLen64 + len(row); need > cap(s.cur)-len(s.cur) {
		if err := p.next(s, need); err != nil {
			return err
		}
	}
	s.cur = binary.LittleEndian.AppendUint32(s.cur, uint32(key))
	s.cur = binary.AppendUvarint(s.cur, uint64(len(row)))
	s.cur = append(s.cur, row...)
	p.rows[key]++
	s.rows++
	return nil
}

// next puts the shard's last block away and begins one with room for n bytes.
func (p *Pile) next(s *pileShard, n int) error {
	size := max(p.block, n)
	if len(s.cur) > 0 && p.held.Load()+int64(size) > p.limit {
		at, err := p.write(s.cur)
		if err != nil {
			return err
		}
		s.blocks = append(s.blocks, pileBlock{filed: true, at: at, size: len(s.cur)})
		s.filed += int64(len(s.cur))
		if s.cur = s.cur[:0]; cap(s.cur) >= n {
			return nil
		}
		p.held.Add(-int64(cap(s.cur)))
	} else if len(s.cur) > 0 {
		s.blocks = append(s.blocks, pileBlock{rows: s.cur})
	}
	s.cur = make([]byte, 0, size)
	p.held.Add(int64(size))
	return nil
}

// write appends a block to the file and returns where it stands.
func (p *Pile) write(b []byte) (at int64, err error) {
	p.mu.Lock()
	if p.file == nil {
		p.file, err = files.OS{}.Create(p.path)
	}
	at = p.size
	p.size += int64(len(b))
	p.mu.Unlock()
	if err == nil {
		_, err = p.file.WriteAt(b, at)
	}
	if err != nil {
		return 0, fmt.Errorf("spill: %w", err)
	}
	return at, nil
}

// Rows returns the number of a key's rows.
func (p *Pile) Rows(key int32) int { return int(p.rows[key]) }

// Size returns the number of a shard's rows, and of its bytes in the file.
func (p *Pile) Size(shard int) (rows int, filed int64) {
	s := &p.shards[shard]
	return s.rows, s.filed
}

// Load returns the blocks of a shard, those in the file read into memory. PiledRow
// reads them.
func (p *Pile) Load(shard int) ([][]byte, error) {
	s := &p.shards[shard]
	out := make([][]byte, 0, len(s.blocks)+1)
	for i := range s.blocks {
		b, err := p.rowsOf(&s.blocks[i], nil)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return append(out, s.cur), nil
}

// rowsOf returns the rows of a block, in buf when that is large enough and they are
// read from the file.
func (p *Pile) rowsOf(b *pileBlock, buf []byte) ([]byte, error) {
	if !b.filed {
		return b.rows, nil
	}
	if cap(buf) < b.size {
		buf = make([]byte, b.size)
	}
	if _, err := p.file.ReadAt(buf[:b.size], b.at); err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	return buf[:b.size], nil
}

// Each calls fn with every row of a shard. A row is valid during the call only.
func (p *Pile) Each(ctx context.Context, shard int, fn func(key int32, row []byte) error) error {
	s := &p.shards[shard]
	var buf []byte
	for _, b := range append(s.blocks, pileBlock{rows: s.cur}) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rows, err := p.rowsOf(&b, buf)
		if err != nil {
			return err
		}
		if b.filed {
			buf = rows
		}
		for at := 0; at < len(rows); {
			key, row, end := PiledRow(rows, at)
			if err := fn(key, row); err != nil {
				return err
			}
			at = end
		}
	}
	return nil
}

// PiledRow reads the row at a place in a block, and where the next one stands.
func PiledRow(b []byte, at int) (key int32, row []byte, end int) {
	n, w := binary.Uvarint(b[at+4:])
	from := at + 4 + w
	end = from + int(n)
	return int32(binary.LittleEndian.Uint32(b[at:])), b[from:end], end
}

// Drop gives up the rows of a shard.
func (p *Pile) Drop(shard int) {
	s := &p.shards[shard]
	s.blocks, s.cur = nil, nil
}

// Close removes the file. Nothing is read any more.
func (p *Pile) Close() error {
	if p.file == nil {
		return nil
	}
	return errors.Join(p.file.Close(), files.OS{}.Remove(p.path))
}
