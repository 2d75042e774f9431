package batch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/rows"
)

// From is where a replay goes on from: what the tables say as published at an earlier
// cut (B5). Records before that cut are not read again. Check has been asked.
type From struct {
	Carry    Carry
	Cut      schemas.TopicCut // with clocks
	Ledgers  map[ShardPartition]*transforms.Ledger
	Newest   map[ShardPartition]schemas.Micros
	Days     map[PartitionDay]*transforms.Ledger
	Boundary schemas.Micros // at which states were trimmed: tiles that end up to it are in the tables
	// FinalOnly: the tables have no rows that can change; see Replay.
	FinalOnly bool
}

// Carry reads the tables of the earlier cut. Dates are UTC days since the epoch; rows
// of no date count as of a later one.
type Carry interface {
	// States calls fn with the states of a partition, by shard and entity.
	States(ctx context.Context, partition int32, fn func(*Carried) error) error
	// Tiles and Quarantine call fn with the rows of dates from day on, Features with those
	// of dates up to another one, in any order.
	Tiles(ctx context.Context, partition int32, day int64, fn func(rows.Tile) error) error
	Quarantine(ctx context.Context, partition int32, day int64, fn func(rows.Quarantined) error) error
	Features(ctx context.Context, from, to int64, fn func(rows.Feature) error) error
}

// Carried is a state at the earlier cut. No tile waits: Check has seen to that.
type Carried struct {
	rows.Open
	Closed []transforms.Tile // those within retention, by level and start
}

// Check tells why a replay of a view up to a cut cannot go on from here, "" when it can.
func (f *From) Check(v *definition.View, cut schemas.TopicCut) string {
	if reason := f.Settles(v, cut); reason != "" {
		return reason
	}
	now, most := schemas.Forever, schemas.Never
	for _, p := range cut.PartitionIDs() {
		was, is := f.Cut.Partitions[p], cut.Partitions[p]
		if is.Start > was.End {
			return fmt.Sprintf("the log of partition %d begins at %d, they end at %d", p, is.Start, was.End)
		}
		now, most = min(now, *was.Clock), max(most, *was.Clock)
	}
	if most > now.AddSat(transforms.Slack) {
		return fmt.Sprintf("the clocks of the partitions lie more than %v apart: states are without tiles that are still asked for", time.Duration(transforms.Slack)*time.Microsecond)
	}
	return ""
}

// Settles tells why dates that are final in the tables need not be for a replay of a
// view up to a later cut, "" when they are.
func (f *From) Settles(v *definition.View, cut schemas.TopicCut) string {
	if v.Spec.Table {
		return "a table's newest records may be gone from its log"
	}
	if f.Cut.TopicID != cut.TopicID {
		return "the topic was created again"
	}
	if len(f.Cut.Partitions) != len(cut.Partitions) {
		return fmt.Sprintf("the topic had %d partitions, now %d: what the new ones hold may be older", len(f.Cut.Partitions), len(cut.Partitions))
	}
	closed := schemas.Forever
	for _, p := range cut.PartitionIDs() {
		was, ok := f.Cut.Partitions[p]
		switch is := cut.Partitions[p]; {
		case !ok || was.Clock == nil:
			return fmt.Sprintf("partition %d held no record", p)
		case was.Idle != nil:
			return fmt.Sprintf("close_idle had closed partition %d beyond its records: what has come since may lie before that", p)
		case is.End < was.End:
			return fmt.Sprintf("the cut ends before theirs: partition %d at %d, they at %d", p, is.End, was.End)
		case was.End < v.Source.History[p]:
			return fmt.Sprintf("the load of old events in partition %d was not read to its end", p)
		}
		closed = min(closed, was.Clock.SubSat(v.Spec.LatenessAt(p, was.End)))
	}
	if engine, err := transforms.NewView(v.Spec); err != nil || (&end{closed: closed}).boundary(engine) != f.Boundary {
		return "they were closed by other rules"
	}
	return ""
}

