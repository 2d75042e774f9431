package stream

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The steps that a schedule is made of.
const (
	stepWorker = iota // one more record, and a step: it writes what the step before read
	repairA
	repairB
	failOver // the last write is lost
	scheduleSteps
)

var stepNames = [scheduleSteps]string{"step", "repair a", "repair b", "failover"}

// longest is how long the schedules are that are all tried.
const longest = 6

// O1: a marker's token is random. With a counter, which comes back after a
// failover, a worker takes another's write for its own: of all short schedules of
// a worker, two repairs and a failover, some then put a repaired state back to
// what it was. With random tokens none does.
func TestTokenIsNoCounter(t *testing.T) {
	w := tokenWorld(t)
	if tried, failed := schedules(t, w, false); failed != nil {
		t.Fatalf("random tokens: %v after %d schedules", failed, tried)
	}
	tried, failed := schedules(t, w, true)
	if failed == nil {
		t.Fatalf("counters: none of %d schedules shows what is wrong with them", tried)
	}
	t.Logf("counters: %v", failed)
}

// tokenWorld is one partition, in which two entities have events in turn.
func tokenWorld(t *testing.T) *world {
	w := &world{memo: map[position]*reference{}, shape: shape{maxOpen: 65536, shards: 1}}
	var log []event
	for i := range int64(2 + longest) {
		at := time.Date(2026, 3, 1, 22, int(i), 0, 0, time.UTC).UnixMicro()
		log = append(log, event{kind: 'd', offset: i, stamp: at / 1000, ent: string(rune('a' + i%2)), id: fmt.Sprint(i), ver: 1, et: at, amt: float64(i + 1), ok: true})
	}
	w.logs = [][]event{log}
	var err error
	if w.view, err = w.shape.definition(); err != nil {
		t.Fatal(err)
	}
	if err = w.compile(); err != nil {
		t.Fatal(err)
	}
	return w
}

// schedules tries all, the short ones first, and returns the first failure.
func schedules(t *testing.T, w *world, counters bool) (tried int, failed error) {
	list := [][]int{nil}
	for range longest {
		var longer [][]int
		for _, s := range list {
			for step := range scheduleSteps {
				longer = append(longer, append(slices.Clone(s), step))
			}
		}
		list = longer
		for _, s := range list {
			tried++
			if err := schedule(t, w, counters, s); err != nil {
				names := ""
				for _, step := range s {
					names += stepNames[step] + ", "
				}
				return tried, fmt.Errorf("%s: %w", names, err)
			}
		}
	}
	return tried, nil
}

func schedule(t *testing.T, w *world, counters bool, steps []int) error {
	s := newSim(w, rand.New(rand.NewPCG(1, 1)))
	s.calm, s.counters = true, counters
	o := s.owners[0]
	o.parts = []int32{0}
	opt := Options{FlushEvery: 500 * time.Millisecond, Parallel: 1, SweepEvery: -1, StandBy: time.Millisecond, Now: func() time.Time { return s.now },
		Sleep: func(_ context.Context, d time.Duration) { s.now = s.now.Add(d) }, Token: s.newToken}
	begin := func() *Worker {
		worker, err := New(w.view, w.records, &prompt{reader{s, o}}, port{s, o}, port{s, o}, opt)
		if err != nil {
			t.Fatal(err)
		}
		o.pos = map[int32]int64{}
		return worker
	}
	step := func(worker *Worker) {
		s.now = s.now.Add(time.Second)
		if _, err := worker.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.grow(0, 2)
	for first := begin(); s.store.cells[0][0].mark.Next < 2; {
		step(first)
	}
	good := s.spoil(t)
	s.store.past[0] = nil // what came before is safe
	s.store.keep(0)
	worker := begin()
	for _, what := range steps {
		switch what {
		case stepWorker:
			s.grow(0, 1)
			step(worker)
		case failOver:
			past := s.store.past[0]
			s.store.cells[0] = slices.Clone(past[max(0, len(past)-2)])
			s.store.past[0] = past[:max(1, len(past)-1)]
		default:
			entity := good[what-repairA]
			ref, err := s.at(0, s.store.cells[0][0].mark.Next)
			if err != nil {
				t.Fatal(err)
			}
			s.repair(0, 0, entity, ref.shards[0].states[entity])
		}
		if s.failure != nil {
			return s.failure
		}
	}
	return nil
}

// spoil makes the sums of both entities wrong, and returns the entities.
func (s *sim) spoil(t *testing.T) []string {
	c := s.store.cells[0][0]
	n := &cell{mark: c.mark, states: map[string]*refState{}, bad: map[string]bool{}}
	for offset := range int64(2) {
		ref, err := s.fold(0, c.mark.Next, offset)
		if err != nil {
			t.Fatal(err)
		}
		for entity, st := range ref.shards[0].states {
			if !st.same(c.states[entity]) {
				n.states[entity], n.bad[entity] = st, true
			}
		}
	}
	if s.store.cells[0][0] = n; len(n.bad) != 2 {
		t.Fatalf("%d states were spoilt, not 2", len(n.bad))
	}
	return slices.Sorted(maps.Keys(n.bad))
}

// prompt delivers whatever there is at once.
type prompt struct{ reader }

func (r *prompt) Poll(context.Context, time.Duration) (out []Batch, err error) {
	pos, ok := r.o.pos[0]
	if end := r.s.visible[0]; ok && pos < end {
		b := Batch{Partition: 0, Next: end, Stable: end}
		for _, e := range r.s.logs[0][pos:end] {
			b.Records = append(b.Records, e.record(0))
		}
		r.o.pos[0] = end
		out = append(out, b)
	}
	return out, nil
}
