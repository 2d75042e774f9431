package stream

import (
	"fmt"
	"math"
	"slices"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// The fold that the store is held against runs the engine's own code. The oracle
// shares none with it: what is closed at a position, and what every record was
// counted as up to there, must be what brute force makes of the whole log.

// judge is the oracle's view of the logs.
type judge struct {
	*world
	config  oracle.Config
	records [][]oracle.Record
	snaps   [][]oracle.Snapshot
}

func newJudge(w *world) *judge {
	j := &judge{world: w, config: oracle.Config{Lateness: int64(schemas.Hour), MaxFuture: int64(w.view.Source.MaxFuture), MaxOpen: w.view.Spec.MaxOpen, History: w.view.Source.History}}
	switch w.shape.identity {
	case "id":
		j.config.Identity = oracle.ByID
	case "version":
		j.config.Identity = oracle.ByVersion
	}
	short := oracle.Window{Length: 30 * minute, Hop: 5 * minute}
	day := oracle.Window{Length: 24 * 60 * minute, Hop: 60 * minute}
	feature := func(agg oracle.Agg, input int, w oracle.Window, k oracle.Kind) {
		j.config.Features = append(j.config.Features, oracle.Feature{Agg: agg, Input: input, Filter: -1, Window: w, Kind: k})
	}
	feature("count", -1, short, oracle.Int)
	feature("count", -1, day, oracle.Int)
	feature("sum", 0, short, oracle.Double)
	feature("sum", 0, day, oracle.Double)
	feature("last", 0, day, oracle.Double)
	if w.shape.lifetime {
		feature("sum", 0, oracle.Window{Kind: oracle.Lifetime}, oracle.Double)
	}
	for p, log := range w.logs {
		rs := make([]oracle.Record, len(log))
		for i := range log {
			rs[i] = log[i].judged(int32(p), &w.shape)
		}
		_, snaps := oracle.Verdicts(&j.config, rs, oracle.Clocks(&j.config, rs))
		j.records, j.snaps = append(j.records, rs), append(j.snaps, snaps)
	}
	return j
}

// judged is the record as the oracle takes it.
func (e *event) judged(partition int32, s *shape) oracle.Record {
	r := oracle.Record{Partition: partition, Offset: e.offset, Timestamp: e.stamp*1000 + 999, EventTime: e.et, Entity: e.ent, Pass: e.ok, Inputs: []oracle.Val{{}}}
	switch e.kind {
	case 't':
		r.Kind = oracle.Tick
	case 'b':
		r.Kind = oracle.Bad
	}
	if e.amt != 0 {
		r.Inputs[0] = oracle.Val{Kind: oracle.Double, F: e.amt}
	}
	if s.identity != "" {
		r.ID, r.HasID = e.id, e.id != ""
	}
	if s.identity == "version" {
		r.Version, r.HasVer = e.ver, true
	}
	return r
}

// before counts the records of a partition below an offset.
func (j *judge) before(p int, next int64) int {
	n, _ := slices.BinarySearchFunc(j.records[p], next, func(r oracle.Record, o int64) int { return int(r.Offset - o) })
	return n
}

// of returns the accepted events of an entity after the first n records.
func (j *judge) of(p, n int, entity string) (rs []*oracle.Record) {
	for _, r := range j.snaps[p][n].Accepted {
		if r.Entity == entity {
			rs = append(rs, r)
		}
	}
	return rs
}

// check holds the fold of a partition below next against the oracle.
func (j *judge) check(p int, next int64, ref *reference) error {
	var sum transforms.Ledger
	for i := range ref.shards {
		sum.Merge(&ref.shards[i].ledger)
	}
	snap := &j.snaps[p][j.before(p, next)]
	want := transforms.Ledger{Conflicts: snap.Conflicts, SealedEarly: snap.SealedEarly}
	for o, n := range snap.Ledger {
		*want.Count(transforms.Outcome(o)) = n
	}
	if sum != want {
		return fmt.Errorf("V8: partition %d below %d: %v, the oracle counts %v", p, next, &sum, &want)
	}
	if ref.clock == schemas.Never {
		return nil
	}
	boundary := ref.clock.SubSat(schemas.Hour)
	for i := range ref.shards {
		for entity, st := range ref.shards[i].states {
			if err := j.closed(p, entity, st, boundary); err != nil {
				return fmt.Errorf("partition %d below %d, entity %x: %w", p, next, entity, err)
			}
		}
	}
	return nil
}

// closed holds what is closed of a state against the accepted events of the whole
// log: how many there are in each tile, and the values at the boundaries (V4, V11).
func (j *judge) closed(p int, entity string, st *refState, boundary schemas.Micros) error {
	s, err := j.parse(st)
	if err != nil {
		return err
	}
	hops := j.engine.Hops()
	clock := s.Clock()
	j.engine.Trim(s, boundary.Floor(hops[0]))
	accepted := j.of(p, len(j.records[p]), entityName(entity))
	have := map[[2]schemas.Micros]int64{}
	for _, t := range j.engine.Tiles(s, boundary.Floor(hops[0])) {
		have[[2]schemas.Micros{t.Hop, t.Start}] = t.Events
	}
	for _, hop := range hops {
		b := boundary.Floor(hop)
		gone := max(clock, boundary.Floor(hops[0]).AddSat(schemas.Hour)).SubSat(j.engine.Retention(hop))
		for _, r := range accepted {
			start := schemas.Micros(r.EventTime).Floor(hop)
			if start+hop <= b && start+hop > gone {
				have[[2]schemas.Micros{hop, start}]--
			}
		}
	}
	for k, n := range have {
		if n != 0 && k[1]+k[0] <= boundary.Floor(k[0]) {
			return fmt.Errorf("V11: the closed tile at %v, hop %v, holds %d events more than the oracle's", k[1], k[0], n)
		}
	}
	for li, hop := range hops {
		if err := j.values(s, li, boundary.Floor(hop), accepted); err != nil {
			return err
		}
	}
	return nil
}

// values compares the features of a level at its boundary.
func (j *judge) values(s *transforms.State, li int, at schemas.Micros, accepted []*oracle.Record) error {
	on := func(i int) bool { return j.engine.Level(i) == li }
	got := j.engine.BoundaryValue(nil, at, s)
	for i, want := range oracle.ValuesOf(&j.config, accepted, int64(at), on) {
		if on(i) && !j.alike(i, got[i], want) {
			return fmt.Errorf("V4: feature %d at the closed boundary %v is %v, the oracle's %v", i, at, got[i], want)
		}
	}
	return nil
}

// alike compares two results; absent is a matter of all levels.
func (j *judge) alike(i int, got transforms.Result, want oracle.Result) bool {
	if want.Status == oracle.Absent {
		want = oracle.Empty(j.config.Features[i])
	}
	if got.Status == transforms.Absent {
		return want == oracle.Empty(j.config.Features[i])
	}
	switch want.Val.Kind {
	case oracle.Null:
		return got.Value.IsNull()
	case oracle.Int:
		return got.Value.Kind() == schemas.Int && got.Value.Int() == want.Val.I
	}
	return got.Value.Kind() == schemas.Double && math.Float64bits(got.Value.Double()) == math.Float64bits(want.Val.F)
}

// now holds what a reader gets from all partitions against the oracle: pending
// events count when they lie before t (V4).
func (j *judge) now(entity string, parts map[int]*refState) error {
	var states []*transforms.State
	var accepted []*oracle.Record
	t := schemas.Never
	for p, st := range parts {
		s, err := j.parse(st)
		if err != nil {
			return err
		}
		states = append(states, s)
		accepted = append(accepted, j.of(p, len(j.records[p]), entityName(entity))...)
		t = max(t, s.Clock()+1)
	}
	got, err := j.engine.Value(nil, t, states...)
	if err != nil {
		return err
	}
	for i, want := range oracle.Values(&j.config, accepted, int64(t)) {
		if !j.alike(i, got[i], want) {
			return fmt.Errorf("V4: entity %x, feature %d as of %v is %v, the oracle's %v", entity, i, t, got[i], want)
		}
	}
	return nil
}

func (j *judge) parse(st *refState) (*transforms.State, error) {
	return j.engine.Parse(st.stored())
}

// entityName reads the name from an entity's canonical bytes: a tag, a length of
// one byte, the text.
func entityName(entity string) string { return entity[2:] }
