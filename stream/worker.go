package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

// Worker folds partitions of a view's source into the online store. Run drives
// it; a simulator calls Step instead. Its methods are for one goroutine, apart
// from Status, Counts and Progress.
type Worker struct {
	view       *definition.View
	engine     *transforms.View
	records    *reading.Source
	source     Source
	sink       Sink
	quarantine Quarantine
	o          Options
	retention  schemas.Micros // the longest of the view's levels

	encoded sync.Pool    // *[]byte: working memory of flushes
	held    atomic.Int64 // bytes of states and of what is to be quarantined, over all partitions

	parts     map[int32]*partition
	order     []int32            // of parts, ascending
	known     map[int32]struct{} // partitions that the topic had at the start
	until     *schemas.TopicCut
	started   bool
	refreshed time.Time

	noticeMu sync.Mutex
	observed
}

// New returns a worker of a view. records reads the view's source.
func New(view *definition.View, records *reading.Source, source Source, sink Sink, quarantine Quarantine, o Options) (*Worker, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	engine, err := transforms.NewView(view.Spec)
	if err != nil {
		return nil, err
	}
	w := &Worker{view: view, engine: engine, records: records, source: source, sink: sink, quarantine: quarantine,
		o: o.withDefaults(), parts: map[int32]*partition{}}
	w.beat()
	for _, hop := range engine.Hops() {
		w.retention = max(w.retention, engine.Retention(hop))
	}
	return w, nil
}

// Run works until its context ends, the cut is reached, or an error that needs
// an operator. What can be flushed then is, and nil is returned for an end that
// was asked for.
func (w *Worker) Run(ctx context.Context) error {
	var ended atomic.Int64 // when ctx did: a call that was under way takes of the time to drain
	defer context.AfterFunc(ctx, func() { ended.Store(time.Now().UnixNano()) })()
	for {
		finished, err := w.Step(ctx)
		if finished && err == nil {
			return nil
		}
		if err == nil && ctx.Err() == nil {
			continue
		}
		if ctx.Err() != nil {
			err = nil
		}
		from := time.Now()
		if ns := ended.Load(); ns != 0 {
			from = time.Unix(0, ns)
		}
		dctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), from.Add(w.o.DrainTimeout))
		defer cancel()
		drained := w.Drain(dctx)
		if err != nil && drained != nil && drained.Error() == err.Error() {
			return err // what could not be written still cannot: said once
		}
		return errors.Join(err, drained)
	}
}

// Step does one round: opens what is to be opened, polls once, folds and writes
// what is due. It tells whether all partitions stand at the cut.
func (w *Worker) Step(ctx context.Context) (finished bool, err error) {
	w.beat()
	if err := w.refresh(ctx); err != nil {
		return false, err
	}
	if err := w.follow(ctx); err != nil {
		return false, err
	}
	now := w.o.Now()
	err = w.each(w.which(func(p *partition) bool {
		return (p.phase == opening || p.phase == waiting) && !p.wake.After(now)
	}), func(p *partition) error { return p.resume(ctx) })
	if err = errors.Join(err, w.direct(ctx), w.heldEnd()); err != nil {
		return false, err
	}
	if w.finished() {
		return true, nil
	}
	batches, pollErr := w.poll(ctx)
	err = w.each(w.which(func(p *partition) bool { return p.phase == active }), func(p *partition) error {
		for _, b := range batches {
			if b.Partition == p.id {
				if err := p.apply(ctx, b); err != nil {
					return err
				}
			}
		}
		if err := p.flushDue(ctx); err != nil || p.phase != active {
			return err
		}
		if err := p.shrink(ctx); err != nil || p.phase != active {
			return err
		}
		if err := p.confirm(ctx); err != nil {
			return err
		}
		return p.sweepPage(ctx)
	})
	if err = errors.Join(pollErr, err); err == nil {
		err = errors.Join(w.direct(ctx), w.heldEnd())
	}
	w.report()
	return err == nil && w.finished(), err
}

// Drain writes what is not written yet. It gives up a partition at its first
// failure: what is not written is noted, and folded again later.
func (w *Worker) Drain(ctx context.Context) error {
	err := w.write(ctx, w.order)
	w.report()
	if ctx.Err() != nil {
		return fmt.Errorf("the last flush was cut short, so the next start reads again what it lacks: %w", ctx.Err())
	}
	return err
}

// Assign adds partitions, as Run does by itself unless Options.Partitions is set.
func (w *Worker) Assign(ids ...int32) {
	for _, id := range ids {
		if w.parts[id] == nil {
			w.parts[id] = w.newPartition(id)
			w.order = append(w.order, id)
			slices.Sort(w.order)
		}
	}
}

