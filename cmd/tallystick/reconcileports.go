package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

// onlineSide is a view's online store as reconcile reads it.
type onlineSide struct {
	client *online.Client
	store  *online.Store
	view   string
}

// Live implements reconcile.Online.
func (o *onlineSide) Live(ctx context.Context) (string, error) { return o.client.Live(ctx, o.view) }

// Partitions implements reconcile.Online.
func (o *onlineSide) Partitions(ctx context.Context) ([]int32, error) { return o.store.Partitions(ctx) }

// Marks implements reconcile.Online.
func (o *onlineSide) Marks(ctx context.Context, p int32) ([]marker.Mark, error) {
	return o.store.Marks(ctx, p)
}

// Scan implements reconcile.Online.
func (o *onlineSide) Scan(ctx context.Context, shard int, p int32) iter.Seq2[reconcile.OnlineState, error] {
	return func(yield func(reconcile.OnlineState, error) bool) {
		for cursor, first := "", true; first || cursor != ""; first = false {
			page, err := o.store.Scan(ctx, shard, p, cursor)
			if err != nil {
				yield(reconcile.OnlineState{}, err)
				return
			}
			for _, s := range page.States {
				if !yield(reconcile.OnlineState{Entity: s.Entity, Stored: s.Stored}, nil) {
					return
				}
			}
			cursor = page.Next
		}
	}
}

// offlineSide is a view's publication as reconcile reads it.
type offlineSide struct{ *offline.Published }

// Info implements reconcile.Offline.
func (o offlineSide) Info() reconcile.Publication {
	info := &o.Published.Info
	p := reconcile.Publication{Fingerprint: info.Fingerprint, Cut: info.Cut, Boundary: schemas.Never, ValidFrom: schemas.Never, Ledgers: info.Ledgers}
	if info.Boundary != nil {
		p.Boundary = *info.Boundary
	}
	if info.ValidFrom != nil {
		p.ValidFrom = *info.ValidFrom
	}
	p.Days = dayLedgers(info.Days)
	return p
}

// dayLedgers sums the partitions' ledgers per day; records without an event time
// belong to none.
func dayLedgers(entries []offline.DayEntry) []reconcile.DayLedger {
	days := []reconcile.DayLedger{}
	at := map[string]int{}
	for i := range entries {
		e := &entries[i]
		if e.Day == "" {
			continue
		}
		n, ok := at[e.Day]
		if !ok {
			n = len(days)
			at[e.Day] = n
			days = append(days, reconcile.DayLedger{Day: e.Day})
		}
		days[n].Read += e.Read()
		days[n].Late += e.Late
	}
	slices.SortFunc(days, func(a, b reconcile.DayLedger) int { return strings.Compare(a.Day, b.Day) })
	return days
}

// Tiles implements reconcile.Offline.
func (o offlineSide) Tiles(ctx context.Context, from schemas.Micros) iter.Seq2[reconcile.TileRow, error] {
	return o.Published.Tiles(ctx, offline.Select{FromDay: from.Days()})
}

// Features implements reconcile.Offline.
func (o offlineSide) Features(ctx context.Context, at schemas.Micros) iter.Seq2[reconcile.FeatureRow, error] {
	day := at.Days()
	return func(yield func(reconcile.FeatureRow, error) bool) {
		for f, err := range o.Published.Features(ctx, offline.Select{FromDay: day, ToDay: day}) {
			if err == nil && f.Boundary != at {
				continue
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// Open implements reconcile.Offline.
func (o offlineSide) Open(ctx context.Context) iter.Seq2[reconcile.OpenRow, error] {
	return o.Published.Open(ctx, offline.Select{})
}

// replaySide folds the log anew, for reconcile to tell which side is right.
type replaySide struct {
	client *log.Client
	source *reading.Source
	view   *definition.View
	engine *transforms.View
	cut    schemas.TopicCut
}

// Replay implements reconcile.Replayer: one pass over the partition.
func (r *replaySide) Replay(ctx context.Context, p int32, entities map[string]bool, ledgers bool) (*reconcile.Replayed, error) {
	pc, ok := r.cut.Partitions[p]
	if !ok {
		return nil, fmt.Errorf("partition %d is not in the cut", p)
	}
	compacted, err := r.compacted(ctx)
	if err != nil {
		return nil, err
	}
	f := &refold{r: r, partition: p, only: entities, all: ledgers, reader: r.source.NewReader(), event: r.source.NewEvent(), in: r.engine.NewInput(),
		clock:  schemas.ClockAt(schemas.Never, r.view.Source.History[p], r.view.Source.MaxFuture),
		states: map[string]*transforms.State{}, ledgers: map[int]transforms.Ledger{}, counted: map[string]map[int64]bool{}}
	err = r.client.Read(ctx, log.Ref{Name: r.view.Source.Topic, ID: r.cut.TopicID}, p, pc.Start, pc.End, func(rs []schemas.Record) error {
		return f.take(ctx, rs)
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(f.states, func(e string, s *transforms.State) bool { return s.LastOffset() < 0 || !entities[e] })
	return &reconcile.Replayed{States: f.states, Ledgers: f.ledgers, Compacted: compacted, Counted: f.counted}, nil
}

// compacted tells whether Kafka may have removed records of a table.
func (r *replaySide) compacted(ctx context.Context) (bool, error) {
	if !r.engine.IsTable() {
		return false, nil
	}
	topic, err := r.client.Describe(ctx, r.view.Source.Topic)
	if err != nil {
		return false, err
	}
	return topic.Compacted() || topic.CleanupPolicy == "", nil // not reported
}

// refold is one partition being folded.
type refold struct {
	r         *replaySide
	partition int32
	only      map[string]bool
	all       bool // not only these
	reader    *reading.Reader
	event     *schemas.Event
	in        *transforms.Input
	clock     schemas.Clock
	states    map[string]*transforms.State
	ledgers   map[int]transforms.Ledger
	counted   map[string]map[int64]bool // of a table
}

func (f *refold) take(ctx context.Context, rs []schemas.Record) error {
	for i := range rs {
		if rs[i].Tick {
			f.clock.Tick(&rs[i])
			continue
		}
		if err := f.reader.Read(ctx, &rs[i], f.event); err != nil {
			return err
		}
		f.clock.Stamp(f.event)
		f.r.engine.Prepare(f.in, f.event)
		if !f.all && !f.only[string(f.in.Entity)] {
			continue
		}
		var s *transforms.State
		if len(f.in.Entity) > 0 {
			if s = f.states[string(f.in.Entity)]; s == nil {
				s = f.r.engine.NewState(f.partition)
				f.states[string(f.in.Entity)] = s
			}
		}
		v := f.r.engine.Step(s, f.in)
		if v.Outcome == transforms.Applied && f.r.engine.IsTable() && f.only[string(f.in.Entity)] {
			f.count()
		}
		shard := transforms.EntityShard(f.in.Entity, f.r.engine.Spec().Shards)
		l := f.ledgers[shard]
		l.Add(&v)
		f.ledgers[shard] = l
	}
	return nil
}

// count notes that the record at hand counts, so that the log holds it.
func (f *refold) count() {
	entity := string(f.in.Entity)
	if f.counted[entity] == nil {
		f.counted[entity] = map[int64]bool{}
	}
	f.counted[entity][f.in.Offset] = true
}
