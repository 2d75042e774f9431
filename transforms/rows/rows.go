// Package rows holds what a replay makes of a log: the rows of a view's tables.
// The replay, the tables' adapter, the stream's quarantine and the comparison of
// both stores share these words; nothing here does I/O.
package rows

import (
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Feature is an entity's features as of a boundary. Final: the boundary is
// closed in every partition, the row can never change.
type Feature struct {
	Shard    int
	Entity   []byte // canonical encoding
	Boundary schemas.Micros
	Final    bool
	Results  []transforms.Result // in the order of the view's features
}

// Tile is a closed tile.
type Tile struct {
	Shard     int
	Partition int32 // of the source
	Entity    []byte
	Tile      transforms.Tile
}

// Open is what a state holds besides its closed tiles: the bootstrap of the
// online store and the carry of the next run. Waiting are tiles that have left
// the state but are not closed in every partition yet.
type Open struct {
	Shard     int
	Partition int32
	Entity    []byte
	Served    []byte
	Open      []transforms.Open
	Waiting   []transforms.Tile
}

// Quarantined is a record that the ledger counts as late, future or invalid, or
// a duplicate in conflict (V8). Key and Value are nil where only the fold of a
// replay could tell: the record stands in the log at its position.
type Quarantined struct {
	At        schemas.Position
	Timestamp schemas.Micros // of the record; Never where only the fold could tell
	Clock     schemas.Micros
	EventTime schemas.Micros // Never when it has none
	Outcome   transforms.Outcome
	Stage     schemas.Stage // of an invalid record
	Reason    string
	Key       []byte
	Value     []byte
}

// Ledger is the ledger of one shard and partition, and what else the marker of
// the online store says of its records: the greatest event time of those that are
// neither invalid nor late nor future by their own clock, nil = none.
type Ledger struct {
	Shard     int             `json:"shard"`
	Partition int32           `json:"partition"`
	Newest    *schemas.Micros `json:"newest,omitempty"`
	transforms.Ledger
}
