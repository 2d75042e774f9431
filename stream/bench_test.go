package stream

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

// BenchmarkWorker folds records of 2,000 entities in one partition into a store
// that keeps everything and costs nothing: what the worker itself takes.
func BenchmarkWorker(b *testing.B) {
	for _, identity := range []string{"", "id", "version"} {
		for _, guarded := range []bool{false, true} {
			benchmarkWorker(b, identity, guarded)
		}
	}
}

func benchmarkWorker(b *testing.B, identity string, guarded bool) {
	b.Run(fmt.Sprintf("identity=%s/guarded=%v", identity, guarded), func(b *testing.B) {
		w := &world{shape: shape{identity: identity, maxOpen: 65536, shards: 16}}
		var err error
		if w.view, err = w.shape.definition(); err == nil {
			err = w.compile()
		}
		if err != nil {
			b.Fatal(err)
		}
		src := &endless{total: int64(b.N), r: make([]schemas.Record, 5000)}
		sink := &free{marks: make([]Mark, 16), states: map[string]marker.Stored{}}
		o := Options{UntilEnd: true, SweepEvery: -1}
		if guarded {
			o.Guard = usual(w)
		}
		worker, err := New(w.view, w.records, src, sink, sink, o)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.ResetTimer()
		if err := worker.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(sink.bytes)/float64(b.N), "written-B/op")
	})
}

// watched is a guard that never holds.
type watched struct{ *gate.Guard }

type watchedPart struct {
	*gate.Watch
	g *gate.Guard
}

func (g watched) Watch(p int32) Watch { return watchedPart{g.Guard.Watch(p), g.Guard} }

func (w watchedPart) Hold() string {
	w.g.Judge(w.Watch)
	return ""
}

// usual returns a guard with a baseline of the days before the benchmark's log.
func usual(w *world) Guard {
	g := gate.NewGuard(w.engine, schemas.Day, gate.Options{})
	rec := &gate.Record{}
	for day := range gate.Day(28) {
		p := gate.Profile{Day: 20480 + day, Final: true, Closed: true, Rows: 2000, Ledger: transforms.Ledger{Applied: 4_000_000 + int64(day)}}
		for _, f := range w.engine.Spec().Features {
			p.Columns = append(p.Columns, gate.Column{Name: f.Name, Kind: f.Type(), Status: map[string]int64{"PRESENT": 2000}, Values: &gate.Values{Min: 0, Max: 1e6, Mean: 1, Distinct: 100}})
		}
		for _, c := range w.engine.Cells() {
			in := gate.Inputs{Hop: c.Hop, Taken: 4_000_000, Of: 4_000_000}
			for _, f := range c.Features {
				in.Columns = append(in.Columns, w.engine.Spec().Features[f].Name)
			}
			p.Inputs = append(p.Inputs, in)
		}
		rec.Profiles = append(rec.Profiles, p)
	}
	if g.Accept(rec, map[int32]int64{0: 1}) < 28 {
		panic("no baseline")
	}
	return watched{g}
}

// endless is a partition of total records.
type endless struct {
	total, pos int64
	r          []schemas.Record
}

func (e *endless) Cut(context.Context) (schemas.TopicCut, error) {
	return schemas.TopicCut{TopicID: "t", Partitions: map[int32]schemas.PartitionCut{0: {End: e.total}}}, nil
}
func (e *endless) Assign(_ context.Context, at map[int32]int64) error { e.pos = at[0]; return nil }
func (e *endless) Remove(...int32)                                    {}

func (e *endless) Poll(context.Context, time.Duration) ([]Batch, error) {
	n := min(int64(len(e.r)), e.total-e.pos)
	for i := range n {
		o := e.pos + i
		ev := event{kind: 'd', offset: o, stamp: 1_772_000_000_000 + o*20, ent: fmt.Sprint("e", o*7919%2000), id: fmt.Sprint(o), ver: 1, amt: 1.5, ok: true}
		ev.et = ev.stamp * 1000
		e.r[i] = ev.record(0)
	}
	e.pos += n
	return []Batch{{Records: e.r[:n], Next: e.pos, Stable: e.total}}, nil
}

// free is a store that costs nothing.
type free struct {
	marks  []Mark
	states map[string]marker.Stored
	bytes  int
}

func (f *free) Partitions(context.Context) ([]int32, error) { return nil, nil }
func (f *free) Marks(context.Context, int32) ([]Mark, error) {
	return append([]Mark(nil), f.marks...), nil
}
func (f *free) Put(context.Context, []Quarantined) error   { return nil }
func (f *free) Holds(context.Context, int32) (bool, error) { return true, nil }

func (f *free) Walk(_ context.Context, shard int, _ int32, _ string) (marker.Page, error) {
	return marker.Page{Mark: f.marks[shard]}, nil
}

func (f *free) Load(_ context.Context, _ int32, keys []marker.Key) ([]marker.Stored, map[int]Mark, error) {
	out, marks := make([]marker.Stored, len(keys)), map[int]Mark{}
	for i, k := range keys {
		out[i], marks[k.Shard] = f.states[k.Entity], f.marks[k.Shard]
	}
	return out, marks, nil
}

func (f *free) Commit(_ context.Context, shard int, _ int32, _, now Mark, ws []Write) error {
	f.marks[shard] = now
	for i := range ws {
		w := &ws[i]
		f.bytes += w.Size()
		st := marker.Stored{Served: bytes.Clone(w.Served), Old: f.states[w.Entity].Old}
		if w.Old != nil {
			st.Old = bytes.Clone(w.Old)
		}
		for _, o := range f.states[w.Entity].Open {
			if !hasHour(w.Open, o.Hour) {
				st.Open = append(st.Open, o)
			}
		}
		for _, o := range w.Open {
			if len(o.Data) > 0 {
				st.Open = append(st.Open, o)
			}
		}
		f.states[w.Entity] = st
	}
	return nil
}

func hasHour(open []transforms.Open, hour int64) bool {
	for _, o := range open {
		if o.Hour == hour {
			return true
		}
	}
	return false
}
