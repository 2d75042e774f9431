package batch

import (
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// B3, B5: an entity larger than memory streams through a replay that goes on as well: of
// the events that came late, which are told as examples, no more are kept than are told.
func TestLateEventsOfAnEntityAreBounded(t *testing.T) {
	f := &replayFold{run: &Replay{before: &earlier{now: 100 * schemas.Day}}}
	const events = 200_000 // with boundaries once a day, and lateness of three days
	for i := range int64(events) {
		at := 97*schemas.Day + schemas.Micros(i)*(3*schemas.Day/events)
		in := &transforms.Input{}
		in.Partition, in.Offset, in.EventTime = 0, i, at
		f.note(in, &transforms.Verdict{Outcome: transforms.Applied})
	}
	if n := len(f.were.events); n > 10_000 {
		t.Errorf("B3: %d of %d events are kept, at most %d are told of each of three boundaries", n, events, maxLateEvents)
	}
}
