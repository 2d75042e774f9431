//go:build real

package real

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

// verdict ends a test: nothing may differ after what was done to the worker, which
// is folded on to the log's end.
func (x *rig) verdict() {
	x.Helper()
	x.verdictBut(false)
}

// verdictBut leaves out what the producer knows where the test has made it void,
// as timestamps that a broker sets do.
func (x *rig) verdictBut(void bool) {
	x.Helper()
	cut := filepath.Join(x.dir, "cut.json")
	x.ok("cut", "-o", cut)
	x.ok(x.stream("--until", cut)...)
	tables := filepath.Join(x.TempDir(), "tables")
	x.ok("replay", "--cut", cut, "--out", tables)
	x.reconciled(tables)
	c, err := schemas.LoadCut(cut)
	x.must(err)
	sum := account{plain: map[string]int64{}}
	for _, g := range x.gens {
		sum.add(&g.account)
	}
	var states, records int64
	quarantined := x.quarantined()
	for _, v := range x.views {
		f := x.foldView(v, c.Topics[x.topic])
		f.isolated(quarantined, c.Topics[x.topic].TopicID)
		if !void {
			f.holds(&sum)
		} else if f.total.Read() != sum.records || f.ticks != sum.ticks {
			x.Errorf("view %s: ledger %v and %d ticks; produced were %+v", v.Name, &f.total, f.ticks, sum)
		}
		states += f.compared
		records = f.total.Read()
	}
	x.figure("records", records)
	x.figure("states equal byte for byte", states)
	x.figure("records in quarantine", int64(len(quarantined)))
}

// reconciled lets the program compare both stores, in everything.
func (x *rig) reconciled(tables string) {
	x.Helper()
	for _, v := range x.equalTo(tables) {
		if v.States == 0 || v.Ledgers.Compared == 0 || v.StatesNotCompared > 0 || v.Ledgers.NotComparable > 0 {
			x.Errorf("reconcile of view %s compared %d states and %d ledgers, and left out %d states and %d ledgers",
				v.View, v.States, v.Ledgers.Compared, v.StatesNotCompared, v.Ledgers.NotComparable)
		}
	}
}

// comparedView is what `reconcile --json` says of how much it has compared.
type comparedView struct {
	View                  string
	Tiles, Values, States int64
	StatesNotCompared     int64 `json:"states_not_compared"`
	Ledgers               struct {
		Compared      int64
		NotComparable int64 `json:"not_comparable"`
	}
}

// equalTo lets the program compare Redis with tables: some tiles and values of each
// view, and nothing differs.
func (x *rig) equalTo(tables string) []comparedView {
	x.Helper()
	var out struct {
		Verdict reconcile.Verdict
		Views   []comparedView
	}
	text := x.ok(append([]string{"reconcile", "--json", "--out", tables}, x.redis.Flags()...)...)
	x.must(json.Unmarshal([]byte(text), &out))
	if out.Verdict != reconcile.Equal {
		x.Fatalf("reconcile: %s", text)
	}
	var tiles, values int64
	for _, v := range out.Views {
		if v.Tiles == 0 || v.Values == 0 {
			x.Errorf("reconcile of view %s compared %d tiles and %d values", v.View, v.Tiles, v.Values)
		}
		tiles, values = tiles+v.Tiles, values+v.Values
	}
	x.figure("tiles equal", tiles)
	x.figure("values equal", values)
	return out.Views
}

// fold is a fold of a view by the test itself, and what the store holds beside it.
type fold struct {
	x        *rig
	view     *definition.View
	engine   *transforms.View
	records  *reading.Source
	states   map[string][]*transforms.State // by entity, of all partitions
	total    transforms.Ledger
	ticks    int64
	compared int64
	clock    schemas.Micros // the greatest
	// what it does not count, as view and position
	quarantined map[string]bool
}

// foldView folds the log up to the cut and compares every state and marker.
func (x *rig) foldView(v *definition.View, cut schemas.TopicCut) *fold {
	x.Helper()
	engine, err := transforms.NewView(v.Spec)
	x.must(err)
	writers, err := reading.Writers(v.Source, "")
	x.must(err)
	f := &fold{x: x, view: v, engine: engine, records: reading.NewSource(v, writers), states: map[string][]*transforms.State{}, clock: schemas.Never, quarantined: map[string]bool{}}
	for _, p := range cut.PartitionIDs() {
		f.partition(p, cut)
	}
	if f.compared == 0 {
		x.Errorf("view %s: no state was compared", v.Name)
	}
	return f
}

