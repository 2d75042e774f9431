package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

const evSchema = `{"type":"record","name":"Ev","fields":[
 {"name":"ent","type":["null","string"],"default":null},{"name":"id","type":["null","string"],"default":null},
 {"name":"ver","type":["null","long"],"default":null},{"name":"et","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"amt","type":["null","double"],"default":null},{"name":"ok","type":"boolean"}]}`

// shape is what varies between the simulated views.
type shape struct {
	identity string // "", id or version
	maxOpen  int
	lifetime bool
	shards   int
	history  int64  // of partition 0
	future   string // max_future; "" = 5m
	table    bool
}

func (s shape) definition() (*definition.View, error) {
	id := ""
	if s.identity != "" {
		id = fmt.Sprintf("    id: id\n    max_open: %d\n", s.maxOpen)
	}
	if s.identity == "version" {
		id += "    version: ver\n"
	}
	if s.history > 0 {
		id += fmt.Sprintf("    history: {0: %d}\n", s.history)
	}
	future := cmp.Or(s.future, "5m")
	if s.table {
		return testbed.ParseView(fmt.Sprintf(tableText, future, s.shards), evSchema)
	}
	life := ""
	if s.lifetime {
		life = "      t: {sum: amt, over: lifetime}\n"
	}
	text := fmt.Sprintf(`sources:
  ev:
    schema: ev.avsc
    writers: {files: {1: ev.avsc}}
    event_time: et
    lateness: 1h
    max_future: %s
%sviews:
  v:
    source: ev
    entity: {ent: string}
    where: ok
    shards: %d
    features:
      n: {count: "*", over: [30m, 24h]}
      s: {sum: amt, over: [30m, 24h]}
      l: {last: amt, over: 24h}
%s`, future, id, s.shards, life)
	return testbed.ParseView(text, evSchema)
}

const tableText = `sources:
  ev: {kind: table, key: string, schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, version: ver, max_future: %s}
views:
  v:
    source: ev
    entity: {account: string}
    shards: %d
    features: {amt: {last: amt}, ok: {last: ok}}
`

// resolver fails for the moment when fail says so.
type resolver struct {
	registry.Resolver
	fail func() bool
}

var errPassing = errors.New("the registry is away for a moment")

func (r *resolver) Writer(ctx context.Context, id int) (*registry.Writer, error) {
	if r.fail != nil && r.fail() {
		return nil, errPassing
	}
	return r.Resolver.Writer(ctx, id)
}

// event is a record before it is encoded.
type event struct {
	kind   byte // d data, t tick, b bad
	stamp  int64
	ent    string
	id     string
	ver    int64
	et     int64 // µs
	amt    float64
	ok     bool
	offset int64
	table  bool // ent is the key, and what is not ok is a tombstone
}

func optional(dst []byte, null bool) []byte {
	if null {
		return append(dst, 0)
	}
	return append(dst, 2)
}

func (e *event) record(partition int32) schemas.Record {
	r := schemas.Record{Partition: partition, Offset: e.offset, Timestamp: schemas.KafkaMillis(e.stamp)}
	switch e.kind {
	case 't':
		r.Tick = true
		return r
	}
	if e.table && e.ent != "" {
		r.Key = []byte(e.ent)
	}
	if e.table && !e.ok {
		return r
	}
	switch e.kind {
	case 'b':
		r.Value = []byte{0, 0, 0, 0, byte(1 + e.ver%2), 9}
		return r
	}
	b := testbed.Frame(1)
	text := func(s string) {
		if b = optional(b, s == ""); s != "" {
			b = testbed.AppendText(b, s)
		}
	}
	text(e.ent)
	text(e.id)
	b = testbed.AppendLong(optional(b, false), e.ver)
	b = testbed.AppendLong(b, e.et)
	if b = optional(b, e.amt == 0); e.amt != 0 {
		b = testbed.AppendDouble(b, e.amt)
	}
	if e.ok {
		r.Value = append(b, 1)
	} else {
		r.Value = append(b, 0)
	}
	return r
}

const minute = int64(60_000_000)

