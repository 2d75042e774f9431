package offline

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/rows"
)

// RestoreOptions bound what a Restorer takes.
type RestoreOptions struct {
	// MaxFiles is how many files of tiles are read side by side, one a date: 128.
	// Where a partition has more, they are read one after the other and sorted.
	MaxFiles int
	SpillDir string      // for these, an existing directory that others may use too
	Memory   int         // bytes for them to be sorted; 0 = 64 MB
	Disk     *spill.Disk // what may be spilled; nil = no limit
}

const maxRestoreFiles = 128

// RestoreError says why a publication cannot restore an online store.
type RestoreError struct{ View, Reason string }

func (e *RestoreError) Error() string {
	return fmt.Sprintf("the tables of view %s cannot restore the online store: %s", e.View, e.Reason)
}

// CheckRestore refuses a publication that an online store of this definition
// cannot be restored from (O2): one of another definition, or not whole. The
// error is a *RestoreError where the publication is to blame.
func (p *Published) CheckRestore() error {
	bad := func(format string, a ...any) error {
		return &RestoreError{p.t.view.Name, fmt.Sprintf(format, a...) + "; write them anew with `tallystick replay`"}
	}
	if p.Info.Fingerprint != p.t.view.Fingerprint {
		return bad("they are of fingerprint %s, this definition is %s (it has changed, or this build writes states in another format)", p.Info.Fingerprint, p.t.view.Fingerprint)
	}
	for i := range p.Info.Ledgers {
		l := &p.Info.Ledgers[i]
		if l.Newest == nil && l.Applied+l.Filtered+l.Duplicate+l.Superseded > 0 {
			return bad("an older build wrote them, which did not record the newest event times")
		}
	}
	have := map[[2]int]bool{}
	for _, l := range p.Info.Ledgers {
		have[[2]int{l.Shard, int(l.Partition)}] = true
	}
	for id := range p.Info.Cut.Partitions {
		for shard := range p.t.view.Spec.Shards {
			if !have[[2]int{shard, int(id)}] {
				return bad("the ledger of partition %d shard %d is missing", id, shard)
			}
		}
	}
	written, held, err := p.openRows()
	if err == nil && written != held {
		err = bad("table open has %d rows of the cut, %d were written: it is not whole", held, written)
	}
	return err
}

// SameColumns tells whether the tables have the columns that this definition gives
// them: its names and their order are no part of a fingerprint.
func (p *Published) SameColumns() (bool, error) {
	for name, s := range p.snaps {
		l := p.t.layout[name]
		m, err := newMetadata(p.t.tables[name].name, l.partition, l.cols, 0)
		if err != nil || s.Metadata == nil || m.SchemaString != s.Metadata.SchemaString {
			return false, err
		}
	}
	return true, nil
}

// openRows returns how many rows of table open the publication wrote, and how many
// its version holds.
func (p *Published) openRows() (written, held int64, err error) {
	s, name := p.snaps[Open], p.t.tables[Open].name
	info, err := p.t.tables[Open].Ours(s)
	if err != nil {
		return 0, 0, err
	}
	sel := p.ofCut(Select{})
	for i := range s.Files {
		f := &s.Files[i]
		_, chosen, err := sel.file(Open, f, p.t.layout[Open])
		var stats struct {
			NumRecords *int64 `json:"numRecords"`
		}
		if err == nil && chosen {
			err = json.Unmarshal([]byte(f.Stats), &stats)
		}
		if err == nil && chosen && stats.NumRecords == nil {
			err = errors.New("its statistics lack the number of rows")
		}
		if err != nil {
			return 0, 0, fmt.Errorf("table %s, file %s: %w", name, f.Path, err)
		}
		if chosen {
			held += *stats.NumRecords
		}
	}
	return info.Rows, held, nil
}

// Restorer yields the states of one source partition at the publication's cut, each
// joined of its remainder and its closed tiles (O2). It reads both tables once, from
// the first retained date on, whatever the number of shards. It is for one goroutine.
type Restorer struct {
	p         *Published
	partition int32
	cut       schemas.PartitionCut
	opt       RestoreOptions
	alive     func() error // of the shard at hand

	open  pull[rows.Open]
	tiles pull[rows.Tile]
}

// CheckWhole refuses a publication of some entities, for who needs all.
func (p *Published) CheckWhole() error {
	if p.Info.Entities == nil {
		return nil
	}
	return &RestoreError{p.t.view.Name, fmt.Sprintf("they hold %v alone; name tables of all", p.Info.Entities)}
}

