package integration

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

// guarded is a worker over messages, guarded by what a replay each day would have
// accepted by then.
type guarded struct {
	*testing.T
	guard    *gate.Guard
	accepted []gate.Profile // as far as they are, in the end
	read     map[int32]int64
	lateness schemas.Micros
	upTo     int // of accepted: what the guard has been told
	clock    schemas.Micros
	judged   int
	found    schemas.Micros // the clock at the first breach
	breaches []gate.Breach
	hold     bool
}

type guardedWatch struct {
	*guarded
	w *gate.Watch
}

// Watch implements stream.Guard.
func (g *guarded) Watch(p int32) stream.Watch { return &guardedWatch{g, g.guard.Watch(p)} }

// Leave implements stream.Guard.
func (g *guarded) Leave(p int32) { g.guard.Leave(p) }

// Saw implements stream.Watch.
func (w *guardedWatch) Saw(in *transforms.Input, v *transforms.Verdict) {
	w.w.Saw(in, v)
	w.clock = max(w.clock, in.Clock)
}

// Reached implements stream.Watch.
func (w *guardedWatch) Reached(clock schemas.Micros) { w.w.Reached(clock) }

// Show implements stream.Watch.
func (w *guardedWatch) Show(st *transforms.State) { w.w.Show(st) }

// Hold implements stream.Watch.
func (w *guardedWatch) Hold() string {
	w.publish()
	standing, fresh := w.guard.Judge(w.w)
	w.judged++
	if fresh > 0 && len(w.breaches) == 0 {
		w.found = w.clock
	}
	w.breaches = append(w.breaches, standing[:fresh]...)
	if w.hold && len(standing) > 0 {
		return standing[0].String()
	}
	return ""
}

// publish accepts the days that are closed by now.
func (g *guarded) publish() {
	closed := gate.Day(g.clock.SubSat(g.lateness).Days())
	n := g.upTo
	for n < len(g.accepted) && g.accepted[n].Day < closed {
		n++
	}
	if n == g.upTo {
		return
	}
	g.upTo = n
	g.guard.Accept(&gate.Record{Profiles: gate.Keep(nil, g.accepted[:n], gate.DefaultOptions())}, g.read)
}

// timedReader hands records out as they were appended, over all partitions: an hour of
// them with each poll.
type timedReader struct {
	memoryReader
	now schemas.Micros
}

// Poll implements stream.Source.
func (r *timedReader) Poll(context.Context, time.Duration) (out []stream.Batch, err error) {
	r.now += schemas.Hour
	for _, p := range slices.Sorted(maps.Keys(r.at)) {
		rs := r.logs[p][r.at[p]:] // offsets are without gaps
		n, _ := slices.BinarySearchFunc(rs, r.now, func(rec schemas.Record, t schemas.Micros) int { return cmp.Compare(rec.Timestamp, t) })
		if r.at[p] += int64(n); n > 0 {
			out = append(out, stream.Batch{Partition: p, Records: rs[:n], Next: r.at[p], Stable: r.end[p]})
		}
	}
	return out, nil
}

// stream runs a worker over messages, with the guard.
func (w *gateWorld) stream(v *definition.View, l *memoryLog, g *guarded, store *memoryStore, partitions []int32) error {
	w.Helper()
	writers, err := reading.Writers(v.Source, "")
	if err != nil {
		w.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	tick := func() time.Time { now = now.Add(20 * time.Millisecond); return now } // so that what is changed becomes due
	o := stream.Options{UntilEnd: true, Parallel: 1, Partitions: partitions, SweepEvery: -1, MaxDirty: 16, CatchUpLag: 1 << 40, Guard: g, Now: tick,
		Sleep: func(_ context.Context, d time.Duration) { now = now.Add(d) }}
	if g == nil {
		o.Guard = nil
	}
	worker, err := stream.New(v, reading.NewSource(v, writers), &timedReader{memoryReader{l, map[int32]int64{}}, l.logs[0][0].Timestamp}, store, store, o)
	if err != nil {
		w.Fatal(err)
	}
	for {
		if finished, err := worker.Step(w.Context()); finished || err != nil {
			return err
		}
	}
}

// honestYears are the profiles of the honest year, by view.
var honestYears = map[string][]gate.Profile{}

// honestYear returns the profiles of every day of a view.
func (w *gateWorld) honestYear(v *definition.View) []gate.Profile {
	w.Helper()
	if honestYears[v.Name] == nil {
		honestYears[v.Name] = w.replay(v, w.honest(v))
	}
	return honestYears[v.Name]
}

// logOf lays messages out over partitions as replay does.
func (w *gateWorld) logOf(v *definition.View, messages []flights.Message) *memoryLog {
	n := 4
	if v.Source.Topic == "weather" {
		n = 1
	}
	l := &memoryLog{logs: make([][]schemas.Record, n), start: make([]int64, n), end: make([]int64, n)}
	for _, m := range messages {
		p := int(transforms.HashBytes(m.Key) % uint64(n))
		l.logs[p] = append(l.logs[p], schemas.Record{Partition: int32(p), Offset: l.end[p], Timestamp: schemas.KafkaMillis(m.Time.UnixMilli()), Key: m.Key, Value: m.Value})
		l.end[p]++
	}
	return l
}

func (w *gateWorld) guardedBy(v *definition.View, accepted []gate.Profile, l *memoryLog) *guarded {
	w.Helper()
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		w.Fatal(err)
	}
	read := map[int32]int64{}
	for p := range l.logs {
		read[int32(p)] = l.end[p]
	}
	return &guarded{T: w.T, read: read, guard: gate.NewGuard(engine, v.Snapshots, gate.DefaultOptions()), accepted: accepted, lateness: v.Spec.MaxLateness(), clock: schemas.Never}
}

