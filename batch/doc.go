// Package batch is the bounded path over the log: it reads a cut once, sorts
// what each view sees of it by entity, and folds. replay writes tables from the
// fold, train answers labels from it. It is orchestration over the ports Log and
// the writers that its callers hand in; Kafka and Parquet live under store.
//
//	cut → scan (read, prepare) → spill (entity, clock, partition, offset) → fold → rows
package batch

import (
	"context"

	"github.com/tallystick/tallystick/schemas"
)

// Log is where records come from. Calls of fn for one partition are sequential
// and in offset order; those of several partitions may run at once (K1, K2).
type Log interface {
	ReadCut(ctx context.Context, topic string, cut schemas.TopicCut, parallel int,
		fn func(partition int32, records []schemas.Record) error) error
}
