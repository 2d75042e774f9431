package reconcile

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

var seeds = flag.Int("seeds", 300, "how many random histories each property looks at")

func eachSeed(t *testing.T, fn func(t *testing.T, seed uint64)) {
	t.Helper()
	for seed := range uint64(*seeds) {
		fn(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// compareAt builds both sides of a world and compares them.
func (w *world) sides(moving bool) (*fakeOnline, *fakeOffline) {
	n := len(w.order)
	low := w.positions(n/2 + w.r.IntN(n/2))
	cut := w.positions(n/3 + w.r.IntN(n-n/3+1))
	return w.stream(low, moving), w.replay(cut)
}

func (w *world) compare(on Online, off Offline, rep Replayer) *Report {
	w.Helper()
	report, err := Run(context.Background(), w.view, on, off, rep, Options{})
	if err != nil {
		w.Fatal(err)
	}
	return report
}

func (rep *Report) dump(t testing.TB) {
	t.Helper()
	b, err := json.MarshalIndent(rep, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	t.Errorf("%s", b)
}

// R1, B5, V11: whatever the positions of the two sides, a fold does not differ
// from itself, also while the worker moves on.
func TestNoFalseDifference(t *testing.T) { noFalseDifference(t, nil) }

// K7: nor while a load of old events that are not sorted is under way on either
// side or on both, and where the wall clock closes what is idle.
func TestNoFalseDifferenceOfLoads(t *testing.T) {
	noFalseDifference(t, func(w *world) {
		if w.r.IntN(3) > 0 {
			w.extra = fmt.Sprintf("    history: {0: %d, 1: %d}\n    history_lateness: %s\n", w.r.IntN(100), w.r.IntN(60), pick(w.r, "1d", "36h", "8d"))
		}
		if w.r.IntN(2) > 0 {
			w.idle = true
			w.extra += "    close_idle: " + pick(w.r, "1s", "10m", "1d") + "\n"
		}
	})
}

// K7, R3: with CreateTime a record may come after the cut that is older than the
// wall clock which closed its window: then the online store is not corrupt, the
// record was late by close_idle.
func TestOldRecordInIdleWindow(t *testing.T) {
	late := int64(0)
	eachSeed(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, func(w *world) {
			w.idle, w.old, w.extra = true, true, "    close_idle: 1s\n"
		})
		on, off := w.sides(seed%3 == 0)
		rep := w.compare(on, off, w)
		if late += rep.Causes[Late]; rep.Differences != rep.Causes[Late] {
			t.Logf("%s", w.view.Canonical)
			rep.dump(t)
		}
	})
	if late < int64(*seeds)/10 {
		t.Errorf("%d differences: the property looks at too little", late)
	}
}

func noFalseDifference(t *testing.T, tune func(*world)) {
	var tiles, values, ledgers, open, out, equal int64
	eachSeed(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, tune)
		on, off := w.sides(seed%3 == 0)
		rep := w.compare(on, off, nil)
		if rep.Differences > 0 {
			t.Logf("%s", w.view.Canonical)
			rep.dump(t)
		}
		if rep.Alert || rep.Verdict == Differs || rep.Verdict == NothingCompared && len(rep.Why) == 0 {
			t.Errorf("verdict %s, alert %v, why %v", rep.Verdict, rep.Alert, rep.Why)
		}
		if rep.Tiles+rep.OutOfReach == 0 && rep.Values > 0 && !w.engine.HasLifetime() {
			t.Errorf("R1: %d values compared of entities that are ABSENT on both sides", rep.Values)
		}
		if rep.Verdict == Equal {
			equal++
		}
		tiles, values, ledgers = tiles+rep.Tiles, values+rep.Values, ledgers+rep.Ledgers.Compared
		open, out = open+rep.OpenTiles, out+rep.OutOfReach
	})
	t.Logf("%d of %d equal: %d tiles, %d values, %d ledgers; %d open, %d out of reach", equal, *seeds, tiles, values, ledgers, open, out)
	if equal*5 < 2*int64(*seeds) || min(tiles, values, ledgers, open, out) < int64(*seeds)/10 {
		t.Error("the property looks at too little")
	}
}

// K7: only a window that close_idle alone had closed can lack a record that came
// after the cut: one that ends where the log clock minus lateness stands is closed by
// the log.
func TestBelated(t *testing.T) {
	w := newWorld(t, 1, nil)
	on, _ := w.sides(false)
	for at, states := range on.states {
		for _, stored := range states {
			s, err := w.engine.Parse(stored)
			if err != nil {
				t.Fatal(err)
			}
			last, clock := s.LastOffset(), s.Clock()
			for end, after := range map[int64]bool{last: true, last + 1: false} { // the record lies after the cut
				f := frame{engine: w.engine, cut: schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{at.partition: {End: end, Clock: &clock}}}}
				closed := clock.SubSat(w.engine.Spec().LatenessAt(at.partition, end))
				p := &part{at: at, on: s}
				if f.belated(p, closed) || f.belated(p, closed+1) != after {
					t.Errorf("the cut ends at %d, the last offset is %d: belated at the closed instant %v, after it %v", end, last, f.belated(p, closed), f.belated(p, closed+1))
				}
			}
			return
		}
	}
	t.Fatal("no state")
}