// draw makes the logs of all partitions, n records in all.
func draw(r *rand.Rand, parts, n int, history int64) [][]event {
	logs := make([][]event, parts)
	now := time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC).UnixMicro()
	past := now - 40*24*60*minute
	unit := []int64{minute, 4 * minute, 15 * minute}[r.IntN(3)]
	jumps, idle := r.IntN(4) == 0, -1
	if r.IntN(3) == 0 {
		idle = r.IntN(parts)
	}
	next := make([]int64, parts)
	for i := range n {
		now += []int64{0, 0, unit, unit, 2 * unit}[r.IntN(5)]
		if jumps && r.IntN(12) == 0 {
			now += []int64{1, 3, 11}[r.IntN(3)] * 24 * 60 * minute
		}
		p := r.IntN(parts)
		if p == idle && r.IntN(8) > 0 {
			continue
		}
		if r.IntN(9) == 0 {
			next[p]++ // a control record, or an aborted one
		}
		e := event{kind: 'd', offset: next[p], stamp: now / 1000, ent: string(rune('a' + r.IntN(4))), id: fmt.Sprint(i),
			ver: int64(1 + r.IntN(4)), amt: float64(r.IntN(9)) / 2, ok: r.IntN(5) > 0}
		next[p]++
		base := now
		if p == 0 && e.offset < history {
			past += []int64{0, unit, 3 * unit}[r.IntN(3)]
			base = past
		}
		e.et = base - []int64{0, 0, 1, unit, 3 * unit, 30 * minute, 60 * minute, 61 * minute}[r.IntN(8)] + []int64{0, 0, 0, 1, minute, 5 * minute, 6 * minute}[r.IntN(7)]
		if r.IntN(3) == 0 {
			e.stamp -= []int64{0, 1, 60_000, 600_000}[r.IntN(4)]
		}
		vary(r, &e, logs[p])
		logs[p] = append(logs[p], e)
	}
	return logs
}

// vary turns some records into ticks, faults, copies and corrections.
func vary(r *rand.Rand, e *event, log []event) {
	switch r.IntN(16) {
	case 0:
		e.kind = 't'
		return
	case 1:
		e.kind = 'b'
		return
	case 2:
		if r.IntN(2) == 0 {
			e.ent = ""
		} else {
			e.id = ""
		}
		return
	}
	if len(log) == 0 || r.IntN(2) == 0 {
		return
	}
	o := log[r.IntN(len(log))]
	if r.IntN(4) > 0 {
		o = log[max(0, len(log)-1-r.IntN(6))]
	}
	if o.kind != 'd' || o.ent == "" {
		return
	}
	e.ent, e.id = o.ent, o.id
	switch r.IntN(4) {
	case 0: // redelivered
		e.ver, e.et, e.amt, e.ok = o.ver, o.et, o.amt, o.ok
	case 1, 2:
		e.et = o.et + []int64{0, 1, -1, minute, -7 * minute, 20 * minute}[r.IntN(6)]
	}
}

// world is what the simulated workers share: definition, logs and the reference.
type world struct {
	shape   shape
	view    *definition.View
	engine  *transforms.View
	records *reading.Source
	logs    [][]event
	memo    map[position]*reference
	judge   *judge // nil = the fold is not held against the oracle
}

type position struct {
	partition int
	next      int64
}

func newWorld(r *rand.Rand) (*world, error) {
	w := &world{memo: map[position]*reference{}}
	w.shape = shape{identity: []string{"", "id", "version", "version"}[r.IntN(4)], maxOpen: []int{2, 4, 65536}[r.IntN(3)],
		lifetime: r.IntN(2) == 0, shards: 1 + r.IntN(3)}
	if r.IntN(4) == 0 {
		w.shape.history = 12
	}
	if r.IntN(5) == 0 {
		w.shape = shape{table: true, shards: w.shape.shards}
	}
	var err error
	if w.view, err = w.shape.definition(); err != nil {
		return nil, err
	}
	if err = w.compile(); err != nil {
		return nil, err
	}
	w.logs = draw(r, 1+r.IntN(3), 60+r.IntN(60), w.shape.history)
	w.keyed()
	return w, nil
}

// keyed makes the logs of a table's.
func (w *world) keyed() {
	for _, log := range w.logs {
		for i := range log {
			log[i].table = w.shape.table
		}
	}
}

func (w *world) compile() (err error) {
	w.view.Spec.NewestTiles = 2 // so that tiles become old
	w.engine, err = transforms.NewView(w.view.Spec)
	w.records = reading.NewSource(w.view, &resolver{Resolver: testbed.Writers(w.view)})
	return err
}

