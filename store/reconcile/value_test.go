package reconcile

import (
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// R1: which windows are within reach, to the hop.
func TestWindowReach(t *testing.T) {
	const h = schemas.Hour
	day := transforms.Window{Kind: transforms.Sliding, Length: 24 * h, Hop: h}
	life := transforms.Window{Kind: transforms.Lifetime, Hop: schemas.Day}
	at := 100 * schemas.Day
	for _, x := range []struct {
		w              transforms.Window
		limit, started schemas.Micros
		want           reach
	}{
		{day, at - 23*h - 1, schemas.Never, inReach}, {day, at - 23*h, schemas.Never, outOfReach}, {day, schemas.Never, schemas.Never, inReach},
		{day, schemas.Never, at - 24*h, incomplete}, {day, schemas.Never, at - 24*h - 1, inReach},
		{life, at - 1, schemas.Never, inReach}, {life, at, schemas.Never, outOfReach}, {life, at - 1, 0, incomplete},
	} {
		if got := windowReach(x.w, at, x.limit, x.started); got != x.want {
			t.Errorf("R1: %+v: %d, want %d", x, got, x.want)
		}
	}
}

// R1, R3: what lifetime features have taken in is compared by value, and a replay
// tells whose is wrong.
func TestChangedBase(t *testing.T) {
	found := 0
	for seed := uint64(0); seed < 3000 && found < 10; seed++ {
		w := newWorld(t, seed, nil)
		if !w.engine.HasLifetime() {
			continue
		}
		on, off := w.sides(false)
		if !w.changeBase(on) {
			continue
		}
		rep := w.compare(on, off, w)
		if rep.Differences == 0 {
			continue // no feature depends on what was changed
		}
		found++
		for _, d := range rep.Listed {
			if d.Kind != ValueKind || d.Cause != Corrupt || d.Side != OnOnline || !d.Evidence.Replayed {
				rep.dump(t)
				t.Fatalf("seed %d", seed)
			}
		}
		on.seen = false
		if alone := w.compare(on, off, nil); alone.Causes[Logic] != alone.Differences || !strings.Contains(alone.Listed[0].Evidence.Text, "no replay") {
			t.Fatalf("seed %d: without a replay: %v", seed, alone.Causes)
		}
	}
	if found < 10 {
		t.Errorf("only %d bases differed", found)
	}
}

// changeBase folds an online state from a log in which an event differs whose
// tiles have left the state.
func (w *world) changeBase(on *fakeOnline) bool {
	for p := range w.logs {
		for i := range w.logs[p] {
			x := w.logs[p][i]
			name := string(transforms.EncodeEntity(nil, schemas.StringValue(x.ent)))
			at := place{transforms.EntityShard([]byte(name), w.view.Spec.Shards), int32(p)}
			st, ok := on.states[at][name]
			if !ok || x.tick || x.bad {
				continue
			}
			s, err := w.engine.Parse(st)
			if err != nil {
				w.Fatal(err)
			}
			gone := true
			for _, h := range w.engine.Hops() {
				gone = gone && x.et.Floor(h)+h <= s.Clock()-w.engine.Retention(h)
			}
			if !gone {
				continue
			}
			w.logs[p][i].amt, w.logs[p][i].n, w.logs[p][i].txt = 8.5, 77, "changed"
			changed := w.fold(p, 0, int(s.LastOffset())+1).states[name]
			w.logs[p][i] = x
			if changed == nil {
				continue
			}
			on.states[at][name] = w.stored(changed)
			return true
		}
	}
	return false
}

// K8, R3: with other starts and ids, a tile that differs has cause history.
func TestHistory(t *testing.T) {
	found := 0
	for seed := uint64(0); seed < 3000 && found < 10; seed++ {
		w := newWorld(t, seed, func(w *world) { w.still, w.identity = true, "    id: id\n" })
		p := w.r.IntN(len(w.logs))
		w.start[p] = 1 + w.r.IntN(8)
		if w.start[p] > len(w.logs[p]) {
			continue
		}
		on, off := w.sides(false)
		for _, x := range w.targets(on, off) {
			if int(x.partition) != p || off.tiles[x.row].Tile.Start <= on.later[x.place].ValidFrom {
				continue
			}
			found++
			off.tiles[x.row].Tile = another(off.tiles[x.row].Tile)
			if msg := (expected{History, "", TileKind, 1}).unlike(w.compare(on, off, w)); msg != "" {
				t.Fatalf("seed %d: %s", seed, msg)
			}
			break
		}
	}
	if found < 10 {
		t.Errorf("only %d tiles after an adopted start", found)
	}
}

// R1, R3: a state of which only the lifetime base could be compared is missed by
// its value.
func TestLostBase(t *testing.T) {
	found := 0
	for seed := uint64(0); seed < 3000 && found < 10; seed++ {
		w := newWorld(t, seed, nil)
		on, off := w.sides(false)
		if !w.engine.HasLifetime() || !w.loseBase(on, w.targets(on, off)) {
			continue
		}
		rep := w.compare(on, off, nil)
		if rep.Differences == 0 {
			continue // the base was out of reach
		}
		found++
		for _, d := range rep.Listed {
			if d.Kind != ValueKind || d.Cause != Missing || d.Side != OnOnline {
				rep.dump(t)
				t.Fatalf("seed %d", seed)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d lost states differed", found)
	}
}

// loseBase drops an online state without closed tiles within reach.
func (w *world) loseBase(on *fakeOnline, list []target) bool {
	for p := range w.logs {
		for shard := range w.view.Spec.Shards {
			at := place{shard, int32(p)}
			for name := range on.states[at] {
				has := false
				for _, x := range list {
					has = has || x.place == at && x.entity == name
				}
				if !has {
					delete(on.states[at], name)
					return true
				}
			}
		}
	}
	return false
}
