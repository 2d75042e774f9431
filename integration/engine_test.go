package integration

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// stateKey names a state.
type stateKey struct {
	entity    string
	partition int
}

// fold is the engine's side: one reader's states and counters.
type fold struct {
	s      *scenario
	states map[stateKey]*transforms.State
	at     []int // by partition: records folded
	clocks []schemas.Clock
	ledger []transforms.Ledger
	rows   bool // records pass through the rows that replay sorts
	fresh  func(partition int32) *transforms.State
	in     *transforms.Input
	ev     schemas.Event
}

func newFold(s *scenario) *fold {
	f := &fold{s: s, states: map[stateKey]*transforms.State{}, at: make([]int, s.parts), fresh: s.view.NewState,
		ledger: make([]transforms.Ledger, s.parts), in: s.view.NewInput()}
	f.ev.Fields = make([]schemas.Value, len(sourceFields))
	for p := range s.parts {
		f.clocks = append(f.clocks, schemas.Clock{HistoryEnd: s.History[int32(p)], MaxFuture: schemas.Micros(s.MaxFuture)})
	}
	return f
}

// step folds the next record of partition p.
func (f *fold) step(p int) transforms.Verdict {
	rec := &f.s.logs[p][f.at[p]]
	f.at[p]++
	if rec.Kind == oracle.Tick {
		f.clocks[p].Tick(&schemas.Record{Partition: rec.Partition, Offset: rec.Offset, Timestamp: schemas.Micros(rec.Timestamp), Tick: true})
		return transforms.Verdict{}
	}
	f.event(rec)
	f.clocks[p].Stamp(&f.ev)
	f.s.view.Prepare(f.in, &f.ev)
	var st *transforms.State
	if rec.Kind == oracle.Data && rec.Entity != "" {
		k := stateKey{rec.Entity, p}
		if st = f.states[k]; st == nil {
			st = f.fresh(int32(p))
			f.states[k] = st
		}
	}
	in := f.in
	if f.rows && in.Fault == nil {
		in = f.s.view.NewInput()
		if !f.s.view.ParseInput(f.in.AppendInput(nil), in) {
			panic("ParseInput refuses what AppendInput wrote")
		}
	}
	v := f.s.view.Step(st, in)
	f.ledger[p].Add(&v)
	return v
}

// event fills f.ev with the record's fields.
func (f *fold) event(rec *oracle.Record) {
	f.ev = schemas.Event{Partition: rec.Partition, Offset: rec.Offset, Timestamp: schemas.Micros(rec.Timestamp),
		EventTime: schemas.Micros(rec.EventTime), Fields: f.ev.Fields}
	x := f.ev.Fields
	clear(x)
	if rec.Kind != oracle.Bad && f.s.spec.Table {
		f.ev.Key = []schemas.Value{{}}
		if rec.Entity != "" {
			f.ev.Key[0] = schemas.StringValue(rec.Entity)
		}
		if f.ev.Tombstone = rec.Gone; rec.Gone {
			f.ev.EventTime = f.ev.Timestamp
			return
		}
	}
	if rec.Kind == oracle.Bad {
		f.ev.EventTime = schemas.Micros(rec.Timestamp) // meaningless by contract
		f.ev.Fault = &schemas.Fault{Stage: schemas.StageDecode, Reason: "bad"}
		return
	}
	if rec.Entity != "" {
		x[fEntity] = schemas.StringValue(rec.Entity)
	}
	if rec.HasID {
		x[fID] = schemas.StringValue(rec.ID)
	}
	if rec.HasVer {
		x[fVersion] = schemas.IntValue(rec.Version)
	}
	x[fRule] = schemas.BoolValue(true)
	x[fPass] = orNull(rec.Pass, rec.Offset)
	x[fFilter0] = orNull(rec.Filters[0], rec.Offset)
	x[fFilter1] = orNull(rec.Filters[1], rec.Offset+1)
	for i, v := range rec.Inputs {
		x[fInput0+i] = toEngine(v)
	}
	if rec.Invalid {
		f.breakRecord(rec)
	}
}

// orNull writes what is not true as false or, at even offsets, as null.
func orNull(b bool, offset int64) schemas.Value {
	if !b && offset%2 == 0 {
		return schemas.Value{}
	}
	return schemas.BoolValue(b)
}

// breakRecord makes the record invalid: a rule that is false or null, or a
// number in use that is not finite.
func (f *fold) breakRecord(rec *oracle.Record) {
	x := f.ev.Fields
	if _, used := f.s.input[1]; used && rec.Offset%3 == 0 {
		x[fInput0+1] = schemas.DoubleValue(math.Inf(1))
		return
	}
	x[fRule] = schemas.Value{}
	if rec.Offset%2 == 0 {
		x[fRule] = schemas.BoolValue(false)
	}
}

// keys returns the states' names in one order, so that a seed says all.
func (f *fold) keys() []stateKey { return slices.SortedFunc(maps.Keys(f.states), lessKey) }

// of returns the entity's states, of all partitions.
func (f *fold) of(entity string) (ss []*transforms.State) {
	for p := range f.s.parts {
		if st := f.states[stateKey{entity, p}]; st != nil {
			ss = append(ss, st)
		}
	}
	return ss
}

// encoded is a state's bytes, comparable.
func encoded(v *transforms.View, s *transforms.State) string {
	p := v.Encode(s)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%x|%x", p.Served, p.Old)
	for _, o := range p.Open {
		fmt.Fprintf(&b, " %d:%x", o.Hour, o.Data)
	}
	return b.String()
}

// clone copies a state through its encoding.
func clone(v *transforms.View, s *transforms.State) (*transforms.State, error) {
	return v.Parse(v.Encode(s))
}

// compare tells how the engine's results differ from the oracle's; "" = not.
func compare(got []transforms.Result, want []oracle.Result) string {
	for i, w := range want {
		g := got[i]
		status := ""
		if g.Status != 0 {
			status = g.Status.String()
		}
		if !g.Value.Equal(toEngine(w.Val)) || status != string(w.Status) {
			return fmt.Sprintf("feature %d is %v %s, the oracle has %+v %s; all: %v", i, g.Value, status, w.Val, w.Status, want)
		}
	}
	return ""
}
