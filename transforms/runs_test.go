package transforms_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// A state that is asked again and again, and so keeps the sums of runs of tiles,
// gives the bits that one just read from its bytes gives, whatever events come in
// between, early or late, and whatever leaves retention (V2).
func TestRunsChangeNothing(t *testing.T) {
	spec := *viewV1(t).Spec()
	spec.Lateness = 40 * schemas.Hour
	v, err := transforms.NewView(spec)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		pace := 1 + random.Int64N(int64(3*schemas.Hour))
		in, s := v.NewInput(), v.NewState(0)
		event := schemas.Event{Fields: make([]schemas.Value, 3)}
		event.Fields[0] = schemas.StringValue("u")
		var clock schemas.Clock
		now := purchasesStart
		for range 100 + random.IntN(900) {
			now += schemas.Micros(random.Int64N(pace))
			back := random.Int64N(int64(schemas.Minute))
			if random.IntN(10) == 0 {
				back = random.Int64N(int64(spec.Lateness))
			}
			event.Offset++
			event.Timestamp, event.EventTime = now, now-schemas.Micros(back)
			event.Fields[1] = schemas.DoubleValue((random.Float64() - 0.5) * 1e6)
			clock.Stamp(&event)
			v.Prepare(in, &event)
			v.Step(s, in)
			if random.IntN(4) > 0 {
				continue
			}
			at := s.Clock() + 1 + schemas.Micros(random.Int64N(int64(30*schemas.Hour)))
			got := values(r, v, s, at)
			fresh, err := v.Parse(v.Encode(s))
			if err != nil {
				r.Fatal(err)
			}
			if want := values(r, v, fresh, at); !slices.Equal(got, want) {
				r.Fatalf("as of %v: %v, read anew %v", at, got, want)
			}
		}
	})
}

func values(r *rapid.T, v *transforms.View, s *transforms.State, at schemas.Micros) []transforms.Result {
	results, err := v.Value(nil, at, s)
	if err != nil {
		r.Fatal(err)
	}
	return results
}
