package transforms_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// oldHistory folds a random history, and calls each after every record that changed
// the state. It returns how many tiles there were in all levels; late tells whether
// events come late.
func oldHistory(r *rapid.T, v *transforms.View, random *rand.Rand, late bool, each func(s *transforms.State)) int {
	s, in := v.NewState(0), v.NewInput()
	var clock schemas.Clock
	tiles := map[schemas.Micros]map[schemas.Micros]bool{}
	for _, h := range v.Hops() {
		tiles[h] = map[schemas.Micros]bool{}
	}
	now := schemas.Micros(1_700_000_000_000_000)
	pace := 1 + random.Int64N(int64(schemas.Hour))
	gaps := 15 + random.IntN(150)
	for n := range 50 + random.IntN(400) {
		now += schemas.Micros(random.Int64N(pace))
		if random.IntN(gaps) == 0 {
			now += schemas.Micros(random.Int64N(int64(20 * schemas.Day)))
		}
		var back schemas.Micros
		if late && random.IntN(6) == 0 {
			back = schemas.Micros(random.Int64N(int64(29 * schemas.Hour)))
		}
		e := &schemas.Event{Offset: int64(n), Timestamp: now, EventTime: now - back, Fields: []schemas.Value{
			schemas.StringValue(fmt.Sprint("i", n-random.IntN(3))), schemas.IntValue(random.Int64N(7)), schemas.DoubleValue(random.Float64()), schemas.StringValue("x")}}
		clock.Stamp(e)
		v.Prepare(in, e)
		v.Step(s, in)
		if s.LastOffset() != int64(n) {
			continue
		}
		for h := range tiles {
			tiles[h][e.EventTime.Floor(h)] = true
		}
		each(s)
	}
	n := 0
	for h := range tiles {
		n += len(tiles[h])
	}
	return n
}

// The old part is written anew when it is another one, and only then: where tiles
// become old, at least newest at a time, where an event enters one of them, where
// they are dropped. The served part goes with its own old part alone, also when
// their sizes agree (V11, O1).
func TestOldPart(t *testing.T) {
	moved := 0
	rapid.Check(t, func(r *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		identity := rapid.SampledFrom([]transforms.Identity{transforms.Anonymous, transforms.ByID, transforms.ByVersion}).Draw(r, "identity")
		newest := rapid.SampledFrom([]int{1, 2, 5, 16}).Draw(r, "newest_tiles")
		late := rapid.Bool().Draw(r, "late")
		v := tailView(t, identity, "small", 1000, newest)
		var was transforms.Parts
		var version int32
		written := 0
		tiles := oldHistory(r, v, random, late, func(s *transforms.State) {
			if random.IntN(3) == 0 {
				return // several records between two writes
			}
			now := v.Encode(s)
			switch n := v.OldVersion(s); {
			case n == version && !bytes.Equal(now.Old, was.Old):
				r.Fatalf("the old part is another one, but not its version %d", n)
			case n != version && bytes.Equal(now.Old, was.Old):
				r.Fatalf("version %d of the old part is version %d", n, version)
			case n != version:
				written++
				for _, mixed := range []transforms.Parts{{Served: now.Served, Old: was.Old, Open: now.Open}, {Served: was.Served, Old: now.Old, Open: was.Open}} {
					var corrupt *transforms.CorruptError
					if _, err := v.Parse(mixed); was.Served != nil && (!errors.As(err, &corrupt) || corrupt.Part != "old") {
						r.Fatalf("parts of two times: %v", err)
					}
				}
			}
			was, version = now, v.OldVersion(s)
		})
		moved += written
		if most := tiles/newest + len(v.Hops()); !late && written > most {
			r.Fatalf("nothing is late, %d tiles: the old part was written %d times, not at most %d", tiles, written, most)
		}
	})
	if moved < 100 {
		t.Errorf("old parts changed %d times only", moved)
	}
}

// An old part that has the length and the checksum that the served part names is
// still held against it: its tiles lie before the newer ones.
func TestOldPartOfAnother(t *testing.T) {
	v := tailView(t, transforms.Anonymous, "small", 1000, 2)
	fold := func(days schemas.Micros) transforms.Parts {
		s, in := v.NewState(0), v.NewInput()
		for k := range int64(9) {
			at := (20_000+days)*schemas.Day + schemas.Micros(k)*schemas.Hour
			e := &schemas.Event{Offset: k, Clock: at, EventTime: at, Fields: []schemas.Value{
				schemas.StringValue("a"), schemas.IntValue(1), schemas.DoubleValue(1), schemas.StringValue("x")}}
			v.Prepare(in, e)
			v.Step(s, in)
		}
		return v.Encode(s)
	}
	early, late := fold(0), fold(5)
	if len(early.Old) == 0 || len(late.Old) == 0 {
		t.Fatal("nothing is old")
	}
	for name, p := range map[string]transforms.Parts{
		"a later one":  {Served: renamed(early.Served, late.Old), Old: late.Old},
		"none, named":  {Served: late.Served},
		"one, unnamed": {Served: renamed(late.Served, nil), Old: late.Old},
		"an empty one": {Served: renamed(late.Served, transforms.Checksummed([]byte{0, 0, 0})), Old: transforms.Checksummed([]byte{0, 0, 0})},
	} {
		if _, err := v.Parse(p); !errors.As(err, new(*transforms.CorruptError)) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := v.ParseServed(p.Served, p.Old); !errors.As(err, new(*transforms.CorruptError)) {
			t.Errorf("%s, for reading: %v", name, err)
		}
	}
	if last, clock, err := v.Stand(late.Served); err != nil || last != 8 || clock != 20_005*schemas.Day+8*schemas.Hour {
		t.Errorf("it stands at %d, %v: %v", last, clock, err)
	}
}
