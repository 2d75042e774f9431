package reconcile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

// entity compares all that both sides hold of an entity.
func (r *run) entity(e *entity) {
	r.rep.Entities++
	whole, compared, base := true, false, (*finding)(nil)
	for _, p := range e.parts {
		r.rep.States++
		if r.frame.out[p.at] || !r.read(e, p) {
			r.rep.Skipped++
			whole = false
			continue
		}
		f, n := r.partition(e, p)
		compared = compared || n > 0
		if base == nil {
			base = f
		}
	}
	for _, p := range r.frame.partitions { // a part that is not known to be empty
		whole = whole && !r.frame.out[place{e.shard, p}]
	}
	if whole {
		compared = r.values(e, base)+r.table(e, base) > 0 || compared
	}
	if compared {
		r.rep.Compared++
	}
}

// read reads both states of a part. What cannot be read, or stands beyond its
// marker, is a finding, and the part is not compared.
func (r *run) read(e *entity, p *part) bool {
	return r.readOnline(e, p) && r.readOffline(e, p)
}

func (r *run) readOnline(e *entity, p *part) bool {
	engine := r.frame.engine
	if p.stored == nil {
		p.on = engine.NewState(p.at.partition)
		return true
	}
	if p.stored.Served == nil {
		r.state(e, p, Missing, OnOnline, "the served part is not there, other parts are")
		return false
	}
	s, err := engine.Parse(*p.stored)
	if err != nil {
		c, text := Corrupt, err.Error()
		if _, e := engine.ParseServed(p.stored.Served, p.stored.Old); e == nil && len(p.stored.Open) == 0 {
			c, text = Missing, "the open part is not there: "+text
		}
		r.state(e, p, c, OnOnline, text)
		return false
	}
	p.on = s
	m := r.frame.after[p.at]
	switch {
	case s.LastOffset() >= m.Next:
		r.state(e, p, Corrupt, OnOnline, fmt.Sprintf("the state's last offset %d lies beyond its marker, which stands before offset %d", s.LastOffset(), m.Next))
	case s.Clock() > m.Clock:
		r.state(e, p, Corrupt, OnOnline, fmt.Sprintf("the state's clock %v lies beyond that of its marker, %v", s.Clock(), m.Clock))
	default:
		r.countOpen(p.stored, s, func(li int, n int64) { r.rep.Levels[li].OpenOnline += n })
		return true
	}
	return false
}

// readOffline joins the remainder with the closed tiles (B5).
func (r *run) readOffline(e *entity, p *part) bool {
	engine := r.frame.engine
	p.off = engine.NewState(p.at.partition)
	if p.row != nil {
		row := marker.Stored{Served: p.row.Served, Open: p.row.Open}
		s, err := engine.Parse(row)
		if err != nil {
			p.off = nil
			r.state(e, p, Corrupt, OnOffline, err.Error())
			return false
		}
		p.off = s
		r.countOpen(&row, s, func(li int, n int64) { r.rep.Levels[li].OpenOffline += n })
	}
	if err := engine.Restore(p.off, p.tiles); err != nil {
		r.state(e, p, Corrupt, OnOffline, err.Error())
		return false
	}
	end, clock := r.frame.cut.Partitions[p.at.partition].End, r.frame.cutClock(p.at.partition)
	switch {
	case p.off.LastOffset() >= end:
		r.state(e, p, Corrupt, OnOffline, fmt.Sprintf("the state's last offset %d lies beyond the cut, which ends before offset %d", p.off.LastOffset(), end))
	case p.off.Clock() > clock:
		r.state(e, p, Corrupt, OnOffline, fmt.Sprintf("the state's clock %v lies beyond that of the cut, %v", p.off.Clock(), clock))
	default:
		return true
	}
	return false
}

// countOpen counts the tiles that end after their level's boundary, those of
// events that can still be replaced included.
func (r *run) countOpen(st *marker.Stored, s *transforms.State, add func(li int, n int64)) {
	if r.view.Spec.Identity == transforms.ByVersion {
		if m, err := r.frame.engine.ParseServed(st.Served, st.Old); err == nil {
			s = m
		}
	}
	for _, t := range r.frame.engine.Tiles(s, schemas.Forever) {
		li := slices.Index(r.frame.hops, t.Hop)
		if t.Start+t.Hop > r.frame.bounds[li] {
			add(li, 1)
			r.rep.OpenTiles++
		}
	}
}

