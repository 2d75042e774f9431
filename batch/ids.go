package batch

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// BrokenIDs are ids that occur in more than one partition or entity. A source
// that declares an id says that all copies share both (V7): copies elsewhere
// are not recognised. Only replay sees everything and can tell.
type BrokenIDs struct {
	Count    int64      `json:"count"`
	Examples []BrokenID `json:"examples"` // the first ones, by shard and id
}

// BrokenID is one such id and two places where it was seen.
type BrokenID struct {
	ID     string           `json:"id"`
	First  schemas.Position `json:"first"`
	Second schemas.Position `json:"second"`
}

func (b BrokenID) String() string {
	return fmt.Sprintf("%q (%v and %v)", b.ID, b.First, b.Second)
}

// maxExamples bounds how many ids are named.
const maxExamples = 10

// appendIDRow appends a row that sorts by id: the form of Input.AppendInput
// with the id in the place of the entity, and the entity behind it.
func appendIDRow(dst []byte, in *transforms.Input) []byte {
	dst = binary.BigEndian.AppendUint64(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(in.Partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(in.Offset))
	dst = binary.AppendUvarint(dst, uint64(len(in.ID)))
	dst = append(dst, in.ID...)
	return append(dst, in.Entity...)
}

// idCheck goes through the rows of one shard, sorted by id.
type idCheck struct {
	found BrokenIDs
	id    string
	begun bool
	seen  bool // this id is counted already
	// Where the id was first seen.
	at     schemas.Position
	entity string
}

func (c *idCheck) row(row []byte) error {
	id, key := transforms.RowKey(row)
	at := schemas.Position{Partition: int32(binary.BigEndian.Uint32(key[8:])), Offset: int64(binary.BigEndian.Uint64(key[12:]))}
	var size [binary.MaxVarintLen64]byte
	entity := row[len(key)+binary.PutUvarint(size[:], uint64(len(id)))+len(id):]
	if !c.begun || c.id != string(id) {
		c.id, c.begun, c.seen, c.at, c.entity = string(id), true, false, at, string(entity)
		return nil
	}
	if c.seen || c.at.Partition == at.Partition && c.entity == string(entity) {
		return nil
	}
	c.seen = true
	c.found.Count++
	if len(c.found.Examples) < maxExamples {
		name := fmt.Sprintf("%x", id)
		if v, n := schemas.ParseValue(id); n == len(id) {
			name = v.String()
		}
		c.found.Examples = append(c.found.Examples, BrokenID{ID: name, First: c.at, Second: at})
	}
	return nil
}

// checkIDs checks the ids of one shard.
func (r *Replay) checkIDs(ctx context.Context, unit string, shard int, counts *foldRecord) error {
	if r.engine.Spec().Identity == transforms.Anonymous {
		return nil
	}
	var c idCheck
	if err := r.sorted(ctx, unit, idRows, shard, counts, c.row); err != nil {
		return err
	}
	counts.BrokenIDs.merge(&c.found)
	return nil
}

// merge adds those of a later shard.
func (b *BrokenIDs) merge(o *BrokenIDs) {
	b.Count += o.Count
	b.Examples = append(b.Examples, o.Examples[:min(len(o.Examples), maxExamples-len(b.Examples))]...)
}
