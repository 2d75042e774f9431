package batch

import (
	"context"

	"github.com/tallystick/tallystick/transforms/rows"
)

// Work is where units leave their rows for later ones, in a place that all who run
// units see (B4). To run a unit twice, or twice at once, is harmless.
type Work interface {
	// Record reads what a finished unit recorded into v, nil = nothing of it; false:
	// the unit is not finished.
	Record(ctx context.Context, unit string, v any) (bool, error)
	// Begin opens the output of a unit, which may take this many bytes of memory.
	Begin(ctx context.Context, unit string, memory int) (Output, error)
	// Rows calls fn with the rows that a finished unit has put, in their order. A row
	// is valid during the call only.
	Rows(ctx context.Context, unit string, kind byte, shard int, fn func(row []byte) error) error
}

// Output takes the rows of one unit, from one goroutine. It keeps nothing of a row.
// The rows of tables come by shard, entity and key, those of quarantine in any order.
type Output interface {
	// Put takes a row for later units.
	Put(kind byte, shard int, row []byte) error
	// Feature takes the features of an entity as of a boundary. Absent entities
	// are left out.
	Feature(row rows.Feature) error
	// Tile takes a closed tile.
	Tile(row rows.Tile) error
	// Open takes the remainder of a state at the cut.
	Open(row rows.Open) error
	// Quarantine takes a record that is not counted, or a conflict.
	Quarantine(row rows.Quarantined) error
	// Finish records that the unit is finished, and makes its rows visible.
	Finish(ctx context.Context, record any) error
	// Abort gives the unit up; it does nothing after Finish.
	Abort()
}

// The kinds of rows that read units put for folds.
const (
	inputRows byte = iota // transforms.Input.AppendInput, by the shard of the entity
	idRows                // appendIDRow, by the shard of the id
)
