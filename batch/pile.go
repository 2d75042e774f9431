package batch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// pile keeps rows of numbered entities in the order in which they come, divided
// into shards: those of a partition stay in the order of the log, so that folding
// an entity needs little sorting. What passes its memory goes to a file.
type pile struct {
	path  string
	limit int64 // bytes of blocks in memory
	held  atomic.Int64
	block int // size of a block
	// rows of each entity, guarded by the lock of its shard.
	rows   []int32
	shards []pileShard

	mu   sync.Mutex // of what follows
	file *os.File
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

// newPile returns a pile for so many entities, which must be closed. path is a file
// of its own; limit is in bytes.
func newPile(path string, limit, entities, shards int) *pile {
	return &pile{path: path, limit: int64(limit), block: max(1<<10, min(1<<16, limit/(2*shards))),
		rows: make([]int32, entities), shards: make([]pileShard, shards)}
}

// shardOf returns the shard of an entity.
func (p *pile) shardOf(entity int32) int { return int(entity) % len(p.shards) }

// add takes a row, of which it keeps nothing. It may be called by several goroutines
// at once, before the shards are read.
func (p *pile) add(entity int32, row []byte) error {
	s := &p.shards[p.shardOf(entity)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if need := 4 + binary.MaxVarintLen64 + len(row); need > cap(s.cur)-len(s.cur) {
		if err := p.next(s, need); err != nil {
			return err
		}
	}
	s.cur = binary.LittleEndian.AppendUint32(s.cur, uint32(entity))
	s.cur = binary.AppendUvarint(s.cur, uint64(len(row)))
	s.cur = append(s.cur, row...)
	p.rows[entity]++
	s.rows++
	return nil
}

// next puts the shard's last block away and begins one with room for n bytes.
func (p *pile) next(s *pileShard, n int) error {
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
func (p *pile) write(b []byte) (at int64, err error) {
	p.mu.Lock()
	if p.file == nil {
		p.file, err = os.Create(p.path)
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

// piledRow is where in a loaded shard a row stands.
type piledRow struct{ block, at uint32 }

// load returns the blocks of a shard, those in the file read into memory.
func (p *pile) load(shard int) ([][]byte, error) {
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
func (p *pile) rowsOf(b *pileBlock, buf []byte) ([]byte, error) {
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

// each calls fn with every row of a shard. A row is valid during the call only.
func (p *pile) each(ctx context.Context, shard int, fn func(entity int32, row []byte) error) error {
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
			entity, row, end := piled(rows, at)
			if err := fn(entity, row); err != nil {
				return err
			}
			at = end
		}
	}
	return nil
}

// piled reads the row at a place in a block, and where the next one stands.
func piled(b []byte, at int) (entity int32, row []byte, end int) {
	n, w := binary.Uvarint(b[at+4:])
	from := at + 4 + w
	end = from + int(n)
	return int32(binary.LittleEndian.Uint32(b[at:])), b[from:end], end
}

// drop gives up the rows of a shard.
func (p *pile) drop(shard int) {
	s := &p.shards[shard]
	s.blocks, s.cur = nil, nil
}

// close removes the file. Nothing is read any more.
func (p *pile) close() error {
	if p.file == nil {
		return nil
	}
	return errors.Join(p.file.Close(), os.Remove(p.path))
}