// closedAt returns the least closing clock of a cut, and that minus lateness.
func (r *Replay) closedAt(cut schemas.TopicCut, clocks map[int32]schemas.Micros) (now, closed schemas.Micros) {
	now, closed = schemas.Forever, schemas.Forever
	for p, clock := range clocks {
		pc := cut.Partitions[p]
		c := r.View.Source.Closing(p, pc, clock)
		now = min(now, c)
		closed = min(closed, c.SubSat(r.engine.Spec().LatenessAt(p, pc.End)))
	}
	return now, closed
}

// earlier is what is known of the earlier cut.
type earlier struct {
	clocks map[int32]schemas.Micros
	now    schemas.Micros // the least closing clock: the tables have no boundary beyond it
	closed schemas.Micros // boundaries up to it are final in the tables
	newest schemas.Micros // no event time that counts lies beyond
	day    int64          // dates before it stay as they are
}

func (r *Replay) earlier(f *From) *earlier {
	if f == nil {
		return nil
	}
	e := &earlier{clocks: map[int32]schemas.Micros{}}
	for p, pc := range f.Cut.Partitions {
		e.clocks[p] = *pc.Clock
	}
	e.now, e.closed = r.closedAt(f.Cut, e.clocks)
	e.day = e.closed.Days()
	for _, c := range e.clocks {
		e.day = min(e.day, c.Days())
		e.newest = max(e.newest, c.AddSat(r.View.Source.MaxFuture))
	}
	return e
}

// FirstDay returns the first date, in days since the epoch, of which a replay that
// goes on writes rows: those before it stay as they are.
func (r *Replay) FirstDay() (int64, error) {
	if err := r.prepare(); err != nil || r.before == nil {
		return 0, err
	}
	return r.before.day, nil
}

// ClosedDay returns the first date, in days since the epoch, that the earlier cut has not
// closed.
func (r *Replay) ClosedDay() (int64, error) {
	if err := r.prepare(); err != nil || r.before == nil {
		return 0, err
	}
	return r.before.closed.Days(), nil
}

// The units that carry rows of the tables, and the kind of these rows.
const (
	carriedRows     = byte(2) // transforms.AppendKept, by the shard of the entity
	quarantinedRows = byte(3) // partition and offset, big-endian
	carriedFeatures = "carry-features"
)

func carriedUnit(p int32) string { return fmt.Sprintf("carry-%05d", p) }

// carries returns the units that carry what the tables hold, each a lane.
func (r *Replay) carries() (lanes []Lane) {
	if r.Was != nil {
		return []Lane{{{Name: carriedFeatures, Run: r.carryHeld}}}
	}
	if r.From == nil {
		return nil
	}
	for _, p := range slices.Sorted(maps.Keys(r.before.clocks)) {
		lanes = append(lanes, Lane{{Name: carriedUnit(p), Run: func(ctx context.Context) error { return r.carry(ctx, p) }}})
	}
	return append(lanes, Lane{{Name: carriedFeatures, Run: r.carryFeatures}})
}

// carry carries the states of a partition, and its rows of dates that are written anew.
func (r *Replay) carry(ctx context.Context, p int32) error {
	out, err := r.Work.Begin(ctx, carriedUnit(p), r.share()/2)
	if err != nil {
		return err
	}
	defer out.Abort()
	var kept, row []byte
	n, handled := int64(0), 0
	put := func(shard int, entity []byte) error {
		row = transforms.AppendKept(row[:0], entity, p, n, kept)
		n++
		r.brake(&handled, len(row))
		return out.Put(carriedRows, shard, row)
	}
	err = r.From.Carry.States(ctx, p, func(c *Carried) error {
		if len(c.Waiting) > 0 {
			return fmt.Errorf("the state of entity %x in partition %d has tiles that wait", c.Entity, p)
		}
		kept = appendState(append(kept[:0], keptState), c)
		return put(c.Shard, c.Entity)
	})
	if err != nil {
		return err
	}
	err = r.From.Carry.Tiles(ctx, p, r.before.day, func(t rows.Tile) error {
		kept = appendTile(append(kept[:0], keptTile), &t.Tile)
		return put(t.Shard, t.Entity)
	})
	if err != nil {
		return err
	}
	if err := r.From.Carry.Quarantine(ctx, p, r.before.day, out.Quarantine); err != nil {
		return err
	}
	return out.Finish(ctx, nil)
}

