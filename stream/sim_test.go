package stream

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

var (
	simSeed  = flag.Int64("sim.seed", -1, "run this seed of the simulator only")
	simSeeds = flag.Int64("sim.seeds", simDefault, "how many seeds of the simulator to run")
)

// What runs unless asked otherwise, and how long at most.
const (
	simDefault = 2000
	simTime    = 40 * time.Second
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // small heaps: a third of the time goes otherwise
	goleak.VerifyTestMain(m)
}

// TestSimulator drives the real worker and engine through simulated ports:
// crashes at every step, lost replies, two owners, rebalances, a guard that holds
// and lets go (B6), a store that loses acknowledged writes, foreign writes, idle partitions. After every write
// the store must be, byte for byte, a fresh fold of the log up to each marker
// (O1, O2, K4, V1, V8).
func TestSimulator(t *testing.T) {
	if *simSeed >= 0 {
		if _, _, err := simulate(*simSeed); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *simSeeds
	if testing.Short() {
		n = min(n, 300)
	}
	const lanes = 4
	var failed atomic.Bool
	var ran, olds, holds atomic.Int64
	t.Cleanup(func() {
		if !failed.Load() && olds.Load() < ran.Load()/10 {
			t.Errorf("in %d seeds old parts were written %d times only", ran.Load(), olds.Load())
		}
		if !failed.Load() && holds.Load() < ran.Load()/2 {
			t.Errorf("in %d seeds workers were held %d times only", ran.Load(), holds.Load())
		}
	})
	begun := time.Now()
	for lane := range int64(lanes) {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			for seed := lane; seed < n && !failed.Load(); seed += lanes {
				if time.Since(begun) > simTime && *simSeeds == simDefault { // under -race
					t.Logf("stopped before seed %d: time is up", seed)
					return
				}
				n, held, err := simulate(seed)
				ran.Add(1)
				olds.Add(int64(n))
				holds.Add(int64(held))
				if err != nil {
					failed.Store(true)
					t.Fatalf("%v\nrerun: go test ./stream -run TestSimulator -sim.seed=%d", err, seed)
				}
			}
		})
	}
}

// owner is one process: a worker that is replaced when it dies.
type owner struct {
	id     int
	worker *Worker
	parts  []int32  // its own, as the group sees it
	queue  []Change // what the group has decided and the worker not yet asked for
	dead   bool
	busy   bool
	pos    map[int32]int64 // its reader's
	guard  *simGuard
}

type sim struct {
	*world
	r           *rand.Rand
	store       *store
	owners      []*owner
	visible     []int64 // by partition: the stable offset
	now         time.Time
	token       uint64
	calm        bool // no more faults
	counters    bool // in the place of random tokens
	pinned      int
	topicID     string
	begin       int64   // where the logs start
	tables      []int64 // by partition: the cut of the tables; nil = there are none
	restored    int     // shards, from tables
	quarantined map[position]bool
	puts        int // records put there, the same ones again too
	failure     error
	commits     int
	olds        int // old parts written or taken out
	guarded     bool
	holds       int // times that a guard began to hold
	shown       int // states shown to guards
}

var errCrash = errors.New("simulated crash")

func (s *sim) chance() int {
	if s.calm {
		return 1000
	}
	return s.r.IntN(1000)
}

// fault is called before every effect of a worker.
func (s *sim) fault(o *owner, passing bool) error {
	if o.dead {
		return errCrash
	}
	switch x := s.chance(); {
	case x < 6:
		return s.die(o)
	case x < 14 && passing:
		return marker.ErrUnavailable
	}
	s.interlude(o)
	return nil
}

func (s *sim) die(o *owner) error {
	o.dead = true
	return errCrash
}

// interlude lets something else happen in the middle of a worker's step.
func (s *sim) interlude(o *owner) {
	switch x := s.chance(); {
	case x < 12:
		s.failover()
	case x < 20:
		s.foreign()
	case x < 26:
		s.land()
	case x < 30:
		s.rebalance(s.owners[s.r.IntN(2)])
	case x < 60:
		other := s.owners[1-o.id]
		if !other.busy {
			s.step(other)
		}
	}
}

