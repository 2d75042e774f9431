package wire

import (
	"context"
	"fmt"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Carry is a publication as what a replay goes on from (B5). It is a batch.Carry.
type Carry struct {
	*offline.Published
	Shards  int
	Options offline.RestoreOptions
}

// From returns where a replay goes on from; CheckRestore has been asked.
func (c *Carry) From() (*batch.From, error) {
	info := &c.Info
	f := &batch.From{Carry: c, Cut: info.Cut, FinalOnly: info.FinalOnly, Ledgers: map[batch.ShardPartition]*transforms.Ledger{}, Newest: map[batch.ShardPartition]schemas.Micros{},
		Days: map[batch.PartitionDay]*transforms.Ledger{}}
	if info.Boundary != nil {
		f.Boundary = *info.Boundary
	}
	for i := range info.Ledgers {
		l := &info.Ledgers[i]
		k := batch.ShardPartition{Shard: l.Shard, Partition: l.Partition}
		f.Ledgers[k] = &l.Ledger
		if l.Newest != nil {
			f.Newest[k] = *l.Newest
		}
	}
	for i := range info.Days {
		d := &info.Days[i]
		day, err := parseDay(d.Day)
		if err != nil {
			return nil, fmt.Errorf("the ledger by day: %w", err)
		}
		f.Days[batch.PartitionDay{Partition: d.Partition, Day: day}] = &d.Ledger
	}
	return f, nil
}

// States implements batch.Carry.
func (c *Carry) States(ctx context.Context, partition int32, fn func(*batch.Carried) error) error {
	r, err := c.Restore(ctx, partition, c.Options)
	if err != nil {
		return err
	}
	defer r.Close()
	for shard := range c.Shards {
		err := r.Rows(shard, ctx.Err, func(o *rows.Open, tiles []transforms.Tile) error {
			return fn(&batch.Carried{Open: *o, Closed: tiles})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Tiles implements batch.Carry.
func (c *Carry) Tiles(ctx context.Context, partition int32, day int64, fn func(rows.Tile) error) error {
	return c.EachTile(ctx, offline.Select{Partition: &partition, FromDay: day}, fn)
}

// Quarantine implements batch.Carry.
func (c *Carry) Quarantine(ctx context.Context, partition int32, day int64, fn func(rows.Quarantined) error) error {
	return c.EachQuarantined(ctx, offline.Select{Partition: &partition, FromDay: day}, fn)
}

// Features implements batch.Carry.
func (c *Carry) Features(ctx context.Context, from, to int64, fn func(rows.Feature) error) error {
	return c.EachFeature(ctx, offline.Select{FromDay: from, ToDay: to}, fn)
}