// reference is the fold of a partition's prefix, by shard.
type reference struct {
	clock  schemas.Micros
	shards []refShard
}

type refShard struct {
	states     map[string]*refState
	ledger     transforms.Ledger
	newest     schemas.Micros
	quarantine []int64
}

type refState struct {
	served string
	old    string // "" = none
	open   map[int64]string
	empty  bool // after a Trim at the closed boundary it equals a missing one
}

// stored returns the state as a store hands it out.
func (st *refState) stored() marker.Stored {
	out := marker.Stored{Served: []byte(st.served)}
	if st.old != "" {
		out.Old = []byte(st.old)
	}
	for _, h := range slices.Sorted(maps.Keys(st.open)) {
		out.Open = append(out.Open, transforms.Open{Hour: h, Data: []byte(st.open[h])})
	}
	return out
}

// same tells whether two states have the same bytes.
func (st *refState) same(o *refState) bool {
	return st.served == o.served && st.old == o.old && maps.Equal(st.open, o.open)
}

// fold folds the records of a partition below next, as a fresh reader would.
// With alter, the amount of the record at that offset is another.
func (w *world) fold(p int, next, alter int64) (*reference, error) {
	ref := &reference{}
	states := map[string]*transforms.State{}
	for range w.shape.shards {
		ref.shards = append(ref.shards, refShard{states: map[string]*refState{}, newest: schemas.Never})
	}
	src := w.view.Source
	clock := schemas.ClockAt(schemas.Never, src.History[int32(p)], src.MaxFuture)
	reader, e, in := w.records.NewReader(), w.records.NewEvent(), w.engine.NewInput()
	for _, ev := range w.logs[p] {
		if ev.offset >= next {
			break
		}
		if ev.offset == alter {
			ev.amt += 100
		}
		rec := ev.record(int32(p))
		if rec.Tick {
			clock.Tick(&rec)
			continue
		}
		if err := reader.Read(context.Background(), &rec, e); err != nil {
			return nil, err
		}
		clock.Stamp(e)
		w.engine.Prepare(in, e)
		var st *transforms.State
		if len(in.Entity) > 0 {
			if st = states[string(in.Entity)]; st == nil {
				st = w.engine.NewState(int32(p))
				states[string(in.Entity)] = st
			}
		}
		v := w.engine.Step(st, in)
		sh := &ref.shards[transforms.EntityShard(in.Entity, w.shape.shards)]
		sh.ledger.Add(&v)
		if v.Quarantined() {
			sh.quarantine = append(sh.quarantine, ev.offset)
		}
		if v.Outcome != transforms.Invalid && v.Outcome != transforms.Future && (v.Outcome != transforms.Late || in.EventTime >= in.Clock-3600e6) {
			sh.newest = max(sh.newest, in.EventTime)
		}
	}
	ref.clock = clock.Now()
	for entity, st := range states {
		if st.LastOffset() < 0 {
			continue
		}
		rs, err := w.encode(st, ref.clock)
		if err != nil {
			return nil, err
		}
		ref.shards[transforms.EntityShard([]byte(entity), w.shape.shards)].states[entity] = rs
	}
	return ref, nil
}

func (w *world) encode(st *transforms.State, clock schemas.Micros) (*refState, error) {
	all := w.engine.Encode(st)
	rs := &refState{served: string(all.Served), old: string(all.Old), open: map[int64]string{}}
	for _, o := range all.Open {
		rs.open[o.Hour] = string(o.Data)
	}
	c, err := w.engine.Parse(all)
	if err != nil {
		return nil, err
	}
	if !w.shape.table {
		w.engine.Trim(c, clock.SubSat(w.view.Spec.Lateness).Floor(w.engine.Hops()[0]))
	}
	rs.empty = c.Empty()
	return rs, nil
}

// at returns the reference at a position, folded once.
func (w *world) at(p int, next int64) (*reference, error) {
	k := position{p, next}
	if ref := w.memo[k]; ref != nil {
		return ref, nil
	}
	ref, err := w.fold(p, next, -1)
	if err == nil && w.judge != nil {
		err = w.judge.check(p, next, ref)
	}
	w.memo[k] = ref
	return ref, err
}