// partition compares the closed tiles of an entity in one partition. It returns
// the first finding and how many tiles were compared.
func (r *run) partition(e *entity, p *part) (first *finding, n int64) {
	f := &r.frame
	f.engine.Trim(p.on, f.b)
	f.engine.Trim(p.off, f.b)
	on := r.within(p, f.engine.Tiles(p.on, f.b))
	off := r.within(p, p.tiles)
	r.outside(p)
	first, alone := r.lost(e, p, len(on), len(off))
	if alone {
		r.compared(on, true)
		r.compared(off, true)
		return first, int64(len(on) + len(off))
	}
	keep := func(x *finding) {
		if first == nil {
			first = x
		}
	}
	for len(on)+len(off) > 0 {
		n++
		switch c := order(on, off); {
		case c < 0:
			keep(r.tile(e, p, &on[0], nil))
			on = on[1:]
		case c > 0:
			keep(r.tile(e, p, nil, &off[0]))
			off = off[1:]
		default:
			same := on[0] == off[0]
			r.compared(on[:1], !same)
			if !same {
				keep(r.tile(e, p, &on[0], &off[0]))
			}
			on, off = on[1:], off[1:]
		}
	}
	return first, n
}

// order compares the heads of two lists of tiles; an empty one comes last.
func order(on, off []transforms.Tile) int {
	if len(on) == 0 || len(off) == 0 {
		return len(off) - len(on)
	}
	a, b := &on[0], &off[0]
	if a.Hop != b.Hop {
		return int(min(1, max(-1, a.Hop-b.Hop)))
	}
	if a.Start == b.Start {
		return 0
	}
	if a.Start < b.Start {
		return -1
	}
	return 1
}

// reach says whether a tile is to be compared.
type reach uint8

const (
	inReach reach = iota
	stillOpen
	outOfReach
	incomplete
)

func (r *run) reach(p *part, t *transforms.Tile) (int, reach) {
	f := &r.frame
	li := slices.Index(f.hops, t.Hop)
	switch {
	case t.Start+t.Hop > f.bounds[li]:
		return li, stillOpen
	case t.Start+t.Hop <= f.later(p.at).SubSat(f.retention[li]):
		return li, outOfReach
	case t.Start <= f.started(p.at):
		return li, incomplete
	}
	return li, inReach
}

// within returns the tiles that are to be compared.
func (r *run) within(p *part, tiles []transforms.Tile) []transforms.Tile {
	var in []transforms.Tile
	for i := range tiles {
		if _, x := r.reach(p, &tiles[i]); x == inReach {
			in = append(in, tiles[i])
		}
	}
	return in
}

// outside counts the tiles of either side that are not compared, each once.
func (r *run) outside(p *part) {
	type key struct{ hop, start schemas.Micros }
	seen := map[key]bool{}
	for _, tiles := range [][]transforms.Tile{r.frame.engine.Tiles(p.on, r.frame.b), p.tiles} {
		for i := range tiles {
			li, x := r.reach(p, &tiles[i])
			k := key{tiles[i].Hop, tiles[i].Start}
			if x != outOfReach && x != incomplete || seen[k] {
				continue
			}
			seen[k] = true
			if x == outOfReach {
				r.rep.Levels[li].OutOfReach++
				r.rep.OutOfReach++
			} else {
				r.rep.Levels[li].Incomplete++
				r.rep.Incomplete++
			}
		}
	}
}

// compared counts tiles.
func (r *run) compared(tiles []transforms.Tile, different bool) {
	for i := range tiles {
		l := &r.rep.Levels[slices.Index(r.frame.hops, tiles[i].Hop)]
		l.Compared++
		r.rep.Tiles++
		if different {
			l.Different++
		}
	}
}

