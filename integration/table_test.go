package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// tableTrial is one history of a table under judgement.
type tableTrial struct {
	*scenario
	clocks  [][]int64
	main    *fold            // never restarted
	restart *fold            // of it, now and then from bytes
	applied []*oracle.Record // of the records folded so far
}

// TestTableProperties folds many random histories of tables and holds the engine
// against the oracle after every record (K6, V1, V4, V5, V6).
func TestTableProperties(t *testing.T) {
	eachSeed(t, func(seed uint64) error {
		s := newTableScenario(t, seed)
		s.generateTable(records)
		return newTableTrial(s).run()
	})
}

// newTableScenario draws a view of a table.
func newTableScenario(tb testing.TB, seed uint64) *scenario {
	r := rand.New(rand.NewPCG(seed, 6))
	s := &scenario{r: r, input: map[int]int{}, filter: map[int]int{}, parts: pick(r, 1, 1, 2, 3), wild: r.IntN(4) == 0}
	s.MaxFuture = pick(r, second, minute, hour)
	key := expr.Fields{{Path: "entity", Type: expr.Type{Kind: schemas.String}}}
	prog, err := expr.Compile("entity", key)
	if err != nil {
		tb.Fatal(err)
	}
	s.spec = transforms.Spec{Name: "v", Table: true, MaxFuture: schemas.Micros(s.MaxFuture), Shards: 1,
		Key:    []transforms.KeyField{{Name: "entity", Kind: schemas.String, Expr: prog}},
		Expect: []transforms.Rule{{Text: "rule", Expr: s.program(tb, "rule")}}}
	if r.IntN(2) == 0 {
		s.Identity, s.spec.Version = oracle.ByVersion, s.program(tb, "version")
	}
	for range 1 + r.IntN(4) {
		in := r.IntN(len(inputKinds))
		f := oracle.Feature{Agg: "last", Input: in, Filter: -1, Kind: oracle.Kind(inputKinds[in]), Window: oracle.Window{Kind: oracle.Lifetime, Hop: day}}
		if r.IntN(4) == 0 {
			f.Default = s.val(inputKinds[in])
		}
		s.add(tb, f, transforms.Last, inputKinds[in])
	}
	for range r.IntN(2) {
		s.addDerived(tb)
	}
	if s.view, err = transforms.NewView(s.spec); err != nil {
		tb.Fatal("seed", seed, err)
	}
	return s
}

// generateTable draws logs in which little is unique: instants, versions,
// tombstones and their ties.
func (s *scenario) generateTable(n int) {
	r := s.r
	now := pick(r, starts...).UnixMicro()
	unit := pick(r, 1, second, minute, hour, day)
	s.logs = make([][]oracle.Record, s.parts)
	for range n {
		now += pick(r, 0, 0, 0, unit, unit, 3*unit)
		p := r.IntN(s.parts)
		rec := oracle.Record{Partition: int32(p), Offset: int64(len(s.logs[p])), Timestamp: now - pick(r, 0, 0, unit, 5*unit),
			Entity: pick(r, "a", "a", "b", "c"), HasVer: true, Pass: true, Filters: []bool{true, true}, Gone: r.IntN(5) == 0}
		rec.EventTime = now + pick(r, 0, 0, -unit, -4*unit, -400*unit, unit, s.MaxFuture, s.MaxFuture+1)
		if s.Identity == oracle.ByVersion {
			rec.Version = int64(r.IntN(3))
		}
		for _, k := range inputKinds {
			v := oracle.Val{}
			if r.IntN(4) > 0 {
				v = s.val(k)
			}
			rec.Inputs = append(rec.Inputs, v)
		}
		switch x := r.IntN(60); {
		case x < 3:
			rec.Kind = oracle.Tick
		case x < 5:
			rec.Kind, rec.Gone = oracle.Bad, false
		case x < 6:
			rec.Entity = ""
		case x < 8:
			rec.Invalid = true
		}
		s.logs[p] = append(s.logs[p], rec)
		s.order = append(s.order, p)
	}
}

