package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// run is one comparison.
type run struct {
	view     *definition.View
	online   Online
	offline  Offline
	replayer Replayer // may be nil
	opt      Options
	shards   int
	frame    frame
	rep      *Report
	found    []*finding // of the shard at hand, causes still open
	open     pulled[OpenRow]
	tiles    pulled[TileRow]
	rows     pulled[FeatureRow]
	oneRow   *entity // whose row is known to be missing, or one too many
	// unsettled are entities of a table, of the shard at hand.
	unsettled []unsettled
}

// Run compares the two stores of a view. A difference is no error: errors say
// that the comparison could not be done.
func Run(ctx context.Context, view *definition.View, online Online, offline Offline, replayer Replayer, opt Options) (*Report, error) {
	if err := opt.fill(); err != nil {
		return nil, err
	}
	engine, err := transforms.NewView(view.Spec)
	if err != nil {
		return nil, err
	}
	r := newRun(view, engine, online, offline, replayer, opt)
	differ, err := r.definitions(ctx)
	if err != nil {
		return nil, err
	}
	if differ {
		return r.finish(), nil
	}
	if err := r.mark(ctx); err != nil {
		return nil, err
	}
	r.ledgers()
	if err := r.attribute(ctx); err != nil {
		return nil, err
	}
	compare := r.compare
	if r.isTable() {
		compare = r.compareTable
	}
	if r.frame.b != schemas.Never {
		if err := compare(ctx); err != nil {
			return nil, err
		}
	}
	return r.finish(), nil
}

func newRun(view *definition.View, engine *transforms.View, online Online, offline Offline, replayer Replayer, opt Options) *run {
	info := offline.Info()
	r := &run{view: view, online: online, offline: offline, replayer: replayer, opt: opt, shards: view.Spec.Shards}
	r.frame = frame{engine: engine, source: view.Source, hops: engine.Hops(), cut: info.Cut, boundary: info.Boundary, validFrom: info.ValidFrom,
		before: map[place]marker.Mark{}, after: map[place]marker.Mark{}, out: map[place]bool{}, b: schemas.Never}
	r.rep = &Report{View: view.Name, Fingerprint: view.Fingerprint, Boundary: Instant(schemas.Never), ValidFrom: Instant(info.ValidFrom),
		TilesFrom: Instant(schemas.Never), TableAsOf: Instant(schemas.Never), Sample: opt.Sample, Replayed: replayer != nil, Notes: []string{}, Listed: []Difference{}, Days: append([]DayLedger{}, info.Days...),
		Causes: map[Cause]int64{}, Levels: []LevelReport{}}
	if engine.IsTable() {
		r.rep.Cells = &CellReport{}
	}
	for _, c := range Causes() {
		r.rep.Causes[c] = 0
	}
	for _, h := range r.frame.hops {
		r.frame.retention = append(r.frame.retention, engine.Retention(h))
		r.rep.Levels = append(r.rep.Levels, LevelReport{Hop: hopText(h), Boundary: Instant(schemas.Never)})
	}
	for i := range view.Spec.Features {
		r.rep.Features = append(r.rep.Features, FeatureReport{Feature: view.Spec.Features[i].Name, AsOf: Instant(schemas.Never)})
	}
	return r
}

// definitions tells whether a side is of another definition than the view.
func (r *run) definitions(ctx context.Context) (differ bool, err error) {
	live, err := r.online.Live(ctx)
	if err != nil {
		return false, err
	}
	say := func(side Side, have, text string) {
		d := r.difference(DefinitionKind, place{-1, -1}, Definition, side, noEvidence(text))
		d.Online, d.Offline = r.view.Fingerprint, r.view.Fingerprint
		if side == OnOnline {
			d.Online = have
		} else {
			d.Offline = have
		}
		r.add(&finding{Difference: d})
		differ = true
	}
	if live != "" && live != r.view.Fingerprint {
		say(OnOnline, live, "readers of the online store use another definition: `stream` this one and make it live with `tallystick live`, or reconcile with the definition that is live")
	}
	if have := r.offline.Info().Fingerprint; have != r.view.Fingerprint {
		say(OnOffline, have, "the tables are of another definition: replay this one, or reconcile with the definition that they are of")
	}
	r.flush()
	return differ, nil
}