// refresh looks for partitions: at the start, and for new ones from time to time.
func (w *Worker) refresh(ctx context.Context) error {
	now := w.o.Now()
	if w.started && (w.o.Partitions != nil || w.until != nil || now.Sub(w.refreshed) < w.o.RefreshEvery) {
		return nil
	}
	w.refreshed = now // also when it fails: the next try has time, due flushes have not
	if !w.started {
		return w.begin(ctx)
	}
	cut, err := w.source.Cut(ctx)
	switch {
	case errors.Is(err, marker.ErrUnavailable):
	case err != nil:
		return fmt.Errorf("the topic cannot be described: %w", err)
	case w.o.Membership == nil:
		w.Assign(cut.PartitionIDs()...)
	}
	return nil
}

// begin takes up the partitions that there are.
func (w *Worker) begin(ctx context.Context) error {
	cut, err := w.topic(ctx)
	if err != nil {
		return err
	}
	switch {
	case w.o.UntilEnd:
		w.until = &cut
	case w.o.Until != nil:
		if w.o.Until.TopicID != cut.TopicID {
			return &CutTopicError{w.o.Until.TopicID, cut.TopicID}
		}
		w.until = w.o.Until
	}
	w.known = map[int32]struct{}{}
	for id := range cut.Partitions {
		w.known[id] = struct{}{}
	}
	switch {
	case w.o.Membership != nil: // it assigns
	case w.o.Partitions != nil:
		w.Assign(w.o.Partitions...)
	case w.until != nil:
		w.Assign(w.until.PartitionIDs()...)
	default:
		w.Assign(cut.PartitionIDs()...)
	}
	w.started = true
	return nil
}

// poll waits for records, no longer than until something is due.
func (w *Worker) poll(ctx context.Context) ([]Batch, error) {
	now := w.o.Now()
	wait, some := w.o.PollWait, false
	for _, id := range w.order {
		p := w.parts[id]
		switch p.phase {
		case opening, waiting:
			wait = min(wait, p.wake.Sub(now))
		case active:
			some = true
			for _, s := range p.shards {
				if t := p.due(s); !t.IsZero() {
					wait = min(wait, t.Sub(now))
				}
			}
		}
	}
	if wait = max(wait, 0); !some {
		w.o.Sleep(ctx, wait)
		return nil, ctx.Err()
	}
	bs, err := w.source.Poll(ctx, wait)
	if errors.Is(err, marker.ErrUnavailable) {
		w.notice(-1, -1, err, "the log cannot be read; trying again")
		w.o.Sleep(ctx, w.o.MinBackoff)
		err = nil
	}
	return bs, err
}

// direct tells the source where to read from now.
func (w *Worker) direct(ctx context.Context) error {
	at := map[int32]int64{}
	for _, id := range w.order {
		p := w.parts[id]
		switch {
		case p.phase != active && p.assigned:
			w.source.Remove(id)
			p.assigned = false
		case p.phase == active && (p.seek || !p.assigned):
			at[id] = p.pos
			p.seek, p.assigned = false, true
		}
	}
	if len(at) == 0 {
		return nil
	}
	err := w.source.Assign(ctx, at)
	if errors.Is(err, marker.ErrUnavailable) {
		for _, id := range w.order {
			if _, asked := at[id]; !asked {
				continue
			}
			p := w.parts[id]
			p.assigned = false
			if err := p.later(ctx, "the log cannot be read", err); err != errAside {
				return err
			}
		}
		return nil
	}
	return err
}

func (w *Worker) which(f func(*partition) bool) (ps []*partition) {
	for _, id := range w.order {
		if p := w.parts[id]; f(p) {
			ps = append(ps, p)
		}
	}
	return ps
}

// each works on partitions, up to Options.Parallel at once. Work that was put
// aside is no error.
func (w *Worker) each(ps []*partition, f func(*partition) error) error {
	errs := make([]error, len(ps))
	one := func(i int) {
		if err := f(ps[i]); err != errAside {
			errs[i] = err
		}
		w.beat()
	}
	if w.o.Parallel == 1 || len(ps) < 2 {
		for i := range ps {
			if one(i); errs[i] != nil {
				return errs[i]
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, w.o.Parallel)
	for i := range ps {
		slots <- struct{}{}
		wg.Go(func() {
			one(i)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (w *Worker) finished() bool {
	if w.until == nil {
		return false
	}
	for _, p := range w.parts {
		if p.phase != done {
			return false
		}
	}
	return true
}

func (w *Worker) notice(partition int32, shard int, err error, format string, a ...any) {
	n := Notice{Partition: partition, Shard: shard, Offset: -1, Text: fmt.Sprintf(format, a...), Err: err}
	if p := w.parts[partition]; p != nil { // the caller works on it
		n.Offset = p.pos
	}
	w.noticeMu.Lock()
	defer w.noticeMu.Unlock()
	w.o.Notice(n)
}