func simulate(seed int64) (olds, holds int, err error) {
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	w, err := newWorld(r)
	if err != nil {
		return 0, 0, err
	}
	if !w.shape.table {
		w.judge = newJudge(w)
	}
	s := newSim(w, r)
	if r.IntN(3) == 0 {
		s.tables = make([]int64, len(w.logs))
	}
	s.guarded = r.IntN(3) > 0
	for p := range w.logs {
		o := s.owners[r.IntN(2)]
		o.parts = append(o.parts, int32(p))
	}
	for i := 0; i < 120 && s.failure == nil; i++ {
		s.act()
	}
	if s.failure == nil {
		s.finish()
	}
	if s.failure != nil {
		return s.olds, s.holds, fmt.Errorf("seed %d, %+v: %w", seed, w.shape, s.failure)
	}
	return s.olds, s.holds, nil
}

func newSim(w *world, r *rand.Rand) *sim {
	s := &sim{world: w, r: r, store: newStore(w.shape.shards, len(w.logs)), visible: make([]int64, len(w.logs)),
		now: time.Unix(1_800_000_000, 0), topicID: "topic-1", quarantined: map[position]bool{}}
	for i := range 2 {
		s.owners = append(s.owners, &owner{id: i, pos: map[int32]int64{}})
	}
	return s
}

func (s *sim) fail(format string, a ...any) {
	if s.failure == nil {
		s.failure = fmt.Errorf(format, a...)
	}
}

// act does one thing.
func (s *sim) act() {
	o := s.owners[s.r.IntN(2)]
	switch x := s.r.IntN(100); {
	case x < 25:
		s.grow(s.r.IntN(len(s.logs)), 1+s.r.IntN(5))
	case x < 75:
		s.step(o)
	case x < 82:
		s.now = s.now.Add(time.Duration(s.r.IntN(4000)) * time.Millisecond)
	case x < 86:
		s.failover()
	case x < 87:
		s.loseMarker()
	case x < 90:
		s.corrupt()
	case x < 93:
		s.foreign()
	case x < 94:
		s.publish()
	case x < 96:
		s.land()
	case x < 98:
		s.rebalance(o)
	default:
		_ = s.die(o)
	}
}

func (s *sim) grow(p, n int) {
	for _, e := range s.logs[p] {
		if e.offset >= s.visible[p] && n > 0 {
			s.visible[p] = e.offset + 1
			n--
		}
	}
}

func (s *sim) options(o *owner) Options {
	pick := func(xs ...int) int { return xs[s.r.IntN(len(xs))] }
	return Options{Origin: s.origin(o), Guard: s.guard(o), HoldEvery: 700 * time.Millisecond, FlushEvery: 500 * time.Millisecond, CatchUpLag: int64(pick(2, 1000)), MaxDirty: pick(1, 2, 3, 512), MaxBytes: pick(300, 1<<20),
		IdleEvery: 2 * time.Second, CacheBytes: pick(1, 4000, 1<<20), Chunk: pick(1, 2, 7), Parallel: 1, StandBy: 3 * time.Second,
		SweepEvery: time.Duration(pick(-1, int(300*time.Millisecond))), Membership: o, Rebuild: true,
		Now: func() time.Time { return s.now }, Sleep: func(_ context.Context, d time.Duration) { s.now = s.now.Add(d) },
		Token: s.newToken}
}

func (s *sim) newToken() uint64 {
	if s.counters { // as if a token counted the writes
		return s.store.cells[0][0].mark.Token + 1
	}
	s.token++
	return s.token * 0x9E3779B97F4A7C15
}

// start replaces a dead worker, or one that there is not yet.
func (s *sim) start(o *owner, opt Options) {
	records := s.records
	if s.chance() < 200 {
		records = s.flaky()
	}
	o.rejoin()
	o.dead, o.pos = false, map[int32]int64{}
	var err error
	if o.worker, err = New(s.view, records, &reader{s, o}, port{s, o}, port{s, o}, opt); err != nil {
		s.fail("New: %w", err)
	}
}

