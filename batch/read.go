package batch

import (
	"context"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// readRange is one read unit: offsets [from, to) of a partition.
type readRange struct {
	unit      string
	partition int32
	from, to  int64
	first     bool // nothing of the partition is read before it
}

// readRecord is what a read unit records.
type readRecord struct {
	From  int64           `json:"from"`
	To    int64           `json:"to"`
	Clock *schemas.Micros `json:"clock,omitempty"` // at To; nil = no record so far
	Ticks int64           `json:"ticks,omitempty"`
	Books booksRecord     `json:"books"`
	// Unknown are the ids of writer schemas that nobody knew then: the least ones, as
	// garbage has others without end, and registries count up.
	Unknown []int `json:"unknown_schemas,omitempty"`
	Outside int64 `json:"outside,omitempty"` // records of entities outside Replay.Entities
}

// maxUnknown bounds readRecord.Unknown.
const maxUnknown = 100

func (r *readRecord) clock() schemas.Micros {
	if r.Clock == nil {
		return schemas.Never
	}
	return *r.Clock
}

// read sorts what may count by shard, and quarantines what its own clock decides.
// The unit before it, "" for none, is finished.
func (r *Replay) read(ctx context.Context, g *readRange, before string) error {
	clock := schemas.Never
	if r.before != nil {
		clock = r.before.clocks[g.partition]
	}
	if before != "" {
		rec, err := record[readRecord](ctx, r.Work, before)
		if err != nil {
			return err
		}
		clock = rec.clock()
	}
	out, err := r.begin(ctx, g.unit, r.share()/2, nil)
	if err != nil {
		return err
	}
	defer out.Abort()
	sc := &scan{view: r.View, engine: r.engine, source: r.Source, log: r.Log, parallel: 1, progress: r.Progress}
	u := &readUnit{r: r, out: out, books: newBooks(r.View.Source.History)}
	done := &partitionScan{Clock: clock}
	if g.from < g.to {
		cut := r.Cut
		pc := cut.Partitions[g.partition]
		pc.Start, pc.End = g.from, g.to
		cut.Partitions = map[int32]schemas.PartitionCut{g.partition: pc}
		scans, err := sc.run(ctx, cut, map[int32]schemas.Micros{g.partition: clock}, u.take)
		if err != nil {
			return err
		}
		done = scans[g.partition]
	}
	rec := readRecord{From: g.from, To: g.to, Ticks: done.Ticks, Books: u.books.record(), Unknown: u.unknown, Outside: u.outside}
	if done.Clock != schemas.Never {
		rec.Clock = &done.Clock
	}
	return out.Finish(ctx, &rec)
}

// readUnit takes the records of a read unit.
type readUnit struct {
	r     *Replay
	out   Output
	books *books
	row   []byte
	taken int // bytes, see brake
	// unknown ascends; see readRecord.
	unknown []int
	outside int64 // see readRecord
}

// note keeps the id of a schema that nobody knows.
func (u *readUnit) note(id int) {
	if i, there := slices.BinarySearch(u.unknown, id); !there {
		u.unknown = slices.Insert(u.unknown, i, id)
		u.unknown = u.unknown[:min(len(u.unknown), maxUnknown)]
	}
}

func (u *readUnit) take(in *transforms.Input, e *schemas.Event, rec *schemas.Record) error {
	u.r.brake(&u.taken, len(rec.Key)+len(rec.Value))
	shards := u.r.engine.Spec().Shards
	if in.Fault != nil && in.Fault.Unknown != nil {
		u.note(*in.Fault.Unknown)
	}
	if ours, err := u.r.Entities.has(u.r.engine, in.Entity); err != nil || !ours {
		u.outside++
		return err
	}
	if in.Fault == nil && len(in.ID) > 0 {
		u.row = appendIDRow(u.row[:0], in)
		if err := u.out.Put(idRows, transforms.EntityShard(in.ID, shards), u.row); err != nil {
			return err
		}
	}
	shard := transforms.EntityShard(in.Entity, shards)
	if v, out := u.r.engine.Screen(in); out {
		u.books.book(shard, in, &v)
		return u.out.Quarantine(u.r.quarantined(in, rec, &v))
	}
	u.row = in.AppendInput(u.row[:0])
	return u.out.Put(inputRows, shard, u.row)
}

// quarantined describes a record that is not counted; rec is nil where only the
// fold could tell.
func (r *Replay) quarantined(in *transforms.Input, rec *schemas.Record, v *transforms.Verdict) rows.Quarantined {
	q := rows.Quarantined{At: schemas.Position{TopicID: r.Cut.TopicID, Partition: in.Partition, Offset: in.Offset}, Timestamp: schemas.Never,
		Clock: in.Clock, EventTime: in.EventTime, Outcome: v.Outcome, Reason: v.Reason}
	if rec != nil {
		q.Timestamp, q.Key, q.Value = rec.Timestamp, rec.Key, rec.Value
	}
	if in.Fault != nil {
		q.Stage, q.Reason = in.Fault.Stage, in.Fault.Reason
	}
	return q
}