// TestGuardHonestYear: a stream of the honest year, which is replayed each day, has no
// breach, whether a worker has all partitions or one (B6).
func TestGuardHonestYear(t *testing.T) {
	w := newGateWorld(t)
	views := slices.Concat(w.def.Views, newMoreWorld(t).def.Views)
	var table strings.Builder
	table.WriteString("| view | days guarded | false alarms, all partitions | one of them |\n|---|---|---|---|\n")
	full := gateWhole()
	for i, v := range views {
		if !full && i%2 > 0 {
			continue
		}
		ps := w.honestYear(v)
		l := w.logOf(v, w.honest(v))
		var alarms []string
		looks, days := 0, 0
		for n, partitions := range [][]int32{nil, {0}} {
			if !full && n != i/2%2 {
				continue
			}
			g := w.guardedBy(v, ps, l)
			if err := w.stream(v, l, g, newMemoryStore(v.Spec.Shards, len(l.logs)), partitions); err != nil {
				t.Fatal(err)
			}
			looks, days = max(looks, g.judged), max(days, g.upTo)
			for _, b := range g.breaches {
				t.Errorf("view %s, partitions %v: %v", v.Name, partitions, b)
			}
			alarms = append(alarms, fmt.Sprint(len(g.breaches)))
		}
		if looks < 2000 {
			t.Errorf("view %s: the guard was asked %d times only", v.Name, looks)
		}
		fmt.Fprintf(&table, "| `%s` | %d | %s |\n", v.Name, days-7, strings.Join(alarms, " | "))
	}
	if full {
		gateDocs(t, "stream year", table.String())
	}
}

// TestGuardFaults: a stream with a fault, guarded by the days before it, finds it while
// it folds (B6). Each is let pass first without the fault.
func TestGuardFaults(t *testing.T) {
	w, g := newGateWorld(t), newGateCodecs(t)
	var table strings.Builder
	table.WriteString("| fault | view | from | found at the log clock | because |\n|---|---|---|---|---|\n")
	within := map[string]time.Duration{"×60 for DL": 2 * day24, "dep_delay null for 15 %": 6 * day24, "a day twice": 2 * day24}
	honest, days := map[string][]gate.Profile{}, gateDays()
	for _, f := range gateFaults() {
		limit, guarded := within[f.name]
		if !guarded {
			continue
		}
		v := w.view(f.view)
		for _, day := range days {
			from, messages := w.around(day)
			before := gate.Day(from.Unix() / 86_400)
			if honest[f.view+day] == nil {
				honest[f.view+day] = slices.DeleteFunc(w.replay(v, messages), func(p gate.Profile) bool { return p.Day >= before })
				l := w.logOf(v, messages)
				c := w.guardedBy(v, honest[f.view+day], l)
				if err := w.stream(v, l, c, newMemoryStore(v.Spec.Shards, len(l.logs)), nil); err != nil || len(c.breaches) > 0 {
					t.Fatalf("%s, around %s, without a fault: %v %v", f.view, day, err, c.breaches)
				}
			}
			spoiled, n := f.spoil(g, messages, from)
			l := w.logOf(v, spoiled)
			c := w.guardedBy(v, honest[f.view+day], l)
			if err := w.stream(v, l, c, newMemoryStore(v.Spec.Shards, len(l.logs)), nil); err != nil {
				t.Fatal(err)
			}
			if n < 50 || len(c.breaches) == 0 || c.found < schemas.Micros(from.UnixMicro()) || c.found > schemas.Micros(from.Add(limit).UnixMicro()) {
				t.Errorf("%s, %s, from %s, %d messages: not found in %v: at %v, %v", f.name, f.view, day, n, limit, c.found, c.breaches)
				continue
			}
			b := c.breaches[0]
			if b.Date < before || len(f.columns) > 0 && b.Table != gate.LedgerTable && !slices.ContainsFunc(f.columns, func(s string) bool { return strings.Contains(b.Column, s) }) {
				t.Errorf("%s, %s, from %s: it names %v", f.name, f.view, day, b)
			}
			fmt.Fprintf(&table, "| %s | `%s` | %s | %s | %v |\n", f.name, f.view, day, time.UnixMicro(int64(c.found)).UTC().Format("2006-01-02 15:04"), b)
		}
	}
	if gateWhole() {
		gateDocs(t, "stream faults", table.String())
	}
}

const day24 = 24 * time.Hour
