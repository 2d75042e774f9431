package transforms

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// remembered is what a model knows of an id.
type remembered struct {
	eventTime, memory schemas.Micros
	offset            int64
	row               string // "" = not open
}

// TestIdentitiesStaySmall: what a state holds of ids is proportional to the ids
// that it remembers, however often they are replaced, seen again or forgotten
// early (V7), and what it says of them is what a plain map says.
func TestIdentitiesStaySmall(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		x, model := (&View{seed: maphash.MakeSeed()}).newIdentities(), map[string]*remembered{}
		if seed%2 == 0 { // max_open was passed once
			x.put(x.add([]byte("first")), 0)
			x.forget(x.least())
		}
		for i := range int64(20_000) {
			stepIDs(t, r, x, model, i)
			if r.IntN(50) == 0 {
				checkIDs(t, x, model, seed%2 == 0)
				x.takeChanged()
			}
			for name, q := range map[string]queue{"opens": x.opens, "memory": x.memory, "force": x.force} {
				if len(q) > 2*20+64 {
					t.Fatalf("seed %d: step %d: V7: %d ids, %d entries in %s", seed, i, x.len(), len(q), name)
				}
			}
			if n := x.footprint(); n > 40_000 {
				t.Fatalf("seed %d: step %d: V7: %d ids take %d bytes", seed, i, x.len(), n)
			}
		}
		x.forgetBefore(20_000 * idStep)
		if x.len() > 0 || len(x.memory) > 0 {
			t.Errorf("seed %d: V7: %d ids are remembered for ever, %d entries", seed, x.len(), len(x.memory))
		}
	}
}

// idStep lets the steps of the test pass through many hours.
const idStep = 5 * schemas.Minute

func stepIDs(t *testing.T, r *rand.Rand, x *identities, model map[string]*remembered, i int64) {
	now := schemas.Micros(i) * idStep
	id := fmt.Sprint("i", strings.Repeat("-", r.IntN(20)))
	d, m := x.find([]byte(id)), model[id]
	if (d == nil) != (m == nil) {
		t.Fatalf("step %d: V7: %s is found: %t, want %t", i, id, d != nil, m != nil)
	}
	switch {
	case d == nil:
		d, m = x.add([]byte(id)), &remembered{memory: now}
		model[id], d.memory = m, now
	case r.IntN(8) == 0:
		x.forget(d)
		delete(model, id)
		return
	case r.IntN(4) == 0:
		m.memory = max(m.memory, now)
		x.lengthen(d, m.memory)
		return
	default:
		x.take(d)
		if d.open {
			x.closed(d)
		}
	}
	m.offset, m.eventTime, m.row = i, now-schemas.Micros(r.IntN(3))*idStep, ""
	m.memory = max(m.memory, m.eventTime)
	d.version, d.offset, d.eventTime, d.memory = i, m.offset, m.eventTime, m.memory
	x.put(d, now+1)
	if r.IntN(4) > 0 {
		m.row = fmt.Sprint("row", strings.Repeat("x", r.IntN(100)), i)
		x.opened(d, []byte(m.row))
	}
}

// checkIDs compares all that x knows, and what its queues give, with the model.
func checkIDs(t *testing.T, x *identities, model map[string]*remembered, ordered bool) {
	t.Helper()
	found := 0
	for _, h := range x.hours {
		n := int32(0)
		x.eachOf(h, func(d *identity) {
			n++
			m := model[string(x.bytes(d.id))]
			if m == nil || d.eventTime != m.eventTime || d.memory != m.memory || d.offset != m.offset || d.open != (m.row != "") || d.open && x.rowOf(d) != m.row {
				t.Fatalf("V7: %s is %+v, want %+v", x.bytes(d.id), *d, m)
			}
			if bucketOf(d.eventTime) != h.hour {
				t.Fatalf("V7: an event at %v stands under hour %d", d.eventTime, h.hour)
			}
		})
		if found += int(n); n != h.n {
			t.Fatalf("V7: hour %d has %d ids, it counts %d", h.hour, n, h.n)
		}
	}
	if found != len(model) || x.len() != len(model) {
		t.Fatalf("V7: %d ids in hours, %d counted, want %d", found, x.len(), len(model))
	}
	least := func(open bool) (offset int64) {
		ms := []*remembered{}
		for _, m := range model {
			if !open || m.row != "" {
				ms = append(ms, m)
			}
		}
		if len(ms) == 0 {
			return -1
		}
		return slices.MinFunc(ms, func(a, b *remembered) int {
			return int(a.eventTime-b.eventTime)*2 + int(min(max(a.offset-b.offset, -1), 1))
		}).offset
	}
	offset := func(d *identity) int64 {
		if d == nil {
			return -1
		}
		return d.offset
	}
	if got, want := offset(x.nextOpen(schemas.Forever)), least(true); got != want {
		t.Fatalf("V7: the next open event is at offset %d, want %d", got, want)
	}
	if got := offset(x.least()); ordered && got != least(false) {
		t.Fatalf("V7: the least id is at offset %d, want %d", got, least(false))
	}
	limit := schemas.Forever
	for _, m := range model {
		limit = min(limit, m.memory)
	}
	if len(model) == 0 {
		return
	}
	for id, m := range model {
		if m.memory == limit {
			delete(model, id)
		}
	}
	if x.forgetBefore(limit + 1); x.len() != len(model) {
		t.Fatalf("V7: %d ids are remembered, want %d", x.len(), len(model))
	}
}
