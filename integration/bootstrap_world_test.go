package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

// memoryLog is a topic in memory: what replay and the stream read.
type memoryLog struct {
	logs  [][]schemas.Record // by partition; offsets have gaps
	start []int64            // what lies before is gone
	end   []int64
}

func (l *memoryLog) cut() schemas.TopicCut {
	c := schemas.TopicCut{TopicID: "topic-1", Partitions: map[int32]schemas.PartitionCut{}}
	for p := range l.logs {
		c.Partitions[int32(p)] = schemas.PartitionCut{Start: l.start[p], End: l.end[p]}
	}
	return c
}

// records returns what a partition holds in [from, to), and panics below the start.
func (l *memoryLog) records(p int32, from, to int64) []schemas.Record {
	if from < l.start[p] {
		panic(fmt.Sprintf("partition %d is read from offset %d, its log starts at %d", p, from, l.start[p]))
	}
	i := slices.IndexFunc(l.logs[p], func(r schemas.Record) bool { return r.Offset >= from })
	if i < 0 {
		return nil
	}
	rs := l.logs[p][i:]
	if j := slices.IndexFunc(rs, func(r schemas.Record) bool { return r.Offset >= to }); j >= 0 {
		rs = rs[:j]
	}
	return rs
}

// ReadCut implements batch.Log.
func (l *memoryLog) ReadCut(_ context.Context, _ string, cut schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	for _, p := range cut.PartitionIDs() {
		if err := fn(p, l.records(p, cut.Partitions[p].Start, cut.Partitions[p].End)); err != nil {
			return err
		}
	}
	return nil
}

// memoryReader is the log as a worker reads it.
type memoryReader struct {
	*memoryLog
	at map[int32]int64
}

// Cut implements stream.Source.
func (r *memoryReader) Cut(context.Context) (schemas.TopicCut, error) { return r.cut(), nil }

// Assign implements stream.Source.
func (r *memoryReader) Assign(_ context.Context, at map[int32]int64) error {
	maps.Copy(r.at, at)
	return nil
}

// Remove implements stream.Source.
func (r *memoryReader) Remove(ps ...int32) {
	for _, p := range ps {
		delete(r.at, p)
	}
}

// Poll implements stream.Source.
func (r *memoryReader) Poll(context.Context, time.Duration) (out []stream.Batch, err error) {
	for _, p := range slices.Sorted(maps.Keys(r.at)) {
		if r.at[p] < r.end[p] {
			next := min(r.at[p]+9, r.end[p])
			out = append(out, stream.Batch{Partition: p, Records: r.records(p, r.at[p], next), Next: next, Stable: r.end[p]})
			r.at[p] = next
		}
	}
	return out, nil
}

// memoryStore is an online store in memory.
type memoryStore struct {
	shards int
	cells  map[int32][]memoryCell
	// kill ends the process at that many more commits: before one is done, or, with
	// done, without its reply. 0 = never.
	kill int
	done bool
}

type memoryCell struct {
	mark   marker.Mark
	states map[string]*memoryState
}

type memoryState struct {
	served, old []byte // old empty = none
	open        map[int64][]byte
}

func newMemoryStore(shards, parts int) *memoryStore {
	s := &memoryStore{shards: shards, cells: map[int32][]memoryCell{}}
	for p := range parts {
		for range shards {
			s.cells[int32(p)] = append(s.cells[int32(p)], memoryCell{states: map[string]*memoryState{}})
		}
	}
	return s
}

// Partitions implements stream.Sink.
func (s *memoryStore) Partitions(context.Context) ([]int32, error) { return nil, nil }

// Marks implements stream.Sink.
func (s *memoryStore) Marks(_ context.Context, p int32) (ms []marker.Mark, err error) {
	for i := range s.cells[p] {
		ms = append(ms, s.cells[p][i].mark)
	}
	return ms, nil
}

// stored returns a state's parts.
func (m *memoryState) stored() marker.Stored {
	st := marker.Stored{Served: m.served, Old: m.old}
	for _, h := range slices.Sorted(maps.Keys(m.open)) {
		st.Open = append(st.Open, transforms.Open{Hour: h, Data: m.open[h]})
	}
	return st
}

// Load implements stream.Sink.
func (s *memoryStore) Load(_ context.Context, p int32, keys []marker.Key) ([]marker.Stored, map[int]marker.Mark, error) {
	out, marks := make([]marker.Stored, len(keys)), map[int]marker.Mark{}
	for i, k := range keys {
		marks[k.Shard] = s.cells[p][k.Shard].mark
		if m := s.cells[p][k.Shard].states[k.Entity]; m != nil {
			out[i] = m.stored()
		}
	}
	return out, marks, nil
}

// Commit implements stream.Sink.
func (s *memoryStore) Commit(_ context.Context, shard int, p int32, was, now marker.Mark, ws []marker.Write) error {
	s.kill--
	if s.kill == 0 && !s.done {
		return errKilled
	}
	c := &s.cells[p][shard]
	if c.mark != was {
		return marker.ErrMoved
	}
	c.mark = now
	for _, w := range ws {
		if w.Remove {
			delete(c.states, w.Entity)
		}
		if w.Served == nil && w.Old == nil && len(w.Open) == 0 {
			continue
		}
		m := c.states[w.Entity]
		if m == nil {
			m = &memoryState{open: map[int64][]byte{}}
			c.states[w.Entity] = m
		}
		if w.Served != nil {
			m.served = slices.Clone(w.Served)
		}
		if w.Old != nil {
			m.old = slices.Clone(w.Old)
		}
		for _, o := range w.Open {
			if m.open[o.Hour] = slices.Clone(o.Data); len(o.Data) == 0 {
				delete(m.open, o.Hour)
			}
		}
	}
	if s.kill == 0 {
		return errKilled
	}
	return nil
}

