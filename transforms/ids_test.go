package transforms

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// TestIdentitiesStaySmall: what a state holds of ids is proportional to the ids
// that it remembers, however often they are replaced, seen again or forgotten
// early (V7), and what its queues give stays right.
func TestIdentitiesStaySmall(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		x := newIdentities()
		if seed%2 == 0 { // max_open was passed once
			x.put(&identity{id: "first"}, 0)
			x.forget(x.least())
		}
		for i := range int64(20_000) {
			now := schemas.Micros(i)
			id := fmt.Sprint("i", r.IntN(20))
			d := x.byID[id]
			switch {
			case d == nil:
				d = &identity{id: id, memory: now}
			case r.IntN(8) == 0:
				x.forget(d)
				continue
			case r.IntN(4) == 0:
				x.lengthen(d, max(d.memory, now))
				continue
			default:
				x.take(d)
				d.open = false
			}
			d.version, d.offset, d.eventTime = i, i, now-schemas.Micros(r.IntN(3))
			d.memory = max(d.memory, d.eventTime)
			x.put(d, now+1)
			if r.IntN(4) > 0 {
				x.opened(d, "row")
			}
			if r.IntN(50) == 0 {
				checkQueues(t, x, seed%2 == 0)
			}
			for name, q := range map[string]queue{"opens": x.opens, "memory": x.memory, "force": x.force} {
				if len(q) > 2*20+64 {
					t.Fatalf("seed %d: step %d: V7: %d ids, %d entries in %s", seed, i, x.len(), len(q), name)
				}
			}
		}
		x.forgetBefore(20_000)
		if x.len() > 0 || len(x.memory) > 0 {
			t.Errorf("seed %d: V7: %d ids are remembered for ever, %d entries", seed, x.len(), len(x.memory))
		}
	}
}

// checkQueues compares what the queues give with a look at every id.
func checkQueues(t *testing.T, x *identities, ordered bool) {
	t.Helper()
	var all, open []*identity
	for _, d := range x.byID {
		if all = append(all, d); d.open {
			open = append(open, d)
		}
	}
	least := func(ds []*identity) *identity {
		if len(ds) == 0 {
			return nil
		}
		return slices.MinFunc(ds, func(a, b *identity) int {
			if a.inForce().less(b.inForce()) {
				return -1
			}
			return 1
		})
	}
	if got, want := x.nextOpen(schemas.Forever), least(open); got != want {
		t.Fatalf("V7: the next open event is %+v, want %+v", got, want)
	}
	if ordered {
		if got, want := x.least(), least(all); got != want {
			t.Fatalf("V7: the least id is %+v, want %+v", got, want)
		}
	}
	var before []*identity
	limit := schemas.Never
	if len(all) > 0 {
		limit = slices.MinFunc(all, func(a, b *identity) int { return int(a.memory - b.memory) }).memory
	}
	for _, d := range all {
		if d.memory > limit {
			before = append(before, d)
		}
	}
	x.forgetBefore(limit + 1)
	if x.len() != len(before) {
		t.Fatalf("V7: %d ids are remembered, want %d", x.len(), len(before))
	}
}
