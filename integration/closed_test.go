package integration

import (
	"errors"
	"fmt"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

type tileKey struct {
	stateKey
	hop, start int64
}

type tileBytes struct {
	events int64
	cells  string
}

// closed trims copies of all states at a closed boundary: their tiles are final
// and complete, and so are the values at the boundaries (V4, V11, B5).
func (x *trial) closed(rec *oracle.Record) error {
	for _, k := range x.main.keys() {
		s := x.main.states[k]
		if err := x.leave(k, s); err != nil {
			return err
		}
	}
	b, ok := x.boundary(x.main.at)
	if !ok || x.r.IntN(4) > 0 {
		return nil
	}
	for _, k := range x.main.keys() {
		s := x.main.states[k]
		c, err := clone(x.view, s)
		if err != nil {
			return fmt.Errorf("V1: Parse(Encode): %w", err)
		}
		c.KeepEvicted = true
		x.view.Trim(c, schemas.Micros(b))
		if err := x.tilesOf(k, c, b); err != nil {
			return err
		}
	}
	for _, k := range x.shadow.keys() { // not written since, maybe
		s := x.shadow.states[k]
		for _, t := range x.view.Tiles(s, schemas.Micros(b)) {
			if int64(t.Start+t.Hop) <= int64(s.Clock())-x.retention(int64(t.Hop)) {
				return fmt.Errorf("V11: Tiles of %v gives %+v at clock %d, beyond retention", k, t, s.Clock())
			}
		}
	}
	for _, k := range x.trimmed.keys() { // from here on it stands trimmed
		s := x.trimmed.states[k]
		if x.r.IntN(3) == 0 {
			b = max(b, x.trimmedAt)
			x.trimmedAt = b
			x.view.Trim(s, schemas.Micros(b))
			if err := x.encodesAlike(k, s); err != nil {
				return err
			}
		}
	}
	return x.boundaryValues(rec.Entity, b)
}

// encodesAlike: what is flushed after a Trim parses to the trimmed state.
func (x *trial) encodesAlike(k stateKey, s *transforms.State) error {
	c, err := x.view.Parse(x.trimmed.flush(k))
	if err != nil {
		return fmt.Errorf("O1: Parse of what was flushed after a Trim: %w", err)
	}
	if got, want := encoded(x.view, c), encoded(x.view, s); got != want {
		return fmt.Errorf("O1: the store holds another state of %v than was flushed after a Trim:\n%s\n%s", k, got, want)
	}
	if c.Empty() != s.Empty() {
		return errors.New("V1: Parse(Encode) is not as empty as the state was")
	}
	if x.r.IntN(2) == 0 {
		x.trimmed.states[k] = c
	}
	return nil
}

// leave keeps the tiles that left a state: they are final there (B5).
func (x *trial) leave(k stateKey, s *transforms.State) error {
	for _, t := range s.Evicted() {
		key := tileKey{k, int64(t.Hop), int64(t.Start)}
		if _, twice := x.evicted[key]; twice {
			return fmt.Errorf("V11: tile %+v left its state twice", key)
		}
		x.evicted[key] = tileBytes{t.Events, t.Cells}
		if key.start+key.hop > int64(s.Clock())-x.retention(key.hop) {
			return fmt.Errorf("V11: tile %+v left its state at clock %d, before its retention ended", key, s.Clock())
		}
		if err := x.final(key, t); err != nil {
			return err
		}
	}
	return nil
}

// final: a closed tile has the same bytes at every later position.
func (x *trial) final(key tileKey, t transforms.Tile) error {
	now := tileBytes{t.Events, t.Cells}
	if was, ok := x.tiles[key]; ok && was != now {
		return fmt.Errorf("V11: closed tile %+v was %d events %x, is now %d events %x", key, was.events, was.cells, now.events, now.cells)
	}
	x.tiles[key] = now
	return nil
}

// tilesOf holds the closed tiles of a trimmed state, with those that left it,
// against the events that the oracle accepts in the end.
func (x *trial) tilesOf(k stateKey, c *transforms.State, b int64) error {
	have := map[tileKey]tileBytes{}
	for key, t := range x.evicted {
		if key.stateKey == k {
			have[key] = t
		}
	}
	left := c.Evicted()
	for i, t := range append(left, x.view.Tiles(c, schemas.Micros(b))...) {
		key := tileKey{k, int64(t.Hop), int64(t.Start)}
		if gone := key.start+key.hop <= max(int64(c.Clock()), b+x.Lateness)-x.retention(key.hop); gone != (i < len(left)) {
			return fmt.Errorf("V11: tile %+v left in a Trim at %d, clock %d: %v, by its retention: %v", key, b, c.Clock(), !gone, gone)
		}
		if err := x.final(key, t); err != nil {
			return err
		}
		if _, twice := have[key]; twice {
			return fmt.Errorf("V11: tile %+v is held after it left", key)
		}
		have[key] = tileBytes{t.Events, t.Cells}
	}
	end := x.snaps[k.partition][len(x.logs[k.partition])].Accepted
	for _, h := range x.hops {
		B := int64(schemas.Micros(b).Floor(schemas.Micros(h)))
		want := map[int64]int64{}
		for _, r := range end {
			if start := int64(schemas.Micros(r.EventTime).Floor(schemas.Micros(h))); r.Entity == k.entity && start+h <= B {
				want[start]++
			}
		}
		for key, t := range have {
			if key.hop == h && key.start+h <= B && t.events != want[key.start] {
				return fmt.Errorf("V11: closed tile %+v holds %d events, the oracle has %d", key, t.events, want[key.start])
			}
		}
		for start, n := range want {
			if _, ok := have[tileKey{k, h, start}]; !ok {
				return fmt.Errorf("V11: closed tile of %v at %d, hop %d, is missing, the oracle has %d events", k, start, h, n)
			}
		}
	}
	return nil
}

// boundaryValues: what BoundaryValue says at a closed boundary is what the
// whole log says, also from states that stand beyond it (V4).
func (x *trial) boundaryValues(entity string, b int64) error {
	states := x.main.of(entity)
	if len(states) == 0 {
		return nil
	}
	h := pick(x.r, x.hops...)
	B := int64(schemas.Micros(b).Floor(schemas.Micros(h))) - h*pick[int64](x.r, 0, 0, 0, 1, 2)
	latest := int64(schemas.Never)
	trimmed := x.r.IntN(2) == 0
	for i, s := range states {
		latest = max(latest, int64(s.Clock()))
		if trimmed {
			c, err := clone(x.view, s)
			if err != nil {
				return err
			}
			x.view.Trim(c, schemas.Micros(b))
			states[i], latest = c, max(latest, b+x.Lateness)
		}
	}
	got := x.view.BoundaryValue(nil, schemas.Micros(B), states...)
	end := make([]int, x.parts)
	for p := range end {
		end[p] = len(x.logs[p])
	}
	on := func(i int) bool { return B%int64(x.view.Hops()[x.view.Level(i)]) == 0 }
	want := oracle.ValuesOf(&x.Config, x.accepted(entity, end), B, on)
	return x.compareHeld(got, want, B, latest, on)
}

// compareHeld compares the features whose tiles are all still held.
func (x *trial) compareHeld(got []transforms.Result, want []oracle.Result, B, latest int64, on func(int) bool) error {
	held := make([]bool, len(x.Features))
	all := true
	for i, f := range x.Features {
		held[i] = on(i)
		if f.Derived != nil || !on(i) {
			continue
		}
		hop := f.Window.Level()
		lo, _ := f.Window.Span(B)
		end := lo + hop
		if f.Window.Kind == oracle.Lifetime {
			end = B + 1
		}
		held[i] = latest == int64(schemas.Never) || end > latest-x.retention(hop)
		all = all && held[i]
	}
	for i, f := range x.Features {
		// ABSENT and derived features need every window.
		if !held[i] || !all && (f.Derived != nil || want[i].Status == oracle.Absent || got[i].Status == transforms.Absent) {
			got[i], want[i] = transforms.Result{}, oracle.Result{}
		}
	}
	if diff := compare(got, want); diff != "" {
		return fmt.Errorf("V4: value at the closed boundary %d: %s", B, diff)
	}
	return nil
}

// retention is how long tiles of that hop stay: the longest window on the level
// + hop + lateness + 48 h, a month being 31 d; the current unit counts where it
// is left out, as it lies between t and the window (V3, V11).
func (x *trial) retention(hop int64) int64 {
	longest := int64(0)
	for _, f := range x.Features {
		w := f.Window
		if f.Derived != nil || w.Level() != hop {
			continue
		}
		n := int64(w.N)
		if w.ExcludeCurrent {
			n++
		}
		unit := map[oracle.WindowKind]int64{oracle.Days: 1, oracle.Weeks: 7, oracle.Months: 31}[w.Kind]
		longest = max(longest, w.Length, n*unit*day)
	}
	return longest + hop + max(x.Lateness, x.LoadLateness) + 48*hour
}