// Holds implements stream.Sink.
func (s *memoryStore) Holds(_ context.Context, p int32) (bool, error) {
	return slices.ContainsFunc(s.cells[p], func(c memoryCell) bool { return len(c.states) > 0 }), nil
}

// Walk implements stream.Sink.
func (s *memoryStore) Walk(_ context.Context, shard int, p int32, _ string) (marker.Page, error) {
	page := marker.Page{Mark: s.cells[p][shard].mark}
	for _, e := range slices.Sorted(maps.Keys(s.cells[p][shard].states)) {
		page.Items = append(page.Items, marker.Item{Entity: e, Served: s.cells[p][shard].states[e].served})
	}
	return page, nil
}

// Put implements stream.Quarantine.
func (s *memoryStore) Put(context.Context, []stream.Quarantined) error { return nil }

// drawBootstrapView draws a definition: of events, with or without ids, or of a table.
func drawBootstrapView(t *rapid.T) string {
	shards := rapid.IntRange(1, 4).Draw(t, "shards")
	kind := rapid.SampledFrom([]string{"", "    id: id\n", "    id: id\n    version: ver\n", "table"}).Draw(t, "kind")
	if kind == "table" {
		return fmt.Sprintf(`sources:
  ev: {kind: table, key: string, schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, version: ver}
views:
  v:
    source: ev
    entity: {account: string}
    shards: %d
    features: {amt: {last: amt}, ver: {last: ver, over: lifetime}}
`, shards)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "sources:\n  ev:\n    schema: ev.avsc\n    writers: {files: {1: ev.avsc}}\n    event_time: et\n%s    lateness: %s\n", kind, rapid.SampledFrom([]string{"30m", "1h", "1d"}).Draw(t, "lateness"))
	if kind != "" && rapid.Bool().Draw(t, "few ids") {
		b.WriteString("    max_open: 2\n")
	}
	if rapid.IntRange(0, 3).Draw(t, "a load") == 0 {
		fmt.Fprintf(&b, "    history: {0: %d}\n    history_lateness: 2d\n", rapid.IntRange(1, 30).Draw(t, "history"))
	}
	fmt.Fprintf(&b, "views:\n  v:\n    source: ev\n    entity: {ent: string}\n    where: amt < 9.0\n    shards: %d\n    features:\n", shards)
	for i, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(bootstrapFeatures)-1), 1, 5, rapid.ID[int]).Draw(t, "features") {
		fmt.Fprintf(&b, "      f%d: %s\n", i, bootstrapFeatures[n])
	}
	return b.String()
}

var bootstrapFeatures = []string{`{count: "*", over: 30m}`, `{sum: amt, over: 24h}`, `{last: amt, over: 24h}`, `{mean: amt, over: 12d}`, `{sum: amt, over: lifetime}`,
	`{first: ver, over: lifetime}`, `{count: "*", over: {days: 2}}`, `{count_distinct: ver, over: {weeks: 1, exclude_current: true}}`, `{max: amt, over: 3h}`}

// drawBootstrapLog draws the partitions' records.
func drawBootstrapLog(t *rapid.T, table bool) *memoryLog {
	l := &memoryLog{}
	parts := rapid.IntRange(1, 3).Draw(t, "partitions")
	now := time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC).UnixMicro()
	unit := rapid.SampledFrom([]int64{minute, 10 * minute, hour}).Draw(t, "unit")
	days := rapid.Bool().Draw(t, "the clock jumps by days")
	l.logs, l.start, l.end = make([][]schemas.Record, parts), make([]int64, parts), make([]int64, parts)
	var sent []testbed.Event
	for i := range rapid.IntRange(10, 120).Draw(t, "records") {
		step := rapid.IntRange(0, 40).Draw(t, "step")
		now += unit * int64(step%4)
		if days && step == 40 {
			now += day * int64(1+i%9)
		}
		p := int32(rapid.IntRange(0, parts-1).Draw(t, "partition"))
		if step == 39 {
			l.end[p]++ // a control record
		}
		e := testbed.Event{Ent: rapid.SampledFrom([]string{"a", "b", "bb", "c"}).Draw(t, "entity"), ID: fmt.Sprint(i), Ver: int64(step % 5), Amt: float64(step % 11)}
		e.ET = now - rapid.SampledFrom([]int64{0, 0, 1, unit, 3 * unit, 30 * minute, hour, hour + 1, day}).Draw(t, "delay") + rapid.SampledFrom([]int64{0, 0, 0, 1, 4 * minute, 6 * minute}).Draw(t, "ahead")
		if len(sent) > 0 && step > 25 { // a copy or a correction
			o := sent[max(0, len(sent)-1-step%7)]
			e.ID, e.Ent = o.ID, o.Ent
			if step%2 == 0 {
				e.ET = o.ET
			}
		}
		sent = append(sent, e)
		r := schemas.Record{Partition: p, Offset: l.end[p], Timestamp: schemas.KafkaMillis(now / 1000), Value: e.Bytes()}
		if table {
			r.Key = []byte(e.Ent)
		}
		switch {
		case step == 24:
			r.Tick, r.Value = true, nil
		case step == 23:
			r.Value = []byte("garbage")
		case step > 20 && table:
			r.Value = nil // a tombstone
		}
		l.logs[p] = append(l.logs[p], r)
		l.end[p]++
	}
	return l
}
