package batch

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// was is the tables as what dates of theirs are compared with.
func (m *memoryTables) was() *From {
	f := *m.from
	f.Carry = memoryCarry{m}
	return &f
}

// §7, B5: a replay of dates in tables of an earlier cut says which rows of these it has
// changed, and by which events that came since; what is only new is not among them, and it
// writes what it writes without.
func TestDatesAreCompared(t *testing.T) {
	compared, changed, late := 0, 0, 0
	for seed := range uint64(600) {
		w := newWorld(t, seed)
		cuts := w.cuts()
		for _, earlier := range cuts[:len(cuts)-1] {
			c, n, l := w.comparesDates(t, seed, earlier)
			compared, changed, late = compared+c, changed+n, late+l
		}
	}
	if compared < 100 || changed < 5 || late < 5 {
		t.Errorf("%d replays were compared, %d rows changed by %d events: the test sees too little", compared, changed, late)
	}
}

func (w *world) comparesDates(t *testing.T, seed uint64, earlier schemas.TopicCut) (compared, changed, late int) {
	engine, err := transforms.NewView(w.view.Spec)
	if err != nil {
		t.Fatal(err)
	}
	tables := w.replayed(w, nil, earlier)
	was := tables.was()
	if was.Boundary == schemas.Never || was.Settles(w.view, w.cut) != "" || w.closed < 0 {
		return 0, 0, 0
	}
	open, err := (&Replay{View: w.view, From: was}).FirstDay()
	if err != nil {
		t.Fatal(err)
	}
	d := &Dates{From: open - w.r.Int64N(3), To: LastDay}
	cut, needs := w.cut, d.Needs(engine, schemas.Micros(w.closed))
	if !engine.HasLifetime() {
		cut, _ = w.begun(needs)
	}
	if w.oracle.Identity != 0 && w.moved(cut, needs) {
		return 0, 0, 0
	}
	got, r, rep := w.replayedDates(cut, d, was)
	for _, e := range rep.Changes.Examples {
		for _, x := range e.Events {
			if late++; x.Offset < was.Cut.Partitions[x.Partition].End || x.EventTime >= e.Boundary {
				t.Fatalf("seed %d: the tables have had %+v, or it is not before %v", seed, x, e.Boundary)
			}
		}
	}
	plain, _, without := w.replayedDates(cut, d, nil)
	if a, b := got.lines(), plain.lines(); a != b || rep.Entities != without.Entities || rep.Features != without.Features {
		t.Fatalf("seed %d: compared, it writes other rows: %s", seed, firstDifference(a, b))
	}
	return 1, got.checkChanges(t, r, tables, rep.Changes, true), late
}

// §7: dates that are final and are written again are compared with what the tables say: a
// row that was there and is none, one that was not, another value; the events that are
// named were in the quarantine. Where the tables cannot be read, the dates are written all
// the same, and it is said why nothing was compared.
func TestFinalDatesAreCompared(t *testing.T) {
	changed, named, unread := 0, 0, 0
	for seed := range uint64(500) {
		w := newWorld(t, seed)
		if w.closed < 0 {
			continue
		}
		tables := w.replayed(w, nil, w.cut)
		was := tables.was()
		if was.Boundary == schemas.Never || w.view.Spec.Table {
			continue
		}
		last := schemas.Micros(w.closed).Days() - 1
		d := &Dates{From: last - w.r.Int64N(3), To: last, Settled: true}
		tables.spoil(w, d)
		if w.r.IntN(6) == 0 {
			was.Carry = brokenCarry{memoryCarry{tables}}
			unread++
		}
		got, r, rep := w.replayedDates(w.cut, d, was)
		plain, _, _ := w.replayedDates(w.cut, d, nil)
		if a, b := got.lines(), plain.lines(); a != b {
			t.Fatalf("seed %d: compared, it writes other rows: %s", seed, firstDifference(a, b))
		}
		if _, broken := was.Carry.(brokenCarry); broken {
			if rep.Changes != nil || rep.Uncompared != "a file is damaged" {
				t.Fatalf("seed %d: nothing could be compared: %+v, %q", seed, rep.Changes, rep.Uncompared)
			}
			continue
		}
		changed += got.checkChanges(t, r, tables, rep.Changes, false)
		for _, e := range rep.Changes.Examples {
			for _, x := range e.Events {
				named++
				if !slices.ContainsFunc(tables.quarantine, func(q rows.Quarantined) bool {
					return q.At.Partition == x.Partition && q.At.Offset == x.Offset
				}) {
					t.Fatalf("seed %d: the tables have had %+v", seed, x)
				}
			}
		}
	}
	if changed < 50 || named < 50 || unread < 10 {
		t.Errorf("%d rows changed, %d events were named, %d tables unread: the test sees too little", changed, named, unread)
	}
}

// spoil makes the tables others than a replay leaves them.
func (m *memoryTables) spoil(w *world, d *Dates) {
	var kept []rows.Feature
	for _, f := range m.features {
		switch {
		case !d.has(f.Boundary):
		case w.r.IntN(5) == 0:
			continue
		case w.r.IntN(5) == 0:
			f.Results = slices.Clone(f.Results)
			f.Results[w.r.IntN(len(f.Results))] = transforms.Result{Value: schemas.StringValue("other"), Status: transforms.Present}
		case w.r.IntN(5) == 0:
			f.Entity = transforms.EncodeEntity(nil, schemas.StringValue("of no record"))
			f.Shard = transforms.EntityShard(f.Entity, w.view.Spec.Shards)
		}
		kept = append(kept, f)
	}
	slices.SortFunc(kept, func(a, b rows.Feature) int {
		if string(a.Entity) != string(b.Entity) || a.Boundary != b.Boundary {
			return slices.Compare(a.Entity, b.Entity)*2 + int(min(1, max(-1, a.Boundary-b.Boundary)))
		}
		return 0
	})
	m.features = slices.CompactFunc(kept, func(a, b rows.Feature) bool { return string(a.Entity) == string(b.Entity) && a.Boundary == b.Boundary })
	for p, log := range w.logs {
		for _, rec := range log {
			if w.r.IntN(4) == 0 {
				m.quarantine = append(m.quarantine, rows.Quarantined{At: schemas.Position{Partition: int32(p), Offset: rec.Offset}})
			}
		}
	}
}

// brokenCarry has tables that cannot be read.
type brokenCarry struct{ memoryCarry }

func (b brokenCarry) Features(_ context.Context, _, _ int64, fn func(rows.Feature) error) error {
	for _, f := range b.features[:len(b.features)/2] {
		if err := fn(f); err != nil {
			return err
		}
	}
	return errors.New("a file is damaged")
}
