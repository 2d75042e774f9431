package stream

import (
	"context"
	"fmt"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Check holds the markers of the store against the log as Run does, and writes
// nothing: what cannot be continued is refused before anything is changed. What
// has changed when Run begins, Run refuses.
func (w *Worker) Check(ctx context.Context) error {
	cut, err := w.source.Cut(ctx)
	if err != nil {
		return fmt.Errorf("the topic cannot be described: %w", err)
	}
	if err := w.checkPartitions(ctx, cut); err != nil {
		return err
	}
	if w.o.Until != nil && w.o.Until.TopicID != cut.TopicID {
		return &CutTopicError{w.o.Until.TopicID, cut.TopicID}
	}
	for _, id := range w.o.Partitions {
		if _, ok := cut.Partitions[id]; !ok {
			return &MissingPartitionError{id, len(cut.Partitions)}
		}
	}
	for _, id := range cut.PartitionIDs() {
		if w.o.Partitions != nil && !slices.Contains(w.o.Partitions, id) {
			continue
		}
		if err := w.checkMarks(ctx, id, cut); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) checkMarks(ctx context.Context, id int32, cut schemas.TopicCut) error {
	p := &partition{w: w, id: id, end: -1}
	if w.o.Until != nil {
		bounds, ok := w.o.Until.Partitions[id]
		if !ok {
			return nil // it is not read
		}
		p.end = bounds.End
	}
	marks, err := w.sink.Marks(ctx, id)
	if err != nil {
		return fmt.Errorf("the markers of partition %d: %w", id, err)
	}
	bounds := cut.Partitions[id]
	if err := p.mayBootstrap(marks, bounds.Start); err != nil {
		return err
	}
	return p.check(slices.DeleteFunc(marks, func(m Mark) bool { return m.Phase != marker.Live }), cut.TopicID, bounds)
}

// checkPartitions refuses a topic that lacks partitions which were folded (K3).
func (w *Worker) checkPartitions(ctx context.Context, cut schemas.TopicCut) error {
	have, err := w.sink.Partitions(ctx)
	if err != nil {
		return fmt.Errorf("the online store's partitions: %w", err)
	}
	var missing []int32
	for _, id := range have {
		if _, ok := cut.Partitions[id]; !ok {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return &FewerPartitionsError{missing, len(cut.Partitions)}
	}
	return nil
}