// lost finds a state that is on one side alone and has closed tiles within
// reach there, or tiles without the remainder that a state with them has. Alone:
// its tiles are no findings of their own.
func (r *run) lost(e *entity, p *part, on, off int) (f *finding, alone bool) {
	switch {
	case p.stored == nil && off > 0:
		f, alone = r.state(e, p, Missing, OnOnline, fmt.Sprintf("the online store has no state, the tables have %d closed tiles of it", off)), true
	case p.row == nil && len(p.tiles) == 0 && on > 0:
		f, alone = r.state(e, p, Missing, OnOffline, fmt.Sprintf("the tables have no row of it, the online state has %d closed tiles", on)), true
	case p.row == nil && off > 0:
		f = r.state(e, p, Missing, OnOffline, fmt.Sprintf("table open has no row of it, table tiles has %d of its tiles", off))
	}
	if alone {
		f.ask = askState
	}
	return f, alone
}

// state adds a finding about a whole state.
func (r *run) state(e *entity, p *part, c Cause, side Side, text string) *finding {
	ev := r.evidenceOf(p)
	ev.Text = text
	d := r.difference(StateKind, p.at, c, side, ev)
	r.name(&d, e)
	d.Online, d.Offline = holds(p.stored != nil, p.on), holds(p.row != nil || len(p.tiles) > 0, p.off)
	if side == OnOnline && p.off == nil && d.Offline != nothing { // see read
		d.Offline = "a state, not looked at"
	}
	return r.add(&finding{Difference: d, entity: e.name, part: p})
}

const nothing = "nothing"

func holds(there bool, s *transforms.State) string {
	switch {
	case !there:
		return nothing
	case s == nil:
		return "bytes that do not parse"
	}
	return fmt.Sprintf("a state, last offset %d", s.LastOffset())
}

// evidenceOf returns the positions of a part.
func (r *run) evidenceOf(p *part) Evidence {
	ev := r.evidence(p.at)
	if p.on != nil && p.stored != nil {
		ev.OnlineLast, ev.OnlineClock = p.on.LastOffset(), Instant(p.on.Clock())
	} else if p.stored != nil { // as far as it can be read
		if last, clock, err := r.frame.engine.Stand(p.stored.Served); err == nil {
			ev.OnlineLast, ev.OnlineClock = last, Instant(clock)
		}
	}
	if p.off != nil && p.row != nil {
		ev.OfflineLast, ev.OfflineClock = p.off.LastOffset(), Instant(p.off.Clock())
	}
	return ev
}

// tile adds a finding about a tile; nil = it is not there.
func (r *run) tile(e *entity, p *part, on, off *transforms.Tile) *finding {
	t, c, side := on, Logic, Side("")
	switch {
	case on == nil:
		t, c, side = off, Missing, OnOnline
	case off == nil:
		c, side = Missing, OnOffline
	}
	if on == nil || off == nil {
		r.compared([]transforms.Tile{*t}, true)
	}
	d := r.difference(TileKind, p.at, c, side, r.evidenceOf(p))
	r.name(&d, e)
	start := Instant(t.Start)
	d.Level, d.Start = hopText(t.Hop), &start
	d.Online, d.Offline = tileText(on), tileText(off)
	return r.add(&finding{Difference: d, entity: e.name, part: p, hop: t.Hop, start: t.Start, on: tileOf(on), off: tileOf(off), ask: askTile})
}

func tileText(t *transforms.Tile) string {
	if t == nil {
		return "nothing"
	}
	const most = 24
	if len(t.Cells) <= most {
		return fmt.Sprintf("%d events, cells %x", t.Events, t.Cells)
	}
	return fmt.Sprintf("%d events, cells %x… (%d bytes, hash %016x)", t.Events, t.Cells[:most], len(t.Cells), transforms.HashBytes([]byte(t.Cells)))
}

func tileOf(t *transforms.Tile) transforms.Tile {
	if t == nil {
		return transforms.Tile{}
	}
	return *t
}

// name puts the key fields of an entity into a difference.
func (r *run) name(d *Difference, e *entity) {
	d.Entity = []byte(e.name)
	values, err := r.frame.engine.DecodeEntity(d.Entity)
	if err != nil {
		var c *transforms.CorruptError
		if errors.As(err, &c) {
			d.Key = []string{"an entity that does not decode"}
		}
		return
	}
	for i, k := range r.view.Spec.Key {
		if i < len(values) {
			d.Key = append(d.Key, k.Name+"="+values[i].String())
		}
	}
}