// Restore begins to read a partition of the cut, within ctx. CheckRestore has been
// asked. Close ends it.
func (p *Published) Restore(ctx context.Context, partition int32, opt RestoreOptions) (*Restorer, error) {
	pc, ok := p.Info.Cut.Partitions[partition]
	if !ok {
		return nil, fmt.Errorf("view %s: the cut of the tables has no partition %d", p.t.view.Name, partition)
	}
	if opt.MaxFiles == 0 {
		opt.MaxFiles = maxRestoreFiles
	}
	if opt.Memory == 0 {
		opt.Memory = 64 << 20
	}
	r := &Restorer{p: p, partition: partition, cut: pc, opt: opt, alive: func() error { return nil }}
	r.open = newPull(p.Open(ctx, Select{Partition: &partition}))
	r.tiles = newPull(r.closed(ctx))
	return r, nil
}

// Close releases the files.
func (r *Restorer) Close() {
	r.open.stop()
	r.tiles.stop()
}

// Marker returns what the online store's marker says of a shard at the cut; phase,
// topic id and token are the caller's.
func (r *Restorer) Marker(shard int) marker.Mark {
	m := marker.Mark{Next: r.cut.End, Clock: r.clock(), Newest: schemas.Never, ValidFrom: schemas.Never}
	if from := r.p.Info.ValidFrom; from != nil {
		m.ValidFrom = *from
	}
	for _, l := range r.p.Info.Ledgers {
		if l.Shard == shard && l.Partition == r.partition {
			m.Ledger = l.Ledger
			if l.Newest != nil {
				m.Newest = *l.Newest
			}
		}
	}
	return m
}

func (r *Restorer) clock() schemas.Micros {
	if r.cut.Clock == nil {
		return schemas.Never
	}
	return *r.cut.Clock
}

// Shard calls fn with the states of a shard, by entity; the entity is the callee's
// to keep. Shards are asked for in ascending order; those left out are passed over.
// alive is called now and then where much is read between two states.
func (r *Restorer) Shard(shard int, alive func() error, fn func(entity []byte, s *transforms.State) error) error {
	return r.Rows(shard, alive, func(o *rows.Open, tiles []transforms.Tile) error {
		s, err := r.state(o, tiles)
		if err != nil {
			return fmt.Errorf("view %s, partition %d, entity %x: %w", r.p.t.view.Name, r.partition, o.Entity, err)
		}
		if s.Empty() { // it equals a missing one
			return nil
		}
		return fn(o.Entity, s)
	})
}

// Rows is Shard with what the tables hold of each state: its remainder, and its closed
// tiles, the finest level first, ascending.
func (r *Restorer) Rows(shard int, alive func() error, fn func(o *rows.Open, tiles []transforms.Tile) error) error {
	r.alive = alive
	for n := 0; ; n++ {
		o, ok, err := r.open.peek()
		if err != nil || !ok || o.Shard > shard {
			return err
		}
		r.open.take()
		if n%aliveRows == aliveRows-1 {
			if err := alive(); err != nil {
				return err
			}
		}
		if o.Shard < shard {
			continue
		}
		tiles, err := r.tilesOf(o)
		if err != nil {
			return fmt.Errorf("view %s, partition %d, entity %x: %w", r.p.t.view.Name, r.partition, o.Entity, err)
		}
		if err := fn(o, tiles); err != nil {
			return err
		}
	}
}

// aliveRows is how many rows are read between two calls of alive.
const aliveRows = 4096

// state joins the remainder of a state and its closed tiles.
func (r *Restorer) state(o *rows.Open, tiles []transforms.Tile) (*transforms.State, error) {
	s, err := r.p.t.engine.Parse(transforms.Parts{Served: o.Served, Open: o.Open})
	if err != nil {
		return nil, err
	}
	if s.LastOffset() >= r.cut.End || s.Clock() > r.clock() {
		return nil, fmt.Errorf("it stands at offset %d, clock %v, beyond the cut", s.LastOffset(), s.Clock())
	}
	return s, r.p.t.engine.Restore(s, tiles)
}

// tilesOf returns the closed tiles of a state, the finest level first, ascending.
func (r *Restorer) tilesOf(o *rows.Open) (tiles []transforms.Tile, err error) {
	for n := 1; ; n++ {
		t, ok, err := r.tiles.peek()
		if err != nil || !ok || t.Shard > o.Shard {
			return tiles, err
		}
		order := -1
		if t.Shard == o.Shard {
			order = bytes.Compare(t.Entity, o.Entity)
		}
		switch {
		case order > 0:
			return tiles, nil
		case order == 0:
			tiles = append(tiles, t.Tile)
		}
		r.tiles.take()
		if n%aliveRows == 0 {
			if err := r.alive(); err != nil {
				return nil, err
			}
		}
	}
}

