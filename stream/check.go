package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// Check holds the markers of the store against the log as Run does, and writes
// nothing: what cannot be continued is refused before anything is changed. What
// has changed when Run begins, Run refuses.
func (w *Worker) Check(ctx context.Context) error {
	cut, err := w.topic(ctx)
	if err != nil {
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
	marks, bases := map[int32][]Mark{}, map[int32]Base{}
	for _, id := range cut.PartitionIDs() {
		if w.o.Partitions != nil && !slices.Contains(w.o.Partitions, id) {
			continue
		}
		if marks[id], err = w.sink.Marks(ctx, id); err != nil {
			return fmt.Errorf("the markers of partition %d: %w", id, err)
		}
		from, err := (&partition{w: w, id: id}).origin(ctx, marks[id], cut.Partitions[id].Start)
		if err != nil {
			return fmt.Errorf("partition %d: %w", id, err)
		}
		if from != nil {
			bases[id] = from.Base()
			from.Close()
		}
	}
	// Others of the group write meanwhile: where the log ends is asked afterwards.
	if cut, err = w.source.Cut(ctx); err != nil {
		return fmt.Errorf("the topic cannot be described: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(marks)) {
		if err := w.checkMarks(id, marks[id], bases, cut); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) checkMarks(id int32, marks []Mark, bases map[int32]Base, cut schemas.TopicCut) error {
	p := &partition{w: w, id: id, end: -1}
	if w.o.Until != nil {
		bounds, ok := w.o.Until.Partitions[id]
		if !ok {
			return nil // it is not read
		}
		p.end = bounds.End
	}
	bounds, ok := cut.Partitions[id]
	if !ok {
		return nil // the broker asked last has not heard of it yet
	}
	if base, ok := bases[id]; ok {
		if err := p.mayBootstrap(marks, &base, cut); err != nil {
			return err
		}
		for i, m := range marks {
			if p.takes(m, &base, bounds.Start) {
				marks[i] = Mark{}
			}
		}
	}
	return p.check(marks, cut.TopicID, bounds)
}

// topic describes the topic, and refuses one that lacks partitions which were
// folded (K3). These are asked for first: others may adopt new ones meanwhile.
func (w *Worker) topic(ctx context.Context) (schemas.TopicCut, error) {
	have, err := w.sink.Partitions(ctx)
	if err != nil {
		return schemas.TopicCut{}, fmt.Errorf("the online store's partitions: %w", err)
	}
	cut, err := w.source.Cut(ctx)
	if err != nil {
		return cut, fmt.Errorf("the topic cannot be described: %w", err)
	}
	missing := slices.DeleteFunc(have, func(id int32) bool { _, ok := cut.Partitions[id]; return ok })
	if len(missing) > 0 {
		return cut, &FewerPartitionsError{missing, len(cut.Partitions)}
	}
	return cut, nil
}
