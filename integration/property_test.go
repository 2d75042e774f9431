package integration

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

var (
	seedsFlag = flag.Int("seeds", 2500, "how many random histories the property tests fold")
	seedFlag  = flag.Int64("seed", -1, "fold this history only")
)

// records per history; now and then many, for states of many tiles.
const records, manyRecords = 70, 500

// trial is one history under judgement.
type trial struct {
	*scenario
	verdicts  [][]oracle.Verdict  // by partition and offset
	snaps     [][]oracle.Snapshot // by partition and position
	clocks    [][]int64
	main      *fold                      // never restarted, never trimmed
	shadow    *shadow                    // restarted from what a store holds
	trimmed   *shadow                    // trimmed and flushed now and then
	tiles     map[tileKey]tileBytes      // closed tiles seen so far
	evicted   map[tileKey]tileBytes      // tiles that left main
	after     map[stateKey]oracleChanged // what the oracle says of states
	trimmedAt int64                      // the last boundary that trimmed was trimmed at
}

type oracleChanged struct{ offset, clock int64 }

// TestProperties folds many random histories and holds the engine against the
// oracle after every record (V3-V9, V11, B5).
func TestProperties(t *testing.T) {
	eachSeed(t, func(seed uint64) error {
		s := newScenario(t, seed, nil)
		n := records
		if seed%50 == 7 {
			n = manyRecords
		}
		s.generate(n)
		return newTrial(s).run()
	})
}

// eachSeed calls check with the seeds that the flags ask for.
func eachSeed(t *testing.T, check func(seed uint64) error) {
	if *seedFlag >= 0 {
		if err := check(uint64(*seedFlag)); err != nil {
			t.Fatal(err)
		}
		return
	}
	failed := 0
	for seed := range uint64(*seedsFlag) {
		if err := check(seed); err != nil {
			t.Errorf("seed %d: %v", seed, err)
			if failed++; failed == 5 {
				t.FailNow()
			}
		}
	}
}

func newTrial(s *scenario) *trial {
	x := &trial{scenario: s, main: newFold(s), shadow: newShadow(s), trimmed: newShadow(s),
		tiles: map[tileKey]tileBytes{}, evicted: map[tileKey]tileBytes{}, after: map[stateKey]oracleChanged{}, trimmedAt: oracle.NoClock}
	x.main.fresh = func(p int32) *transforms.State {
		st := s.view.NewState(p)
		st.KeepEvicted = true
		return st
	}
	for _, log := range s.logs {
		clocks := oracle.Clocks(&s.Config, log)
		v, sn := oracle.Verdicts(&s.Config, log, clocks)
		x.clocks, x.verdicts, x.snaps = append(x.clocks, clocks), append(x.verdicts, v), append(x.snaps, sn)
	}
	return x
}

