package reconcile

import (
	"context"
	"iter"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Online is the online store of one view and fingerprint.
type Online interface {
	// Live returns the fingerprint that readers use, "" for none.
	Live(ctx context.Context) (string, error)
	// Partitions lists the partitions that have had a marker, ascending.
	Partitions(ctx context.Context) ([]int32, error)
	// Marks returns the markers of all shards of a partition, by shard; the zero
	// Mark where there is none.
	Marks(ctx context.Context, partition int32) ([]marker.Mark, error)
	// Scan yields the states of a (shard, partition), in any order, some perhaps
	// twice.
	Scan(ctx context.Context, shard int, partition int32) iter.Seq2[OnlineState, error]
}

// OnlineState is a state as stored.
type OnlineState struct {
	Entity string // canonical bytes
	marker.Stored
}

// The rows of the tables, shared with their adapter.
type (
	TileRow     = rows.Tile
	OpenRow     = rows.Open
	FeatureRow  = rows.Feature
	LedgerEntry = rows.Ledger
)

// Offline is one publication of a view's tables.
type Offline interface {
	Info() Publication
	// Tiles yields the closed tiles that start at or after from, perhaps earlier
	// ones, by shard, entity, source partition, level and start.
	Tiles(ctx context.Context, from schemas.Micros) iter.Seq2[TileRow, error]
	// Features yields the values as of one boundary, by shard and entity. Absent
	// entities have no row.
	Features(ctx context.Context, boundary schemas.Micros) iter.Seq2[FeatureRow, error]
	// Open yields the remainders by shard, entity and source partition.
	Open(ctx context.Context) iter.Seq2[OpenRow, error]
}

// Publication is what the tables' commit says of them.
type Publication struct {
	Fingerprint string
	Cut         schemas.TopicCut // with the clocks at its end
	Boundary    schemas.Micros   // at which states were trimmed; Never while a partition is empty
	ValidFrom   schemas.Micros   // Never: the fold began at offset 0
	Ledgers     []LedgerEntry
	Days        []DayLedger // ascending
}

// DayLedger counts the records whose event time lies in one UTC day; Day is
// YYYY-MM-DD.
type DayLedger struct {
	Day  string `json:"day"`
	Read int64  `json:"read"`
	Late int64  `json:"late"`
}

// Replayer folds the log anew. It decides which of two sides is right.
type Replayer interface {
	// Replay folds a partition up to the end of the publication's cut and returns
	// the states of the entities asked for and, if asked for, the ledgers by shard,
	// which take the states of all entities.
	Replay(ctx context.Context, partition int32, entities map[string]bool, ledgers bool) (*Replayed, error)
}

// Replayed is what a replay of a partition found.
type Replayed struct {
	States  map[string]*transforms.State // none where no record changed one
	Ledgers map[int]transforms.Ledger
	// Of a table: Kafka may have removed records of the log, and the offsets of
	// those that counted, of the entities asked for.
	Compacted bool
	Counted   map[string]map[int64]bool
}