func (s *sim) step(o *owner) {
	if o.worker == nil || o.dead {
		s.start(o, s.options(o))
	}
	if s.failure != nil || len(o.parts)+len(o.queue)+len(o.worker.parts) == 0 {
		return
	}
	o.busy = true
	_, err := o.worker.Step(context.Background())
	o.busy = false
	s.now = s.now.Add(time.Duration(s.r.IntN(300)) * time.Millisecond)
	s.outcome(o, err)
}

// outcome: nothing but a crash may end a worker.
func (s *sim) outcome(o *owner, err error) {
	switch {
	case err == nil:
	case o.dead && errors.Is(err, errCrash):
	default:
		s.fail("the worker ended: %w", err)
	}
}

// failover lets a shard lose its latest writes, all partitions together.
func (s *sim) failover() {
	if s.pinned > 0 {
		return
	}
	i := s.r.IntN(len(s.store.cells))
	past := s.store.past[i]
	s.store.cells[i] = slices.Clone(past[s.r.IntN(len(past))])
	s.store.keep(i)
}

func (s *sim) any() (shard, partition int, c *cell) {
	shard, partition = s.r.IntN(len(s.store.cells)), s.r.IntN(len(s.logs))
	return shard, partition, s.store.cells[shard][partition]
}

// loseMarker: the marker is gone, with or without the fields.
func (s *sim) loseMarker() {
	shard, p, c := s.any()
	n := &cell{states: c.states, bad: c.bad}
	if s.r.IntN(2) == 0 {
		n = &cell{states: map[string]*refState{}}
	}
	s.store.put(shard, p, n)
}

// land lets a write whose reply was lost be done after all, unless what it
// watched was written to.
func (s *sim) land() {
	if len(s.store.flight) == 0 {
		return
	}
	f := s.store.flight[0]
	s.store.flight = s.store.flight[1:]
	if s.store.cells[f.shard][f.partition] == f.was {
		s.store.put(f.shard, f.partition, f.now)
		s.verify(f.shard, f.partition)
	}
}

// corrupt changes a state in silence: a sum is off. Verdicts do not depend on
// it, so the ledger stays comparable. The old part stays: a worker that has the state
// in memory would not write that again, and whoever reads it next would stop.
func (s *sim) corrupt() {
	shard, p, c := s.any()
	if c.mark.Phase != marker.Live || len(c.bad) > 0 || s.shape.identity == "version" || len(c.states) == 0 {
		return
	}
	entity := slices.Sorted(maps.Keys(c.states))[s.r.IntN(len(c.states))]
	ref, err := s.fold(p, c.mark.Next, s.logs[p][s.r.IntN(len(s.logs[p]))].offset)
	if err != nil || ref.shards[shard].states[entity] == nil || ref.shards[shard].states[entity].old != c.states[entity].old {
		return
	}
	n := &cell{mark: c.mark, states: maps.Clone(c.states), bad: map[string]bool{entity: true}}
	n.states[entity] = ref.shards[shard].states[entity]
	s.store.cells[shard][p] = n
	s.store.past[shard] = nil // a failover never undoes it
	s.store.keep(shard)
}

// foreign is a repair: a guarded write of one state, as a fold makes it.
func (s *sim) foreign() {
	shard, p, c := s.any()
	if c.mark.Phase != marker.Live {
		return
	}
	ref, err := s.at(p, c.mark.Next)
	if err != nil {
		s.fail("fold: %w", err)
		return
	}
	entities := slices.Sorted(maps.Keys(ref.shards[shard].states))
	if len(entities) == 0 {
		return
	}
	entity := entities[s.r.IntN(len(entities))]
	s.repair(shard, p, entity, ref.shards[shard].states[entity])
}