func newTableTrial(s *scenario) *tableTrial {
	x := &tableTrial{scenario: s, main: newFold(s), restart: newFold(s)}
	x.restart.rows = true
	for _, log := range s.logs {
		x.clocks = append(x.clocks, oracle.Clocks(&s.Config, log))
	}
	return x
}

func (x *tableTrial) run() error {
	for n, p := range x.order {
		rec := &x.logs[p][x.main.at[p]]
		at := fmt.Sprintf("record %d = partition %d offset %d: ", n, p, rec.Offset)
		got := x.main.step(p)
		if again := x.restart.step(p); again != got {
			return fmt.Errorf("%sV1: after restarts the verdict is %+v, not %+v", at, again, got)
		}
		for _, check := range []func(*oracle.Record, transforms.Verdict) error{x.verdict, x.live, x.stored} {
			if err := check(rec, got); err != nil {
				return fmt.Errorf("%s%w", at, err)
			}
		}
	}
	for _, check := range []func() error{x.anyOrder, x.complete, x.arrival} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (x *tableTrial) verdict(rec *oracle.Record, got transforms.Verdict) error {
	if rec.Kind == oracle.Tick {
		return nil
	}
	want := oracle.TableOutcome(&x.Config, rec, x.clocks[rec.Partition][rec.Offset])
	if oracle.Outcome(got.Outcome) != want || got.Replaced || got.Conflict || got.SealedEarly != 0 {
		return fmt.Errorf("V6: verdict %+v, the oracle has %v; record %+v", got, want, rec)
	}
	if want == oracle.Applied {
		x.applied = append(x.applied, rec)
	}
	return nil
}

// of returns the records of an entity among rs.
func recordsOf(rs []*oracle.Record, entity string) (out []*oracle.Record) {
	for _, r := range rs {
		if r.Entity == entity {
			out = append(out, r)
		}
	}
	return out
}

// live: a value beyond the clocks is the oracle's, and none is defined before
// (V4, K6).
func (x *tableTrial) live(rec *oracle.Record, _ transforms.Verdict) error {
	for _, f := range []*fold{x.main, x.restart} {
		states := f.of(rec.Entity)
		if len(states) == 0 {
			continue
		}
		clock := schemas.Never
		for _, s := range states {
			clock = max(clock, s.Clock())
		}
		if _, err := x.view.Value(nil, clock, states...); clock != schemas.Never && !errors.As(err, new(*transforms.NotDefinedError)) {
			return fmt.Errorf("V4: a value at the clock itself: error %v", err)
		}
		t := rec.Timestamp
		if clock != schemas.Never {
			t = int64(clock) + 1
		}
		t += pick(x.r, 0, 0, 1, x.MaxFuture, day)
		if err := x.valueIs("live value", rec.Entity, t, states, x.applied); err != nil {
			return err
		}
	}
	return nil
}

func (x *tableTrial) valueIs(what, entity string, t int64, states []*transforms.State, applied []*oracle.Record) error {
	states = slices.Clone(states)
	x.r.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
	got, err := x.view.Value(nil, schemas.Micros(t), states...)
	if err != nil {
		return fmt.Errorf("V4: %s: %w", what, err)
	}
	if diff := compare(got, oracle.TableValues(&x.Config, recordsOf(applied, entity), t)); diff != "" {
		return fmt.Errorf("K6: %s of %s as of %d: %s", what, entity, t, diff)
	}
	return nil
}

// stored: a state is what its bytes say, and goes on from them (V1). Trimmed, it
// answers as before.
func (x *tableTrial) stored(rec *oracle.Record, _ transforms.Verdict) error {
	k := stateKey{rec.Entity, int(rec.Partition)}
	s := x.restart.states[k]
	if s == nil {
		return nil
	}
	if encoded(x.view, s) != encoded(x.view, x.main.states[k]) {
		return fmt.Errorf("V1: restarts give another state:\n%s\n%s", encoded(x.view, s), encoded(x.view, x.main.states[k]))
	}
	c, err := clone(x.view, s)
	if err != nil {
		return fmt.Errorf("V1: Parse(Encode): %w", err)
	}
	if encoded(x.view, c) != encoded(x.view, s) {
		return errors.New("V1: Parse(Encode) encodes otherwise")
	}
	if c.Empty() != s.Empty() {
		return errors.New("V1: emptiness is lost in bytes")
	}
	x.restart.states[k] = c
	return x.trimmed(rec, s)
}

func (x *tableTrial) trimmed(rec *oracle.Record, s *transforms.State) error {
	if s.Clock() == schemas.Never {
		return nil
	}
	c, err := clone(x.view, s)
	if err != nil {
		return err
	}
	b := s.Clock() + schemas.Micros(pick(x.r, 0, 1, -1, x.MaxFuture))
	x.view.Trim(c, b)
	again, err := clone(x.view, c)
	if err != nil {
		return fmt.Errorf("V1: Parse(Encode) after a trim: %w", err)
	}
	var here []*oracle.Record
	for _, r := range x.applied {
		if r.Partition == rec.Partition {
			here = append(here, r)
		}
	}
	t := max(int64(b), int64(s.Clock())+1) + pick(x.r, 0, 1, x.MaxFuture)
	return x.valueIs("value after a trim", rec.Entity, t, []*transforms.State{again}, here)
}

// anyOrder: however the partitions were read, states have the same bytes, and
// nothing but a record that counts makes one (V1).
func (x *tableTrial) anyOrder() error {
	apart := newFold(x.scenario)
	for p := x.parts - 1; p >= 0; p-- {
		for range x.logs[p] {
			apart.step(p)
		}
	}
	for _, k := range x.main.keys() {
		if got, want := encoded(x.view, apart.states[k]), encoded(x.view, x.main.states[k]); got != want {
			return fmt.Errorf("V1: another interleaving of partitions gives another state of %v", k)
		}
		some := slices.ContainsFunc(x.applied, func(r *oracle.Record) bool { return r.Entity == k.entity && int(r.Partition) == k.partition })
		if x.main.states[k].Empty() == some {
			return fmt.Errorf("K6: state %v is empty: %t, but records count: %t", k, !some, some)
		}
	}
	return nil
}

// complete: training with complete knowledge enters what counts by event time and
// asks in between (§10).
func (x *tableTrial) complete() error {
	byTime := slices.Clone(x.applied)
	at := func(r *oracle.Record) int64 {
		if r.Gone {
			return r.Timestamp
		}
		return r.EventTime
	}
	x.r.Shuffle(len(byTime), func(i, j int) { byTime[i], byTime[j] = byTime[j], byTime[i] })
	slices.SortStableFunc(byTime, func(a, b *oracle.Record) int { return int(min(1, max(-1, at(a)-at(b)))) })
	f := newFold(x.scenario)
	states := map[string]*transforms.State{}
	for i, r := range byTime {
		s := states[r.Entity]
		if s == nil {
			s = x.view.NewState(0)
			states[r.Entity] = s
		}
		f.event(r)
		x.view.Prepare(f.in, &f.ev)
		x.view.Accept(s, f.in)
		if i+1 == len(byTime) || at(byTime[i+1]) > at(r) {
			if err := x.valueIs("complete knowledge", r.Entity, at(r)+1, []*transforms.State{s}, x.applied); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrival: a training state answers at the clock itself, by what had arrived
// (§10).
func (x *tableTrial) arrival() error {
	f := newFold(x.scenario)
	f.fresh = x.view.NewTrainingState
	var arrived []*oracle.Record
	for _, p := range x.order {
		rec := &x.logs[p][f.at[p]]
		if v := f.step(p); rec.Kind == oracle.Tick || v.Outcome != transforms.Applied {
			continue
		}
		arrived = append(arrived, rec)
		clock := schemas.Never
		for _, s := range f.of(rec.Entity) {
			clock = max(clock, s.Clock())
		}
		if err := x.valueIs("arrival knowledge", rec.Entity, int64(clock), f.of(rec.Entity), arrived); err != nil {
			return err
		}
	}
	return nil
}
