package stream

import (
	"context"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/rows"
)

// The words of the online store, shared with its adapters.
type (
	// Mark is the marker of one (shard, partition).
	Mark = marker.Mark
	// Write changes one state.
	Write = marker.Write
)

// Batch is what one poll brought of one partition.
type Batch struct {
	Partition int32
	// Records are data records and ticks in offset order, valid until the next
	// Poll. Their bytes are immutable and may be kept.
	Records []schemas.Record
	// Next is the position after the batch; it moves over gaps too.
	Next int64
	// Stable is the last stable offset as last heard of.
	Stable int64
}

// Source reads the topic. It is used by one goroutine at a time.
type Source interface {
	// Cut tells the topic's id and, per partition, where the log starts and where
	// it is stable now. It may be called from any goroutine.
	Cut(ctx context.Context) (schemas.TopicCut, error)
	// Assign reads partitions from the given offsets; those assigned already are
	// moved. What was fetched for an old position is not delivered any more.
	Assign(ctx context.Context, at map[int32]int64) error
	// Remove gives up partitions.
	Remove(partitions ...int32)
	// Poll waits up to wait for records; batches of one partition are in order.
	// Batches beside an error are good. Errors are final, unless they wrap
	// marker.ErrUnavailable.
	Poll(ctx context.Context, wait time.Duration) ([]Batch, error)
}

// Membership is the worker's place in a group of workers that share the
// partitions of a view. Changes is called by one goroutine, and not before the
// worker has held the topic against the store: one that is refused joins nothing.
type Membership interface {
	// Changes returns what the group has decided since the last call, the oldest
	// first; the first call joins it. It does not wait for partitions. Errors are
	// final, unless they wrap marker.ErrUnavailable.
	Changes(ctx context.Context) ([]Change, error)
}

// Change is a decision of the group.
type Change struct {
	// Assigned partitions are this worker's from now on.
	Assigned []int32
	// Revoked ones are to be written and given up: the group waits for Done, for a
	// bounded time, before another worker gets them.
	Revoked []int32
	// Lost ones may be another's already: nothing of them is to be written.
	Lost []int32
	// Done is called when the change has been taken up; nil = nobody waits.
	Done func()
}

// Sink is the online store of one view and fingerprint. Its methods are called
// for different partitions at once. Errors that wrap none of package marker's
// are final.
type Sink interface {
	// Partitions lists the partitions that have had a marker, ascending.
	Partitions(ctx context.Context) ([]int32, error)
	// Marks reads the markers of all shards of a partition, by shard.
	Marks(ctx context.Context, partition int32) ([]Mark, error)
	// Load reads states, in the order of keys, and after them the markers of
	// their shards, in one go: what it returned of a shard belongs to its marker.
	Load(ctx context.Context, partition int32, keys []marker.Key) ([]marker.Stored, map[int]Mark, error)
	// Commit writes states and the marker now in one atomic unit, if the stored
	// marker is was: else marker.ErrMoved. A was of phase Missing expects none.
	// The writes' bytes may be used until it returns.
	Commit(ctx context.Context, shard int, partition int32, was, now Mark, writes []Write) error
	// Holds tells whether there are states of a partition, in whatever shard. It is
	// false only if all was seen by one look at every server.
	Holds(ctx context.Context, partition int32) (bool, error)
	// Walk lists the states of a (shard, partition) a page at a time, in no order:
	// all that are there throughout, some perhaps twice, none for sure across a
	// failover. It begins with an empty cursor and is over when the next one is
	// empty. The page's marker was read after its states.
	Walk(ctx context.Context, shard int, partition int32, cursor string) (marker.Page, error)
}

// Quarantined is a record that is not counted, or a conflict.
type Quarantined = rows.Quarantined

// Quarantine takes what is not counted. Put returns once all of it is
// acknowledged; it is called again with the same records after a crash, so its
// readers go by their positions. Its errors are retried. It is called for
// different partitions at once.
type Quarantine interface {
	Put(ctx context.Context, qs []Quarantined) error
}

// Origin is where a bootstrap takes its states from (O2).
type Origin interface {
	// Open makes ready to restore a partition, and refuses what it knows it cannot
	// restore: nothing has been written yet. It is called for different partitions
	// at once. Errors are final, unless they wrap marker.ErrUnavailable.
	Open(ctx context.Context, partition int32) (Restore, error)
}

// Restore is one partition of an Origin.
type Restore interface {
	// Base tells what the states are the fold of.
	Base() Base
	// Shard hands the states of a shard to put, in pieces of a bounded size, and
	// returns the marker that holds for them; phase, topic id and token are the
	// caller's. An empty piece says that it gets ahead. Shards are asked for in
	// ascending order, some left out.
	Shard(ctx context.Context, shard int, put func([]Write) error) (Mark, error)
	Close() error
}

// Base is the prefix of a partition that an Origin's states are the fold of.
type Base struct {
	// Name is what messages call the origin, "" = the log itself.
	Name    string
	TopicID string // "" = whatever the topic's is
	Next    int64  // the first offset that is not folded
	// Partitions are those that the topic must have.
	Partitions []int32
}

// LogStart restores nothing: the fold begins at offset 0. It serves where the log
// still reaches back.
type LogStart struct{}

// Open implements Origin.
func (LogStart) Open(context.Context, int32) (Restore, error) { return logStart{}, nil }

type logStart struct{}

func (logStart) Base() Base { return Base{} }

func (logStart) Shard(context.Context, int, func([]Write) error) (Mark, error) {
	return Mark{Clock: schemas.Never, Newest: schemas.Never, ValidFrom: schemas.Never}, nil
}

func (logStart) Close() error { return nil }
