package batch

import (
	"encoding/binary"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// The kinds of rows of tables that are carried. Numbers are varints; this is no format
// to keep: only this build reads it.
const (
	keptState byte = iota
	keptTile
	keptFeature
	keptProvisional // likewise, a row that can still change
)

func appendBytes[B []byte | string](dst []byte, b B) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendTile(dst []byte, t *transforms.Tile) []byte {
	for _, n := range [...]int64{int64(t.Hop), int64(t.Start), t.Events} {
		dst = binary.AppendVarint(dst, n)
	}
	return appendBytes(dst, t.Cells)
}

func appendTiles(dst []byte, ts []transforms.Tile) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ts)))
	for i := range ts {
		dst = appendTile(dst, &ts[i])
	}
	return dst
}

func appendState(dst []byte, c *Carried) []byte {
	dst = appendBytes(dst, c.Served)
	dst = binary.AppendUvarint(dst, uint64(len(c.Open.Open)))
	for _, o := range c.Open.Open {
		dst = appendBytes(binary.AppendVarint(dst, o.Hour), o.Data)
	}
	return appendTiles(dst, c.Closed)
}

func appendFeature(dst []byte, f *rows.Feature) []byte {
	dst = binary.AppendVarint(dst, int64(f.Boundary))
	final := byte(0)
	if f.Final {
		final = 1
	}
	dst = append(dst, final)
	for _, res := range f.Results {
		dst = append(res.Value.Append(dst), byte(res.Status))
	}
	return dst
}

// keptReader reads them; bad: they are cut short.
type keptReader struct {
	b   []byte
	bad bool
}

func (k *keptReader) end() bool { return !k.bad && len(k.b) == 0 }

func (k *keptReader) byte() byte {
	if len(k.b) == 0 {
		k.bad = true
		return 0xff
	}
	b := k.b[0]
	k.b = k.b[1:]
	return b
}

func (k *keptReader) varint() int64 {
	n, w := binary.Varint(k.b)
	k.skip(w)
	return n
}

func (k *keptReader) uvarint() uint64 {
	n, w := binary.Uvarint(k.b)
	k.skip(w)
	return n
}

func (k *keptReader) skip(w int) {
	if w <= 0 || w > len(k.b) {
		k.b, k.bad = nil, true
		return
	}
	k.b = k.b[w:]
}

func (k *keptReader) bytes() []byte {
	n := k.uvarint()
	if n > uint64(len(k.b)) {
		k.b, k.bad = nil, true
		return nil
	}
	b := k.b[:n]
	k.b = k.b[n:]
	return b
}

// count reads how many of something follow, each of a byte at least.
func (k *keptReader) count() int {
	n := k.uvarint()
	if n > uint64(len(k.b)) {
		k.b, k.bad = nil, true
		return 0
	}
	return int(n)
}

func (k *keptReader) tile(t *transforms.Tile) {
	*t = transforms.Tile{Hop: schemas.Micros(k.varint()), Start: schemas.Micros(k.varint()), Events: k.varint(), Cells: string(k.bytes())}
}

func (k *keptReader) tiles() []transforms.Tile {
	ts := make([]transforms.Tile, k.count())
	for i := range ts {
		k.tile(&ts[i])
	}
	return ts
}

// state reads a state whose parts alias what is read.
func (k *keptReader) state(c *Carried) {
	c.Served = k.bytes()
	c.Open.Open = make([]transforms.Open, k.count())
	for i := range c.Open.Open {
		c.Open.Open[i] = transforms.Open{Hour: k.varint(), Data: k.bytes()}
	}
	c.Closed = k.tiles()
}

// feature reads the features of a row, of which there are n.
func (k *keptReader) feature(f *rows.Feature, n int) {
	f.Boundary, f.Final = schemas.Micros(k.varint()), k.byte() == 1
	for range n {
		v, w := schemas.ParseValue(k.b)
		k.skip(w)
		f.Results = append(f.Results, transforms.Result{Value: v, Status: transforms.Status(k.byte())})
	}
}