// compare goes through all entities of both sides, shard by shard.
func (r *run) compare(ctx context.Context) error {
	f := &r.frame
	r.rep.Boundary, r.rep.TilesFrom = Instant(f.b), Instant(f.tilesFrom())
	for li := range f.hops {
		r.rep.Levels[li].Boundary = Instant(f.bounds[li])
	}
	for i := range r.rep.Features {
		r.rep.Features[i].AsOf = Instant(f.bounds[f.engine.Level(i)])
	}
	r.rep.TableAsOf = Instant(f.snapshot)
	return r.pages(ctx)
}

// pages goes through the shards of both sides, entity by entity.
func (r *run) pages(ctx context.Context) error {
	f := &r.frame
	r.open = pull(r.offline.Open(ctx), compareOpen)
	defer r.open.stop()
	r.tiles = pull(r.offline.Tiles(ctx, f.tilesFrom()), compareTiles)
	defer r.tiles.stop()
	r.rows = pull(r.offline.Features(ctx, f.snapshot), compareRows)
	defer r.rows.stop()
	for _, next := range []func() error{r.open.next, r.tiles.next, r.rows.next} {
		if err := next(); err != nil {
			return err
		}
	}
	for shard := range r.shards {
		if err := r.shard(ctx, shard); err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
	}
	if r.open.ok || r.tiles.ok || r.rows.ok {
		return &OrderError{"rows of a shard that the view does not have"}
	}
	return nil
}

// shard joins one shard's online states, sorted in memory, with the tables' rows.
func (r *run) shard(ctx context.Context, shard int) error {
	states, err := r.scan(ctx, shard)
	if err != nil {
		return err
	}
	if err := r.settle(ctx, shard); err != nil {
		return err
	}
	for {
		e, rest, err := r.gather(shard, states)
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		states = rest
		if !r.opt.sampled([]byte(e.name)) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.isTable() {
			r.tableEntity(e)
		} else {
			r.entity(e)
		}
	}
	return r.attribute(ctx)
}

// scanned is an online state and where it was found.
type scanned struct {
	partition int32
	OnlineState
}

// scan reads the states of a shard, each once: the last reading counts.
func (r *run) scan(ctx context.Context, shard int) ([]scanned, error) {
	var states []scanned
	for _, p := range r.frame.partitions {
		if r.frame.out[place{shard, p}] {
			continue
		}
		seen := map[string]int{}
		for s, err := range r.online.Scan(ctx, shard, p) {
			if err != nil {
				return nil, err
			}
			if r.opt.Progress != nil {
				r.opt.Progress.Add(1)
			}
			if !r.opt.sampled([]byte(s.Entity)) {
				continue
			}
			if i, twice := seen[s.Entity]; twice {
				states[i].OnlineState = s
				continue
			}
			seen[s.Entity] = len(states)
			states = append(states, scanned{p, s})
		}
	}
	slices.SortFunc(states, func(a, b scanned) int {
		return cmp.Or(cmp.Compare(a.Entity, b.Entity), cmp.Compare(a.partition, b.partition))
	})
	return states, nil
}

// entity is all that both sides hold of one entity.
type entity struct {
	shard int
	name  string // canonical bytes
	parts []*part
	row   *FeatureRow // nil = none
}

// part is an entity in one partition.
type part struct {
	at     place
	stored *marker.Stored // nil = none
	row    *OpenRow       // nil = none
	tiles  []transforms.Tile
	// What is read from these; nil where it cannot be read.
	on, off *transforms.State
}

