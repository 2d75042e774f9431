// Package batch is the bounded path over the log: it reads a cut once, brings
// together what each view sees of an entity, and folds. replay writes tables from
// the fold, train answers labels from it. It is orchestration over the ports Log and
// the writers that its callers hand in; Kafka and Parquet live under store.
//
//	replay: cut → scan (read, prepare) → sort (entity, clock, partition, offset) → fold → rows
//	train:  cut → scan → pile of the entities asked for → per entity: sort, fold, answer
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
