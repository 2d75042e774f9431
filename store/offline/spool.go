package offline

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/tallystick/tallystick/store/spill"
)

// spool sorts rows by key.
type spool struct {
	*spill.Sorter
	next rowBuffer
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
	b := &s.next
	b.key, b.row = appendKey(b.key[:0], t, day, part), b.row[:0]
	return b
}

// add takes the row that buffer has begun.
func (s *spool) add(b *rowBuffer) error {
	b.joined = appendJoined(b.joined[:0], b.key, b.row)
	return s.Add(b.joined)
}

// each calls fn with every row in the order of keys. Both are valid during the
// call only.
func (s *spool) each(ctx context.Context, fn func(key rowKey, row []byte) error) error {
	return s.Each(ctx, func(joined []byte) error {
		key := keyOf(joined)
		return fn(key, joined[4+len(key):])
	})
}

// keyOf returns the key of a joined row, which stands behind its length.
func keyOf(joined []byte) rowKey {
	return rowKey(joined[4 : 4+binary.BigEndian.Uint32(joined)])
}

func compareKeys(a, b []byte) int { return bytes.Compare(keyOf(a), keyOf(b)) }
