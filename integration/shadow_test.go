package integration

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// shadow is a fold whose states are flushed to a store as the online worker
// does: the served part and the changed fields of the open part; and which
// restarts from that store now and then.
type shadow struct {
	*fold
	stored map[stateKey]*storedState
}

type storedState struct {
	served, old []byte
	open        map[int64][]byte
	// of is the state whose old part is stored, in that version.
	of      *transforms.State
	version int32
	olds    int // old parts written
}

func newShadow(s *scenario) *shadow {
	return &shadow{fold: newFold(s), stored: map[stateKey]*storedState{}}
}

// flush writes what changed in a state and returns what the store then holds.
func (sh *shadow) flush(k stateKey) transforms.Parts {
	st, v := sh.states[k], sh.s.view
	d := sh.stored[k]
	if d == nil {
		d = &storedState{open: map[int64][]byte{}}
		sh.stored[k] = d
	}
	for _, h := range st.TakeChanged() {
		delete(d.open, h)
		if b := v.AppendOpen(nil, st, h); len(b) > 0 {
			d.open[h] = b
		}
	}
	if d.of != st { // new, or parsed from what is stored
		d.of, d.version = st, 0
	}
	if n := v.OldVersion(st); n != d.version {
		d.old, d.version = v.AppendOld(d.old[:0], st), n
		d.olds++
	}
	d.served = v.AppendServed(d.served[:0], st)
	p := transforms.Parts{Served: d.served, Old: d.old}
	for _, h := range slices.Sorted(maps.Keys(d.open)) {
		p.Open = append(p.Open, transforms.Open{Hour: h, Data: d.open[h]})
	}
	return p
}

// shadowed: after any flush the store parses to the very state, and a reader
// that starts from there goes on alike (V1, V11, O1). Readers of the served part
// alone read the same values.
func (x *trial) shadowed(rec *oracle.Record) error {
	k := stateKey{rec.Entity, int(rec.Partition)}
	st := x.shadow.states[k]
	if st == nil || x.r.IntN(3) > 0 {
		return nil
	}
	p := x.shadow.flush(k)
	back, err := x.view.Parse(p)
	if err != nil {
		return fmt.Errorf("O1: Parse of what was flushed: %w", err)
	}
	if got, want := encoded(x.view, back), encoded(x.view, st); got != want {
		return fmt.Errorf("O1: the store holds another state than was flushed:\n%s\n%s", got, want)
	}
	if want := encoded(x.view, x.main.states[k]); encoded(x.view, st) != want {
		return fmt.Errorf("V1: restarts give another state of %v", k)
	}
	if x.r.IntN(4) == 0 {
		x.shadow.states[k] = back
	}
	reader, err := x.view.ParseServed(p.Served, p.Old)
	if err != nil {
		return fmt.Errorf("O4: ParseServed: %w", err)
	}
	t := max(st.Clock().AddSat(1), schemas.Micros(x.generatedNow())) + schemas.Micros(pick(x.r, 0, hour, 2*day))
	want, err1 := x.view.Value(nil, t, st)
	got, err2 := x.view.Value(nil, t, reader)
	if err1 != nil || err2 != nil || !slices.Equal(got, want) {
		return fmt.Errorf("O4: the served part reads as %v %v, the state as %v %v", got, err2, want, err1)
	}
	return nil
}
