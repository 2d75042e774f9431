package integration

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// TestStart: a fold that starts at a position with a recorded clock, without
// state, has the values of the whole fold for every window that begins after
// clock(start) + lateness + 2·max_future, where copies keep their event time or,
// with an id alone and no bound on ids, in any case (K8).
func TestStart(t *testing.T) {
	asked := 0
	eachSeed(t, func(seed uint64) error {
		s := newScenario(t, seed, func(s *scenario) {
			s.parts, s.History, s.LoadLateness, s.still = 1, nil, 0, true
			s.Lateness, s.MaxFuture = pick[int64](s.r, 5, 8)*startUnit, 2*startUnit
			s.MaxOpen = pick(s.r, 1, 2, 1<<16)
			s.Identity = pick(s.r, oracle.ByNothing, oracle.ByID, oracle.ByID, oracle.ByVersion)
		})
		s.generateStart()
		x := newTrial(s)
		for m := 1; m < len(s.order)-1; m++ {
			n, err := x.start(m)
			if asked += n; err != nil {
				return err
			}
		}
		return nil
	})
	if asked == 0 {
		t.Error("no window lay beyond the start")
	}
}

// startUnit is the hop: everything happens on the grid, and so on boundaries.
const startUnit = 5 * minute

// generateStart draws few ids of one entity and many copies, densely.
func (s *scenario) generateStart() {
	r := s.r
	s.still = s.Identity != oracle.ByID || s.MaxOpen < 100
	at := pick(r, starts...).UnixMicro() / startUnit
	L, F := s.Lateness/startUnit, s.MaxFuture/startUnit
	own := map[int]int64{} // the event time that all copies of an id have
	log := make([]oracle.Record, 6+r.IntN(10))
	for i := range log {
		at += pick(r, 0, 1, 2, F, L-1, L, L+F, L+F)
		id := r.IntN(2)
		et := (at + pick(r, F, F, F-1, 0, 0, -1, -2, -L, -L+1, F+1)) * startUnit
		name := fmt.Sprint(id)
		if s.still {
			if _, ok := own[id]; !ok {
				own[id] = et
			}
			et = own[id]
			name = fmt.Sprint(id, " ", et)
			if r.IntN(5) == 0 {
				delete(own, id)
			}
		}
		log[i] = oracle.Record{Offset: int64(i), Timestamp: (at - pick[int64](r, 0, 0, 0, 1, 9)) * startUnit, EventTime: et,
			Entity: "a", ID: name, HasID: true, HasVer: true, Pass: r.IntN(10) > 0, Filters: []bool{true, r.IntN(2) > 0}}
		if s.Identity == oracle.ByVersion {
			log[i].Version = int64(r.IntN(3))
		}
		for _, k := range inputKinds {
			log[i].Inputs = append(log[i].Inputs, s.val(k))
		}
		s.order = append(s.order, 0)
	}
	s.logs = [][]oracle.Record{log}
}

// start folds the log from offset m on and returns how many values it compared.
func (x *trial) start(m int) (asked int, err error) {
	f := newFold(x.scenario)
	f.at[0] = m
	c0 := x.clocks[0][m-1]
	f.clocks[0] = schemas.ClockAt(schemas.Micros(c0), 0, schemas.Micros(x.MaxFuture))
	valid := c0 + x.Lateness + 2*x.MaxFuture
	for f.at[0] < len(x.logs[0]) {
		rec := &x.logs[0][f.at[0]]
		f.step(0)
		if rec.Entity == "" || rec.Kind != oracle.Data {
			continue
		}
		states := f.of(rec.Entity)
		t := x.clocks[0][rec.Offset] + 1 + pick(x.r, 0, minute, 5*minute, 20*minute)
		if x.r.IntN(2) == 0 { // the first windows that begin after the start
			t = max(t, ceil(valid+1, 5*minute)+pick(x.r, x.Features...).Window.Length)
		}
		got, err := x.view.ValueFrom(nil, schemas.Micros(t), schemas.Micros(valid), states...)
		if err != nil {
			return asked, err
		}
		accepted := x.accepted(rec.Entity, f.at)
		want := oracle.Values(&x.Config, accepted, t)
		n, err := x.marked(got, want, accepted, t, valid)
		if asked += n; err != nil {
			return asked, err
		}
		if diff := compare(got, want); diff != "" {
			return asked, fmt.Errorf("K8: start at %d, clock %d, valid from %d, after offset %d, as of %d: %s", m, c0, valid, rec.Offset, t, diff)
		}
	}
	return asked, nil
}