func (x *trial) run() error {
	for n, p := range x.order {
		rec := &x.logs[p][x.main.at[p]]
		at := fmt.Sprintf("record %d = partition %d offset %d: ", n, p, rec.Offset)
		got := x.main.step(p)
		if err := x.verdict(rec, got); err != nil {
			return fmt.Errorf("%s%w", at, err)
		}
		for _, f := range []*fold{x.trimmed.fold, x.shadow.fold} {
			if again := f.step(p); again != got {
				return fmt.Errorf("%sV1: after restarts or trims the verdict is %+v, not %+v", at, again, got)
			}
		}
		for _, check := range []func(*oracle.Record) error{x.changed, x.live, x.shadowed, x.closed} {
			if err := check(rec); err != nil {
				return fmt.Errorf("%s%w", at, err)
			}
		}
	}
	for _, check := range []func() error{x.daily, x.complete, x.sameEverywhere, x.training} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// verdict holds a verdict and the ledger after it against the oracle (V6-V8).
func (x *trial) verdict(rec *oracle.Record, got transforms.Verdict) error {
	p := int(rec.Partition)
	want, snap := x.verdicts[p][rec.Offset], x.snaps[p][rec.Offset+1]
	if c := int64(x.main.clocks[p].Now()); c != snap.Clock {
		return fmt.Errorf("§3 K7: clock %d, the oracle has %d", c, snap.Clock)
	}
	if rec.Kind == oracle.Tick {
		return nil
	}
	g := oracle.Verdict{Outcome: oracle.Outcome(got.Outcome), Conflict: got.Conflict, Replaced: got.Replaced,
		ReplacedOutcome: oracle.Outcome(got.ReplacedOutcome), ReplacedOffset: got.ReplacedOffset, SealedEarly: got.SealedEarly}
	want.Changed = false
	if g != want {
		return fmt.Errorf("V6 V7: verdict %+v, the oracle has %+v; record %+v at clock %d", g, want, rec, snap.Clock)
	}
	if named := got.Reason != ""; named != (got.Quarantined() || got.Conflict) {
		return fmt.Errorf("V6: outcome %v with reason %q", got.Outcome, got.Reason)
	}
	led := x.main.ledger[p]
	for i, n := range snap.Ledger {
		if *led.Count(transforms.Outcome(i)) != n {
			return fmt.Errorf("V8: ledger %v, the oracle has %v", &led, snap.Ledger)
		}
	}
	if led.Read() != snap.Read || led.Conflicts != snap.Conflicts || led.SealedEarly != snap.SealedEarly {
		return fmt.Errorf("V8: ledger %v, the oracle has %+v", &led, snap)
	}
	return nil
}

// changed: only records that change a state move its clock and offset (V11).
func (x *trial) changed(rec *oracle.Record) error {
	p := int(rec.Partition)
	st := x.main.states[stateKey{rec.Entity, p}]
	if st == nil {
		return nil
	}
	k := stateKey{rec.Entity, p}
	was, ok := x.after[k]
	if !ok {
		was = oracleChanged{-1, oracle.NoClock}
	}
	if x.verdicts[p][rec.Offset].Changed {
		was = oracleChanged{rec.Offset, x.clocks[p][rec.Offset]}
	}
	x.after[k] = was
	if now := (oracleChanged{st.LastOffset(), int64(st.Clock())}); now != was {
		return fmt.Errorf("V11: state at %+v, the oracle has %+v", now, was)
	}
	return nil
}

// accepted returns the entity's events as of the positions at, all partitions.
func (x *trial) accepted(entity string, at []int) (rs []*oracle.Record) {
	for p, n := range at {
		for _, r := range x.snaps[p][n].Accepted {
			if r.Entity == entity {
				rs = append(rs, r)
			}
		}
	}
	return rs
}

// live: a value at some t beyond the clocks is the oracle's, bit for bit, and
// so is that of states that were stored and trimmed (V3, V4, V9).
func (x *trial) live(rec *oracle.Record) error {
	states := x.main.of(rec.Entity)
	if len(states) == 0 {
		return nil
	}
	clock := schemas.Never
	for _, s := range states {
		clock = max(clock, s.Clock())
	}
	if _, err := x.view.Value(nil, clock, states...); clock != schemas.Never && !errors.As(err, new(*transforms.NotDefinedError)) {
		return fmt.Errorf("V4: a value at the clock itself: error %v", err)
	}
	t := int64(clock.AddSat(1))
	if clock == schemas.Never {
		t = x.generatedNow()
	}
	t += pick(x.r, 0, 0, 0, 1, minute, x.MaxFuture, hour, 3*day, 40*day)
	if x.r.IntN(3) == 0 {
		t = max(t, ceil(t, pick(x.r, x.hops...))+pick[int64](x.r, -1, 0, 1))
	}
	if err := x.valueIs("V4: live value", t, rec.Entity, states, x.main.at); err != nil {
		return err
	}
	if x.r.IntN(3) == 0 {
		return nil
	}
	return x.afterTrim(rec, states, t)
}

func (x *trial) generatedNow() int64 { return x.logs[x.order[0]][0].Timestamp }

// afterTrim: a trimmed state answers from its boundary on (V4).
func (x *trial) afterTrim(rec *oracle.Record, states []*transforms.State, t int64) error {
	b, ok := x.boundary(x.main.at)
	if !ok {
		return nil
	}
	var clones []*transforms.State
	clock := schemas.Micros(b) - 1
	for _, s := range states {
		c, err := clone(x.view, s)
		if err != nil {
			return fmt.Errorf("V1: Parse(Encode): %w", err)
		}
		if encoded(x.view, c) != encoded(x.view, s) {
			return errors.New("V1: Parse(Encode) encodes otherwise")
		}
		x.view.Trim(c, schemas.Micros(b))
		clones, clock = append(clones, c), max(clock, c.Clock())
	}
	anything := slices.ContainsFunc(clones, func(c *transforms.State) bool { return !c.Empty() })
	if _, err := x.view.Value(nil, clock, clones...); anything && !errors.As(err, new(*transforms.NotDefinedError)) {
		return fmt.Errorf("V4: a value before the trim or the clock: error %v", err)
	}
	t = max(int64(clock)+1, pick(x.r, t, b, int64(clock)+1))
	return x.valueIs(fmt.Sprintf("V4: value after Trim at %d", b), t, rec.Entity, clones, x.main.at)
}

// valueIs compares Value at t with the oracle's.
func (x *trial) valueIs(what string, t int64, entity string, states []*transforms.State, at []int) error {
	states = slices.Clone(states)
	x.r.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
	got, err := x.view.Value(nil, schemas.Micros(t), states...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if diff := compare(got, oracle.Values(&x.Config, x.accepted(entity, at), t)); diff != "" {
		return fmt.Errorf("%s of %s as of %d: %s", what, entity, t, diff)
	}
	return nil
}

// horizon returns the clock after n records of a partition minus the lateness of
// those to come.
func (x *trial) horizon(p, n int) int64 {
	clock, lateness := x.snaps[p][n].Clock, x.Lateness
	if clock == oracle.NoClock {
		return clock
	}
	if n < len(x.logs[p]) && x.logs[p][n].Offset < x.History[int32(p)] {
		lateness = max(lateness, x.LoadLateness)
	}
	return clock - lateness
}

// boundary returns a closed clock minus lateness, or the finest level's B_h;
// false while a partition has no clock.
func (x *trial) boundary(at []int) (int64, bool) {
	low := int64(schemas.Forever)
	for p, n := range at {
		low = min(low, x.horizon(p, n))
	}
	if low == oracle.NoClock {
		return 0, false
	}
	b := low
	if x.r.IntN(2) == 0 {
		b = int64(schemas.Micros(b).Floor(schemas.Micros(x.hops[0])))
	}
	return b, true
}

// sameEverywhere: however a log was read, trimmed at the same boundary the
// states have the same bytes (V1, V11, B5).
func (x *trial) sameEverywhere() error {
	apart := newFold(x.scenario) // partition after partition, the last first
	for p := x.parts - 1; p >= 0; p-- {
		for range x.logs[p] {
			apart.step(p)
		}
	}
	b, closed := x.boundary(x.main.at)
	b = max(b, x.trimmedAt)
	keys := map[stateKey]bool{}
	for _, f := range []*fold{x.main, apart, x.shadow.fold, x.trimmed.fold} {
		for k := range f.states {
			keys[k] = true
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(keys), lessKey) {
		want := encoded(x.view, x.main.states[k])
		if got := encoded(x.view, apart.states[k]); got != want {
			return fmt.Errorf("V1: another interleaving of partitions gives another state of %v", k)
		}
		if got := x.orMissing(x.shadow.states[k]); got != x.orMissing(x.main.states[k]) {
			return fmt.Errorf("V1: restarts give another state of %v:\n%s\n%s", k, got, want)
		}
		if !closed {
			continue
		}
		for _, f := range []*fold{x.main, x.trimmed.fold} {
			if f.states[k] != nil {
				x.view.Trim(f.states[k], schemas.Micros(b))
			}
		}
		if got, want := x.orMissing(x.trimmed.states[k]), x.orMissing(x.main.states[k]); got != want {
			return fmt.Errorf("B5: earlier trims give another state of %v at %d:\n%s\n%s", k, b, got, want)
		}
	}
	return nil
}

func lessKey(a, b stateKey) int {
	if a.entity != b.entity {
		return len(a.entity) - len(b.entity) + slices.Compare([]byte(a.entity), []byte(b.entity))
	}
	return a.partition - b.partition
}

// orMissing encodes a state; one that holds nothing equals a missing one.
func (x *trial) orMissing(s *transforms.State) string {
	if s == nil || s.Empty() {
		return "missing"
	}
	return encoded(x.view, s)
}
