package integration

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// dayEnd is what replay keeps at a cut: the table of tiles and the remainder.
type dayEnd struct {
	at     []int
	b      int64 // the closed boundary; NoClock = none
	tiles  map[tileKey]transforms.Tile
	remain map[stateKey]transforms.Parts
}

// daily: reading a log in ranges, through the table of closed tiles and the
// remainder, gives the bytes of reading it whole; and whoever starts from such a
// cut and goes on arrives at the states of the whole (B5).
func (x *trial) daily() error {
	start := dayEnd{at: make([]int, x.parts), b: oracle.NoClock}
	whole, err := x.day(start, x.main.at)
	if err != nil {
		return err
	}
	cuts := []int{x.r.IntN(len(x.order)), x.r.IntN(len(x.order)), x.r.IntN(len(x.order))}
	slices.Sort(cuts)
	end := start
	for _, n := range append(cuts, len(x.order)) {
		if end, err = x.day(end, x.positions(n)); err != nil {
			return err
		}
		if err = x.bootstrap(end, whole.b); err != nil {
			return err
		}
	}
	for k := range whole.tiles {
		if closed := k.start+k.hop <= floor(whole.b, k.hop); closed && whole.tiles[k] != end.tiles[k] {
			return fmt.Errorf("B5: ranges up to %v: tile %+v is %+v, of the whole log %+v", cuts, k, end.tiles[k], whole.tiles[k])
		}
	}
	for k := range end.tiles {
		if _, ok := whole.tiles[k]; !ok && k.start+k.hop <= floor(whole.b, k.hop) {
			return fmt.Errorf("B5: ranges up to %v have a tile %+v more", cuts, k)
		}
	}
	if a, b := fmt.Sprint(end.remain), fmt.Sprint(whole.remain); a != b {
		return fmt.Errorf("B5: ranges up to %v leave another remainder:\n%s\n%s", cuts, a, b)
	}
	return nil
}

func floor(t, h int64) int64 { return int64(schemas.Micros(t).Floor(schemas.Micros(h))) }

// positions returns how far each partition is after the first n records.
func (x *trial) positions(n int) []int {
	at := make([]int, x.parts)
	for _, p := range x.order[:n] {
		at[p]++
	}
	return at
}

// resume starts a fold from what a cut kept.
func (x *trial) resume(from dayEnd) (*fold, error) {
	f := newFold(x.scenario)
	f.rows = true
	f.fresh = x.main.fresh
	f.at = slices.Clone(from.at)
	for p, n := range f.at {
		f.clocks[p] = schemas.ClockAt(schemas.Micros(x.snaps[p][n].Clock), x.History[int32(p)], schemas.Micros(x.MaxFuture))
	}
	for k, r := range from.remain {
		s, err := x.view.Parse(r)
		if err != nil {
			return nil, fmt.Errorf("B5: the remainder of %v: %w", k, err)
		}
		s.KeepEvicted = true
		for _, h := range x.hops {
			if err := x.view.Restore(s, from.closed(k, h)); err != nil {
				return nil, fmt.Errorf("B5: tiles of %v: %w", k, err)
			}
		}
		f.states[k] = s
	}
	return f, nil
}

// closed returns the tiles of one state and level that were closed at the cut.
func (d dayEnd) closed(k stateKey, hop int64) (tiles []transforms.Tile) {
	for key, t := range d.tiles {
		if key.stateKey == k && key.hop == hop && key.start+hop <= floor(d.b, hop) {
			tiles = append(tiles, t)
		}
	}
	slices.SortFunc(tiles, func(a, b transforms.Tile) int { return int(a.Start/a.Hop - b.Start/b.Hop) })
	return tiles
}

