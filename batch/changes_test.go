package batch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// B3, B5: an entity larger than memory streams through a replay that goes on as well: of
// the events that came late, no more are kept than each of its boundaries tells, and those
// are the first ones that it sees.
func TestLateEventsOfAnEntity(t *testing.T) {
	const closed, now = 97 * schemas.Day, 100 * schemas.Day
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		f := &replayFold{run: &Replay{View: &definition.View{Snapshots: schemas.Day}}, held: &against{from: closed, to: now},
			were: provisional{counts: map[schemas.Micros]int{}}}
		events := 1 + rnd.Int64N(2000)
		at := make([]schemas.Micros, events)
		for i := range events {
			at[i] = closed - schemas.Day + schemas.Micros(rnd.Int64N(int64(5*schemas.Day)))
			if rnd.IntN(9) == 0 {
				at[i] = at[i].Floor(schemas.Day)
			}
			in := &transforms.Input{}
			in.Offset, in.EventTime = i, at[i]
			f.note(in, &transforms.Verdict{Outcome: transforms.Applied})
		}
		if n := len(f.were.events); n > 3*maxLateEvents {
			t.Fatalf("B3: %d of %d events are kept for three boundaries", n, events)
		}
		for b := closed + schemas.Day; b <= now; b += schemas.Day {
			want, more := []LateEvent{}, 0
			for i, t := range at {
				switch {
				case t >= b || t >= now:
				case len(want) < maxLateEvents:
					want = append(want, LateEvent{0, int64(i), t})
				default:
					more++
				}
			}
			if got, n := f.were.seen(b); !slices.Equal(got, want) || n != more {
				t.Fatalf("seed %d: boundary %v sees %v and %d more, not %v and %d", seed, b.Time(), got, n, want, more)
			}
		}
	}
}
