package batch

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

// scan reads a cut of a view's source once.
type scan struct {
	view     *definition.View
	engine   *transforms.View
	source   *reading.Source
	log      Log
	parallel int
	progress *atomic.Int64 // records delivered, ticks included; may be nil
}

// partitionScan is what a scan knows of one partition after it.
type partitionScan struct {
	Clock   schemas.Micros // at the cut's end; Never when there is no record
	Ticks   int64
	Records int64
}

// sink takes a prepared record; what it is given is valid during the call only.
type sink func(in *transforms.Input, e *schemas.Event, rec *schemas.Record) error

// run calls sink with every prepared record: concurrently for different
// partitions, in offset order for one. Log clocks go on from those given.
func (s *scan) run(ctx context.Context, cut schemas.TopicCut, clocks map[int32]schemas.Micros, sink sink) (map[int32]*partitionScan, error) {
	workers := map[int32]*scanWorker{}
	for p := range cut.Partitions {
		from, ok := clocks[p]
		if !ok {
			from = schemas.Never
		}
		workers[p] = s.worker(p, from)
	}
	err := s.log.ReadCut(ctx, s.view.Source.Topic, cut, max(1, s.parallel), func(p int32, rs []schemas.Record) error {
		w := workers[p] // read by several goroutines, never changed
		if w == nil {
			return fmt.Errorf("topic %s: partition %d is not in the cut", s.view.Source.Topic, p)
		}
		return w.take(ctx, rs, sink)
	})
	if err != nil {
		return nil, err
	}
	out := map[int32]*partitionScan{}
	for p, w := range workers {
		w.done.Clock = w.clock.Now()
		out[p] = &w.done
	}
	return out, nil
}

type scanWorker struct {
	s      *scan
	reader *reading.Reader
	event  *schemas.Event
	input  *transforms.Input
	clock  schemas.Clock
	done   partitionScan
}

func (s *scan) worker(p int32, clock schemas.Micros) *scanWorker {
	src := s.view.Source
	return &scanWorker{s: s, reader: s.source.NewReader(), event: s.source.NewEvent(), input: s.engine.NewInput(),
		clock: schemas.ClockAt(clock, src.History[p], src.MaxFuture)}
}

func (w *scanWorker) take(ctx context.Context, rs []schemas.Record, sink sink) error {
	for i := range rs {
		if rs[i].Tick {
			w.clock.Tick(&rs[i])
			w.done.Ticks++
			continue
		}
		w.done.Records++
		if err := w.reader.Read(ctx, &rs[i], w.event); err != nil {
			return err
		}
		w.clock.Stamp(w.event)
		w.s.engine.Prepare(w.input, w.event)
		if err := sink(w.input, w.event, &rs[i]); err != nil {
			return err
		}
	}
	if w.s.progress != nil {
		w.s.progress.Add(int64(len(rs)))
	}
	return nil
}