func (e *entity) part(p int32) *part {
	i, ok := slices.BinarySearchFunc(e.parts, p, func(x *part, p int32) int { return cmp.Compare(x.at.partition, p) })
	if !ok {
		e.parts = slices.Insert(e.parts, i, &part{at: place{e.shard, p}})
	}
	return e.parts[i]
}

// gather takes the next entity of a shard off the four streams, nil after the
// last.
func (r *run) gather(shard int, states []scanned) (*entity, []scanned, error) {
	e := &entity{shard: shard}
	some := false
	least := func(name string) {
		if !some || name < e.name {
			e.name, some = name, true
		}
	}
	if len(states) > 0 {
		least(states[0].Entity)
	}
	if r.open.ok && r.open.row.Shard == shard {
		least(string(r.open.row.Entity))
	}
	if r.tiles.ok && r.tiles.row.Shard == shard {
		least(string(r.tiles.row.Entity))
	}
	if r.rows.ok && r.rows.row.Shard == shard {
		least(string(r.rows.row.Entity))
	}
	if !some {
		return nil, nil, nil
	}
	for len(states) > 0 && states[0].Entity == e.name {
		e.part(states[0].partition).stored = &states[0].Stored
		states = states[1:]
	}
	for r.open.ok && r.open.row.Shard == shard && string(r.open.row.Entity) == e.name {
		row := r.open.row
		e.part(row.Partition).row = &row
		if err := r.open.next(); err != nil {
			return nil, nil, err
		}
	}
	for r.tiles.ok && r.tiles.row.Shard == shard && string(r.tiles.row.Entity) == e.name {
		p := e.part(r.tiles.row.Partition)
		p.tiles = append(p.tiles, r.tiles.row.Tile)
		if err := r.tiles.next(); err != nil {
			return nil, nil, err
		}
	}
	if r.rows.ok && r.rows.row.Shard == shard && string(r.rows.row.Entity) == e.name {
		row := r.rows.row
		e.row = &row
		if err := r.rows.next(); err != nil {
			return nil, nil, err
		}
	}
	return e, states, nil
}

// pulled is a stream of rows of which the next one is at hand.
type pulled[T any] struct {
	row   T
	ok    bool
	order func(a, b T) int
	read  func() (T, error, bool)
	stop  func()
}

func pull[T any](seq iter.Seq2[T, error], order func(a, b T) int) pulled[T] {
	read, stop := iter.Pull2(seq)
	return pulled[T]{read: read, stop: stop, order: order}
}

// OrderError says that rows do not come in the order that a merge needs.
type OrderError struct{ What string }

func (e *OrderError) Error() string { return "the tables: " + e.What }

func (p *pulled[T]) next() error {
	row, err, ok := p.read()
	if err != nil {
		return err
	}
	if ok && p.ok && p.order(p.row, row) > 0 {
		return &OrderError{"rows out of order"}
	}
	p.row, p.ok = row, ok
	return nil
}

func compareOpen(a, b OpenRow) int {
	return cmp.Or(cmp.Compare(a.Shard, b.Shard), slices.Compare(a.Entity, b.Entity), cmp.Compare(a.Partition, b.Partition))
}

func compareRows(a, b FeatureRow) int {
	return cmp.Or(cmp.Compare(a.Shard, b.Shard), slices.Compare(a.Entity, b.Entity))
}

func compareTiles(a, b TileRow) int {
	return cmp.Or(cmp.Compare(a.Shard, b.Shard), slices.Compare(a.Entity, b.Entity), cmp.Compare(a.Partition, b.Partition),
		cmp.Compare(a.Tile.Hop, b.Tile.Hop), cmp.Compare(a.Tile.Start, b.Tile.Start))
}

// why notes why nothing can be compared and what to do.
func (r *run) why(format string, a ...any) { r.rep.Why = append(r.rep.Why, fmt.Sprintf(format, a...)) }

func (r *run) note(format string, a ...any) {
	r.rep.Notes = append(r.rep.Notes, fmt.Sprintf(format, a...))
}