// marked sees that INCOMPLETE is what must be and no more, and clears it on both
// sides: the features whose windows reach back before the start, and all of them while
// no event lies in another window, as then they may or may not be ABSENT (V9).
func (x *trial) marked(got []transforms.Result, want []oracle.Result, accepted []*oracle.Record, t, valid int64) (asked int, err error) {
	var reach []bool
	shows := false
	for _, f := range x.Features {
		lo, hi := f.Window.Span(t)
		reach = append(reach, lo <= valid)
		shows = shows || lo > valid && slices.ContainsFunc(accepted, func(r *oracle.Record) bool { return lo <= r.EventTime && r.EventTime < hi })
	}
	for i := range x.Features {
		is := got[i].Status == transforms.Incomplete
		if must := reach[i] || !shows && slices.Contains(reach, true); is != must {
			return asked, fmt.Errorf("K8: feature %d, valid from %d, is %v, marked must be %v", i, valid, got[i], must)
		}
		if is {
			want[i], got[i] = oracle.Result{}, transforms.Result{}
		} else {
			asked++
		}
	}
	return asked, nil
}

// TestDistinct: hashes are XXH64 with seed 0, and the estimate of count_distinct
// is the oracle's, also when merged over partitions and tiles (V2).
func TestDistinct(t *testing.T) {
	for text, want := range map[string]uint64{"": 0xef46db3751d8e999, "abc": 0x44bc2cf5ad770999} { // published vectors
		if oracle.XXH64([]byte(text)) != want {
			t.Fatalf("the oracle's XXH64 of %q is wrong", text)
		}
	}
	s := newScenario(t, 3, nil)
	for n := range 200 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(s.r.Uint32())
		}
		if transforms.HashBytes(b) != oracle.XXH64(b) {
			t.Fatalf("V2: HashBytes of %x", b)
		}
	}
	for _, n := range []int{1, 1023, 1024, 1025, 3000, 20000} {
		for _, input := range []int{0, 1, 2, 3, 4} {
			if err := distinctOf(t, n, input); err != nil {
				t.Errorf("V2: %d different values of %v: %v", n, inputKinds[input], err)
			}
		}
	}
}

// distinctOf counts n values, each seen twice, in three partitions.
func distinctOf(tb testing.TB, n, input int) error {
	s := newScenario(tb, 1, func(s *scenario) {
		*s = scenario{r: s.r, input: map[int]int{}, filter: map[int]int{}, parts: 3, still: true}
		s.Lateness, s.MaxFuture, s.MaxOpen = day, minute, 1
	})
	s.Features, s.spec.Features, s.spec.Inputs, s.spec.Filters = nil, nil, nil, nil
	clear(s.input)
	clear(s.filter)
	f := oracle.Feature{Agg: "count_distinct", Input: input, Filter: -1, Kind: oracle.Int,
		Window: oracle.Window{Kind: oracle.Sliding, Length: day, Hop: hour}}
	s.add(tb, f, transforms.CountDistinct, schemas.Int)
	var err error
	if s.view, err = transforms.NewView(s.spec); err != nil {
		return err
	}
	s.logs = make([][]oracle.Record, 3)
	for i := range 2 * n {
		p := i * 7 % 3
		v := oracle.Val{Kind: oracle.Kind(inputKinds[input])}
		switch k := i % n; inputKinds[input] {
		case schemas.Double:
			v.F = float64(k) / 7
		case schemas.String, schemas.Bytes:
			v.S = fmt.Sprint("value ", k)
		default:
			v.I = int64(k) * 1_000_003
		}
		in := make([]oracle.Val, len(inputKinds))
		in[input] = v
		at := int64(i) * 12 * hour / int64(2*n)
		s.logs[p] = append(s.logs[p], oracle.Record{Partition: int32(p), Offset: int64(len(s.logs[p])), Timestamp: at,
			EventTime: at, Entity: "a", Pass: true, Filters: []bool{true, true}, Inputs: in})
	}
	e := newFold(s)
	var all []*oracle.Record
	for p := range s.logs {
		for i := range s.logs[p] {
			e.step(p)
			all = append(all, &s.logs[p][i])
		}
	}
	states := e.of("a")
	for i, st := range states {
		if states[i], err = clone(s.view, st); err != nil {
			return err
		}
	}
	slices.Reverse(states)
	for _, t := range []int64{12 * hour, 30*hour + 1} {
		got, err := s.view.Value(nil, schemas.Micros(t), states...)
		if err != nil {
			return err
		}
		if diff := compare(got, oracle.Values(&s.Config, all, t)); diff != "" {
			return fmt.Errorf("as of %d: %s", t, diff)
		}
	}
	return nil
}
