package offline

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"

	"github.com/tallystick/tallystick/store/spill"
)

// spool sorts rows by key, in a spill.Sorter of one shard.
type spool struct {
	*spill.Sorter
	buffers sync.Pool
}

// rowBuffer is a row on its way into a spool: values in canonical encoding,
// a status takes one byte.
type rowBuffer struct {
	key    rowKey
	row    []byte
	joined []byte
}

func newSpool(path string, memory int, disk *spill.Disk) *spool {
	return &spool{Sorter: spill.New(spill.Options{Path: path, Memory: memory, Disk: disk, Compare: compareKeys,
		Prefix: func(joined []byte) spill.Prefix { return spill.PrefixOf(keyOf(joined)) }})}
}

// buffer begins a row.
func (s *spool) buffer(t TableName, day int64, part int32) *rowBuffer {
	b, _ := s.buffers.Get().(*rowBuffer)
	if b == nil {
		b = &rowBuffer{}
	}
	b.key, b.row = appendKey(b.key[:0], t, day, part), b.row[:0]
	return b
}

// add takes the row; the buffer is given back.
func (s *spool) add(b *rowBuffer) error {
	b.joined = binary.BigEndian.AppendUint32(b.joined[:0], uint32(len(b.key)))
	b.joined = append(append(b.joined, b.key...), b.row...)
	err := s.Add(0, b.joined)
	s.buffers.Put(b)
	return err
}

// each calls fn with every row in the order of keys. Both are valid during the
// call only.
func (s *spool) each(ctx context.Context, fn func(key rowKey, row []byte) error) error {
	return s.Shard(ctx, 0, func(joined []byte) error {
		key := keyOf(joined)
		return fn(key, joined[4+len(key):])
	})
}

// keyOf returns the key of a joined row, which stands behind its length.
func keyOf(joined []byte) rowKey {
	return rowKey(joined[4 : 4+binary.BigEndian.Uint32(joined)])
}

func compareKeys(a, b []byte) int { return bytes.Compare(keyOf(a), keyOf(b)) }