// carryFeatures carries the rows of dates that are written anew: those that are final
// to be written again, the others to be compared.
func (r *Replay) carryFeatures(ctx context.Context) error {
	out, err := r.Work.Begin(ctx, carriedFeatures, r.share()/2)
	if err != nil {
		return err
	}
	defer out.Abort()
	var kept, row []byte
	err = r.From.Carry.Features(ctx, r.before.day, LastDay, func(f rows.Feature) error {
		kind := keptFeature
		if f.Boundary > r.before.closed {
			kind = keptProvisional // it is computed anew
		}
		kept = appendFeature(append(kept[:0], kind), &f)
		row = transforms.AppendKept(row[:0], f.Entity, -1, int64(f.Boundary), kept)
		return out.Put(carriedRows, f.Shard, row)
	})
	if err != nil {
		return err
	}
	return out.Finish(ctx, nil)
}

// carried returns the units that have put rows of the tables.
func (r *Replay) carried() (units []string) {
	for _, lane := range r.carries() {
		units = append(units, lane[0].Name)
	}
	return units
}

// enter goes on from a row of the tables: the entity's states come first, then its
// tiles, in the end its features, by boundary.
func (f *replayFold) enter(entity []byte, p int32, kept []byte) error {
	if err := f.entityOf(entity); err != nil {
		return err
	}
	c := &keptReader{b: kept}
	switch kind := c.byte(); kind {
	case keptState:
		var s Carried
		if c.state(&s); c.end() {
			return f.goOn(p, &s)
		}
	case keptTile:
		var t transforms.Tile
		if c.tile(&t); c.end() {
			f.state(p) // it may have none
			f.tiles = append(f.tiles, keptTileOf{p, t})
			return nil
		}
	case keptFeature, keptProvisional:
		row := rows.Feature{Shard: f.shard, Entity: f.entity}
		if c.feature(&row, len(f.run.View.Spec.Features)); c.end() {
			if kind == keptProvisional {
				f.were.rows = append(f.were.rows, row)
				return nil
			}
			f.counts.Features++
			return f.out.Feature(row)
		}
	}
	return fmt.Errorf("a carried row does not decode")
}

type keptTileOf struct {
	partition int32
	transforms.Tile
}

// goOn enters a state.
func (f *replayFold) goOn(p int32, c *Carried) error {
	s, err := f.run.engine.Parse(transforms.Parts{Served: c.Served, Open: c.Open.Open})
	if err == nil {
		err = f.run.engine.Restore(s, c.Closed)
	}
	if err != nil {
		return fmt.Errorf("the state of entity %x in partition %d: %w", f.entity, p, err)
	}
	s.KeepEvicted = true
	i, _ := slices.BinarySearch(f.partitions, p)
	f.partitions, f.states = slices.Insert(f.partitions, i, p), slices.Insert(f.states, i, s)
	f.newest, f.next = f.run.before.newest, f.after(f.run.before.closed)
	return nil
}

// withKept leaves out of a state's closed tiles those that the tables have, but for
// the ones of dates that are written anew.
func (f *replayFold) withKept(p int32, closed []transforms.Tile) []transforms.Tile {
	if f.run.before == nil {
		return closed
	}
	closed = slices.DeleteFunc(closed, func(t transforms.Tile) bool { return isClosed(&t, f.run.From.Boundary) })
	for _, t := range f.tiles {
		if t.partition == p {
			closed = append(closed, t.Tile)
		}
	}
	return closed
}