// closed yields the tiles that states at the cut may hold, by shard, entity, level
// and start.
func (r *Restorer) closed(ctx context.Context) iter.Seq2[rows.Tile, error] {
	sel := Select{Partition: &r.partition, FromDay: r.firstDay()}
	return func(yield func(rows.Tile, error) bool) {
		n := 0
		for i := range r.p.snaps[Tiles].Files {
			if _, chosen, err := sel.file(Tiles, &r.p.snaps[Tiles].Files[i], r.p.t.layout[Tiles]); err == nil && chosen {
				n++
			}
		}
		read := r.p.Tiles
		if n > r.opt.MaxFiles {
			read = r.sorted
		}
		for t, err := range read(ctx, sel) {
			if !yield(t, err) {
				return
			}
		}
	}
}

// firstDay is the first date with tiles that a state may hold: all were trimmed at
// the boundary.
func (r *Restorer) firstDay() int64 {
	longest := schemas.Micros(0)
	for _, hop := range r.p.t.engine.Hops() {
		longest = max(longest, r.p.t.engine.Retention(hop).AddSat(hop))
	}
	if r.p.Info.Boundary == nil {
		return 0
	}
	return r.p.Info.Boundary.SubSat(longest).Days() - 1
}

// sorted yields tiles in the order of Published.Tiles, reading one file after the
// other and sorting what they hold.
func (r *Restorer) sorted(ctx context.Context, sel Select) iter.Seq2[rows.Tile, error] {
	return func(yield func(rows.Tile, error) bool) {
		s := newSpool(filepath.Join(r.opt.SpillDir, "tiles-"+strconv.Itoa(int(r.partition))), r.opt.Memory, r.opt.Disk)
		err := r.fill(ctx, s, sel)
		if err == nil {
			err = s.each(ctx, func(key rowKey, row []byte) error {
				if t := parseTileRow(key, row); !yield(t, nil) {
					return errStopped
				}
				return nil
			})
		}
		if e := s.Close(); err == nil {
			err = e
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(rows.Tile{}, err)
		}
	}
}

var errStopped = errors.New("no more is asked for")

// fill sorts the tiles of the chosen files.
func (r *Restorer) fill(ctx context.Context, s *spool, sel Select) error {
	n := 0
	for one := range r.p.singly(Tiles) {
		for t, err := range one.Tiles(ctx, sel) {
			if err != nil {
				return err
			}
			if n++; n%aliveRows == 0 {
				if err := r.alive(); err != nil {
					return err
				}
			}
			b := s.buffer(Tiles, 0, int32(t.Shard))
			appendTileRow(b, &t)
			if err := s.add(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// A sorted tile: its key ends in entity, level and start; its row is the count and
// the cells.
func appendTileRow(b *rowBuffer, t *rows.Tile) {
	b.key = appendInt(appendInt(append(b.key, t.Entity...), int64(t.Tile.Hop)), int64(t.Tile.Start))
	b.row = binary.BigEndian.AppendUint64(b.row, uint64(t.Tile.Events))
	b.row = append(b.row, t.Tile.Cells...)
}

func parseTileRow(key rowKey, row []byte) rows.Tile {
	_, _, shard := key.prefix()
	at := len(key) - 16
	number := func(b []byte) schemas.Micros { return schemas.Micros(binary.BigEndian.Uint64(b) ^ 1<<63) }
	return rows.Tile{Shard: int(shard), Entity: bytes.Clone(key[keyPrefix:at]),
		Tile: transforms.Tile{Hop: number(key[at:]), Start: number(key[at+8:]), Events: int64(binary.BigEndian.Uint64(row)), Cells: string(row[8:])}}
}

// pull is an iterator that is asked, with the next element in sight.
type pull[T any] struct {
	next func() (T, error, bool)
	stop func()
	row  T
	err  error
	held bool
	ok   bool
}

func newPull[T any](seq iter.Seq2[T, error]) pull[T] {
	next, stop := iter.Pull2(seq)
	return pull[T]{next: next, stop: stop}
}

// peek returns the next element, which stays until take.
func (p *pull[T]) peek() (*T, bool, error) {
	if !p.held {
		p.row, p.err, p.ok = p.next()
		p.held = true
	}
	if !p.ok {
		return nil, false, nil
	}
	return &p.row, true, p.err
}

func (p *pull[T]) take() { p.held = false }