func (f *fold) partition(p int32, cut schemas.TopicCut) {
	f.x.Helper()
	states := map[string]*transforms.State{}
	ledgers := make([]transforms.Ledger, f.view.Spec.Shards)
	reader, e, in := f.records.NewReader(), f.records.NewEvent(), f.engine.NewInput()
	var clock schemas.Clock
	pc := cut.Partitions[p]
	f.x.must(f.x.log.Read(f.x.ctx, log.Ref{Name: f.x.topic, ID: cut.TopicID}, p, pc.Start, pc.End, func(rs []schemas.Record) error {
		for i := range rs {
			if rs[i].Tick {
				f.ticks++
				clock.Tick(&rs[i])
				continue
			}
			if err := reader.Read(f.x.ctx, &rs[i], e); err != nil {
				return err
			}
			clock.Stamp(e)
			f.engine.Prepare(in, e)
			k := string(in.Entity)
			if k != "" && states[k] == nil {
				states[k] = f.engine.NewState(p)
			}
			v := f.engine.Step(states[k], in)
			if v.Quarantined() {
				f.quarantined[fmt.Sprintf("%s %s/%d/%d", f.view.Name, cut.TopicID, p, rs[i].Offset)] = true
			}
			ledgers[transforms.EntityShard(in.Entity, len(ledgers))].Add(&v)
		}
		return nil
	}))
	maps.DeleteFunc(states, func(_ string, s *transforms.State) bool { return s.LastOffset() < 0 })
	for e, s := range states {
		f.states[e] = append(f.states[e], s)
	}
	f.clock = max(f.clock, clock.Now())
	marks, err := f.x.online.Store(f.view).Marks(f.x.ctx, p)
	f.x.must(err)
	for shard, m := range marks {
		f.total.Merge(&ledgers[shard])
		want := marker.Mark{Phase: marker.Live, TopicID: cut.TopicID, Next: pc.End, Clock: clock.Now(), Newest: m.Newest, ValidFrom: schemas.Never, Ledger: ledgers[shard], Token: m.Token}
		if m != want {
			f.x.Errorf("view %s partition %d shard %d: marker %+v, a fold has %+v", f.view.Name, p, shard, m, want)
		}
		f.shard(shard, p, states)
	}
}

// shard: the states of a (shard, partition) are the fold's, byte for byte.
func (f *fold) shard(shard int, p int32, states map[string]*transforms.State) {
	f.x.Helper()
	store, got := f.x.online.Store(f.view), map[string]string{}
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, err := store.Scan(f.x.ctx, shard, p, cursor)
		f.x.must(err)
		for _, st := range page.States {
			got[st.Entity] = fmt.Sprintf("%x", st.Stored)
		}
		cursor = page.Next
	}
	for e, st := range states {
		if transforms.EntityShard([]byte(e), f.view.Spec.Shards) != shard {
			continue
		}
		if want := fmt.Sprintf("%x", f.engine.Encode(st)); got[e] != want {
			f.x.Errorf("view %s partition %d shard %d entity %x holds\n%s\na fold has\n%s", f.view.Name, p, shard, e, got[e], want)
		}
		delete(got, e)
		f.compared++
	}
	for e := range got {
		f.x.Errorf("view %s partition %d shard %d holds entity %x, of which a fold knows nothing", f.view.Name, p, shard, e)
	}
}

// holds: what was counted is what the producer knows.
func (f *fold) holds(a *account) {
	f.x.Helper()
	l, want := &f.total, *a
	if l.Read() != want.records || f.ticks != want.ticks || l.Late != want.late || l.Future != want.future || l.Invalid != want.invalid {
		f.x.Errorf("view %s: ledger %v and %d ticks; produced were %+v", f.view.Name, l, f.ticks, want)
	}
	if f.view.Name == "corrected" {
		if l.Applied+l.Filtered != want.ids || l.Duplicate != want.copies || l.Superseded != want.superseded {
			f.x.Errorf("view %s: ledger %v; produced were %d ids, %d copies and %d other versions", f.view.Name, l, want.ids, want.copies, want.superseded)
		}
		return
	}
	if l.Applied != want.ids+want.copies+want.superseded {
		f.x.Errorf("view %s: ledger %v; produced were %+v", f.view.Name, l, want)
	}
	f.counts(want.plain)
}

// counts: what a reader of Redis gets is the producer's count of every entity.
func (f *fold) counts(want map[string]int64) {
	f.x.Helper()
	rd, err := f.x.online.Reader(f.view)
	f.x.must(err)
	at := f.view.Feature("all_lifetime")
	seen := 0
	for e := range f.states {
		a, err := rd.Read(f.x.ctx, []byte(e), f.clock.AddSat(schemas.Micros(time.Hour.Microseconds())))
		f.x.must(err)
		name := entityName(e)
		if got := a.Results[at].Value.Int(); got != want[name] {
			f.x.Errorf("entity %s: Redis counts %d events, the producer %d", name, got, want[name])
		}
		seen++
	}
	if seen != len(want) {
		f.x.Errorf("%d entities in the log, the producer has %d", seen, len(want))
	}
}

// entityName is the text in the canonical bytes of an entity of one string.
func entityName(e string) string { return e[len(e)-int(e[1]):] }

// last appends an event to every partition, so that a worker which has reached the
// end has written a marker there, and waits for that.
func (x *rig) last() {
	x.Helper()
	var rs []*kgo.Record
	for _, p := range x.partitions() {
		g := x.gens[p]
		g.records++
		rs = append(rs, g.event())
	}
	x.must(x.producer.ProduceSync(x.ctx, rs...).FirstErr())
	ends := map[int32]int64{}
	for _, r := range rs {
		ends[r.Partition] = r.Offset + 1
	}
	x.until("the worker to reach the log's end", func() bool { return x.reached(ends) })
}

// reached tells whether some shard of every view and partition stands at an offset.
func (x *rig) reached(ends map[int32]int64) bool {
	for _, v := range x.views {
		for p, end := range ends {
			marks, err := x.online.Store(v).Marks(x.ctx, p)
			if err != nil {
				return false
			}
			next := int64(-1)
			for _, m := range marks {
				next = max(next, m.Next)
			}
			if next < end {
				return false
			}
		}
	}
	return true
}