// day folds a range and splits the states at its end.
func (x *trial) day(from dayEnd, to []int) (dayEnd, error) {
	end := dayEnd{at: to, b: oracle.NoClock, tiles: maps.Clone(from.tiles), remain: map[stateKey]transforms.Parts{}}
	if end.tiles == nil {
		end.tiles = map[tileKey]transforms.Tile{}
	}
	f, err := x.resume(from)
	if err != nil {
		return end, err
	}
	low := int64(schemas.Forever)
	for p, n := range to {
		for f.at[p] < n {
			f.step(p)
		}
		low = min(low, x.horizon(p, n))
	}
	if low != oracle.NoClock {
		end.b = low
	}
	for k, s := range f.states {
		if err := x.split(&end, k, s); err != nil {
			return end, err
		}
	}
	return end, nil
}

// split puts a state's final tiles into the table and keeps the rest.
func (x *trial) split(end *dayEnd, k stateKey, s *transforms.State) error {
	var out []transforms.Tile
	if end.b != oracle.NoClock {
		x.view.Trim(s, schemas.Micros(end.b))
		out = s.Evicted()
		if !s.Empty() {
			out = append(out, x.view.TakeClosed(s, schemas.Micros(end.b))...)
			end.remain[k] = x.view.Encode(s)
		}
	} else {
		x.view.Join(s)
		out = s.Evicted()
		if !s.Empty() {
			end.remain[k] = x.view.Encode(s)
		}
	}
	if len(end.remain[k].Old) > 0 {
		return fmt.Errorf("B5: the remainder of %v has an old part", k)
	}
	for _, t := range out {
		key := tileKey{k, int64(t.Hop), int64(t.Start)}
		if was, ok := end.tiles[key]; ok && was != t {
			return fmt.Errorf("B5: tile %+v was %+v, is now %+v", key, was, t)
		}
		end.tiles[key] = t
	}
	return nil
}

// bootstrap goes on from a cut to the end of the log: trimmed there, the states
// are those of the whole log (O5, B5).
func (x *trial) bootstrap(from dayEnd, b int64) error {
	f, err := x.resume(from)
	if err != nil {
		return err
	}
	for p := range f.at {
		for f.at[p] < len(x.logs[p]) {
			want := x.verdicts[p][f.at[p]]
			if v := f.step(p); !want.Tick && (oracle.Outcome(v.Outcome) != want.Outcome || v.Conflict != want.Conflict || v.SealedEarly != want.SealedEarly) {
				return fmt.Errorf("B5: from %v on, partition %d offset %d is %+v, the oracle has %+v", from.at, p, f.at[p]-1, v, want)
			}
		}
	}
	if b == oracle.NoClock {
		return nil
	}
	for k, s := range x.main.states {
		c, err := clone(x.view, s)
		if err != nil {
			return err
		}
		x.view.Trim(c, schemas.Micros(b))
		if f.states[k] != nil {
			x.view.Trim(f.states[k], schemas.Micros(b))
		}
		if got, want := x.orMissing(f.states[k]), x.orMissing(c); got != want {
			return fmt.Errorf("B5: from %v on the state of %v is another one at %d:\n%s\n%s", from.at, k, b, got, want)
		}
	}
	return nil
}

// complete: with the knowledge of the whole log, the accepted events entered by
// event time give the values as of any t (§10).
func (x *trial) complete() error {
	end := x.positions(len(x.order))
	for _, entity := range []string{"a", "b", "c"} {
		rs := x.accepted(entity, end)
		slices.SortStableFunc(rs, func(a, b *oracle.Record) int { return cmp.Compare(a.EventTime, b.EventTime) })
		s := x.view.NewState(0)
		f := newFold(x.scenario)
		for i, r := range rs {
			f.event(r)
			f.ev.Clock = f.ev.EventTime
			x.view.Prepare(f.in, &f.ev)
			x.view.Accept(s, f.in)
			if i+1 < len(rs) && rs[i+1].EventTime <= r.EventTime+1 || x.r.IntN(2) == 0 {
				continue
			}
			t := r.EventTime + 1 + pick(x.r, 0, 0, minute, 3*day)
			if i+1 < len(rs) {
				t = min(t, rs[i+1].EventTime)
			}
			if err := x.valueIs("§10: complete knowledge", t, entity, []*transforms.State{s}, end); err != nil {
				return err
			}
		}
	}
	return nil
}