// repair writes one state, whatever the store holds, under a token of its own.
func (s *sim) repair(shard, p int, entity string, st *refState) {
	c := s.store.cells[shard][p]
	n := &cell{mark: c.mark, states: maps.Clone(c.states), bad: maps.Clone(c.bad)}
	n.mark.Token = s.newToken()
	n.states[entity] = st
	delete(n.bad, entity)
	s.store.put(shard, p, n)
	s.verify(shard, p)
}

// finish lets one last worker catch up in peace: everything must be there.
func (s *sim) finish() {
	s.calm = true
	for p := range s.logs {
		s.grow(p, len(s.logs[p]))
		for shard := range s.store.cells {
			if c := s.store.cells[shard][p]; len(c.bad) > 0 {
				s.store.cells[shard][p] = &cell{states: c.states} // to be bootstrapped
			}
		}
	}
	o := s.owners[0]
	opt := s.options(o)
	opt.Membership, opt.UntilEnd = nil, true
	s.start(o, opt)
	finished := false
	for i := 0; !finished && s.failure == nil; i++ {
		var err error
		finished, err = o.worker.Step(context.Background())
		s.outcome(o, err)
		if i > 2000 {
			s.fail("the cut is not reached: %+v", o.worker.Status())
		}
	}
	s.complete()
}

func (s *sim) complete() {
	want := map[position]bool{}
	for p := range s.logs {
		end := s.visible[p]
		ref, err := s.at(p, end)
		if err != nil || s.failure != nil {
			return
		}
		for shard := range s.store.cells {
			if m := s.store.cells[shard][p].mark; m.Phase != marker.Live || m.Next != end {
				s.fail("partition %d shard %d ends at %+v, not at %d", p, shard, m, end)
			}
			s.verify(shard, p)
			for _, o := range ref.shards[shard].quarantine {
				want[position{p, o}] = true
			}
		}
	}
	if !maps.Equal(want, s.quarantined) {
		s.fail("V8: quarantined %v, a fold quarantines %v", s.quarantined, want)
	}
	s.readers()
}

// readers holds what a reader of the store gets in the end against the oracle.
func (s *sim) readers() {
	if s.judge == nil || s.failure != nil {
		return
	}
	parts := map[string]map[int]*refState{}
	for _, row := range s.store.cells {
		for p, c := range row {
			for entity, st := range c.states {
				if parts[entity] == nil {
					parts[entity] = map[int]*refState{}
				}
				parts[entity][p] = st
			}
		}
	}
	for entity, sts := range parts {
		if err := s.judge.now(entity, sts); err != nil {
			s.fail("%w", err)
		}
	}
}

// verify holds a cell against a fresh fold up to its marker.
func (s *sim) verify(shard, p int) {
	s.commits++
	c := s.store.cells[shard][p]
	if c.mark.Phase != marker.Live || s.failure != nil {
		return
	}
	ref, err := s.at(p, c.mark.Next)
	if err != nil {
		s.fail("fold: %w", err)
		return
	}
	at := fmt.Sprintf("partition %d shard %d at offset %d", p, shard, c.mark.Next)
	want := &ref.shards[shard]
	if c.mark.Clock != ref.clock || c.mark.Ledger != want.ledger || c.mark.Newest != want.newest || c.mark.ValidFrom != schemas.Never {
		s.fail("V8: %s the marker is %+v, a fold has clock %v, newest %v, %v", at, c.mark, ref.clock, want.newest, want.ledger)
	}
	for entity, st := range want.states {
		have := c.states[entity]
		switch {
		case c.bad[entity]:
		case have == nil && !st.empty:
			s.fail("O1: %s entity %x is missing", at, entity)
		case have != nil && !have.same(st):
			s.fail("O1: %s entity %x is\n%x, a fold has\n%x", at, entity, have.stored(), st.stored())
		}
	}
	for entity := range c.states {
		if want.states[entity] == nil && !c.bad[entity] {
			s.fail("O1: %s entity %x has nothing to be there for", at, entity)
		}
	}
	for _, o := range want.quarantine {
		if !s.quarantined[position{p, o}] {
			s.fail("V8: %s the marker has passed offset %d, which is not quarantined", at, o)
		}
	}
}
