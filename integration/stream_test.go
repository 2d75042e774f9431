package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

// streamRig is Kafka and Redis inside the process, and what connects them.
type streamRig struct {
	*testing.T
	ctx     context.Context
	view    *definition.View
	engine  *transforms.View
	records *reading.Source
	kafka   *log.Client
	redis   *online.Client
	store   *online.Store
	r       *rand.Rand
	now     time.Time
	sent    int
}

const streamParts = 2

func newStreamRig(t *testing.T) *streamRig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	x := &streamRig{T: t, ctx: ctx, r: rand.New(rand.NewPCG(11, 12)), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	x.view = testbed.View(t, testbed.EventDefinition, testbed.EventSchema)
	x.engine, err = transforms.NewView(x.view.Spec)
	x.must(err)
	x.records = reading.NewSource(x.view, testbed.Writers(x.view))

	k := testbed.Kafka(t)
	x.kafka, err = log.Open(ctx, log.Options{Brokers: k.ListenAddrs(), RetryFor: 10 * time.Second, Extra: testbed.KafkaOptions()})
	x.must(err)
	t.Cleanup(x.kafka.Close)
	x.must(x.kafka.EnsureTopic(ctx, "ev", streamParts, nil))
	x.must(x.kafka.EnsureTopic(ctx, "quarantine", 1, nil))
	x.redis, err = online.Open(ctx, online.Options{Addrs: []string{testbed.Redis(t).Addr()}})
	x.must(err)
	t.Cleanup(x.redis.Close)
	x.store = x.redis.Store(x.view)
	return x
}

func (x *streamRig) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// produce appends n records: events of eight entities, some late, future, copied,
// corrected, undecodable, and ticks.
func (x *streamRig) produce(n int) {
	x.Helper()
	for range n {
		x.now = x.now.Add(time.Duration(x.r.IntN(90)) * time.Second)
		x.sent++
		id := max(1, x.sent-x.r.IntN(2)*x.r.IntN(6))
		p := int32(id % streamParts)
		et := x.now.Add(-time.Duration(pick(x.r, 0, 0, 1, 20, 59, 61)) * time.Minute).Add(time.Duration(pick(x.r, 0, 0, 0, 4, 6)) * time.Minute)
		e := testbed.Event{Ent: fmt.Sprint("e", id%8), ID: fmt.Sprint("i", id), Ver: int64(x.r.IntN(3)), ET: et.UnixMicro(), Amt: float64(x.r.IntN(10))}
		m := log.Message{Key: []byte("k"), Value: e.Bytes(), Timestamp: x.now}
		switch x.r.IntN(20) {
		case 0:
			m.Value, m.Headers = nil, []log.Header{{Key: schemas.TickHeader}}
		case 1:
			m.Value = []byte("garbage")
		}
		_, err := x.kafka.Produce(x.ctx, "ev", p, m)
		x.must(err)
	}
}

var errKilled = errors.New("the process is killed")

// stopping ends a run at a given commit: before it is done, or without its reply.
type stopping struct {
	*online.Store
	left int
	done bool
}

func (s *stopping) Commit(ctx context.Context, shard int, p int32, was, now marker.Mark, ws []marker.Write) error {
	s.left--
	if s.left != 0 {
		return s.Store.Commit(ctx, shard, p, was, now, ws)
	}
	if s.done {
		if err := s.Store.Commit(ctx, shard, p, was, now, ws); err != nil {
			return err
		}
	}
	return errKilled
}

// run runs a worker until the log's end, or until it is killed at a commit.
func (x *streamRig) run(kill int, done bool) error {
	x.Helper()
	src, err := wire.NewSource(x.ctx, x.kafka, "ev", "")
	x.must(err)
	defer src.Close()
	w, err := stream.New(x.view, x.records, src, &stopping{x.store, kill, done},
		&wire.Quarantine{Client: x.kafka, Topic: "quarantine", View: "v"},
		stream.Options{UntilEnd: true, FlushEvery: time.Millisecond, MaxDirty: 3, Chunk: 16, PollWait: 20 * time.Millisecond, Parallel: 1, CacheBytes: 20_000})
	x.must(err)
	if kill <= 0 {
		return w.Run(x.ctx)
	}
	for { // a killed process does not drain
		if finished, err := w.Step(x.ctx); finished || err != nil {
			return err
		}
	}
}

// O1, K1, V8: whatever the restarts, at a cut the store is a fresh fold of the
// log, and its ledger is replay's.
func TestStreamIsTheFold(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("run", func(t *testing.T) {
		x := newStreamRig(t)
		for round := range 3 {
			x.produce(120)
			for i := range 6 {
				if err := x.run(1+x.r.IntN(12), i%2 == 0); err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
			}
			x.must(x.run(0, false))
			x.check(round)
		}
	})
}

// check compares the store, the ledgers and the quarantine with a direct fold.
func (x *streamRig) check(round int) {
	x.Helper()
	c, err := x.kafka.Cut(x.ctx, "ev")
	x.must(err)
	cut := c.Topics["ev"]
	rep, err := (&batch.Replay{View: x.view, Source: x.records, Log: x.kafka, Cut: cut, Parallel: 1, Memory: 1 << 22, SpillDir: x.TempDir(), Work: wire.Work{Work: offline.NewWork(offline.NewScratch(x.TempDir()), "units", nil)}, ValidFrom: schemas.Never}).Run(x.ctx)
	x.must(err)
	quarantined := map[string]bool{}
	values := map[string][]*transforms.State{}
	for p, pc := range cut.Partitions {
		states, clock := x.fold(p, pc.End, cut.TopicID, quarantined)
		for e, st := range states {
			values[e] = append(values[e], st)
		}
		marks, err := x.store.Marks(x.ctx, p)
		x.must(err)
		for shard, m := range marks {
			if m.Next != pc.End || m.Clock != clock || m.Phase != marker.Live || m.TopicID != cut.TopicID {
				x.Errorf("round %d: partition %d shard %d: marker %+v, the fold ends at %d, clock %v", round, p, shard, m, pc.End, clock)
			}
			if want := rep.Ledgers[batch.ShardPartition{Shard: shard, Partition: p}]; m.Ledger != *want {
				x.Errorf("round %d: partition %d shard %d: V8: %v, replay has %v", round, p, shard, &m.Ledger, want)
			}
			if want, any := rep.Newest[batch.ShardPartition{Shard: shard, Partition: p}]; any && m.Newest != want || !any && m.Newest != schemas.Never {
				x.Errorf("round %d: partition %d shard %d: O2: newest %v, replay has %v", round, p, shard, m.Newest, want)
			}
			x.same(round, shard, p, states)
		}
	}
	if got := x.quarantined(); !maps.Equal(got, quarantined) {
		x.Errorf("round %d: V8: %d records quarantined, a fold quarantines %d", round, len(got), len(quarantined))
	}
	x.reads(round, values)
}

// fold folds a partition directly.
func (x *streamRig) fold(p int32, end int64, topicID string, quarantined map[string]bool) (map[string]*transforms.State, schemas.Micros) {
	x.Helper()
	states := map[string]*transforms.State{}
	reader, e, in := x.records.NewReader(), x.records.NewEvent(), x.engine.NewInput()
	var clock schemas.Clock
	x.must(x.kafka.Read(x.ctx, log.Ref{Name: "ev"}, p, 0, end, func(rs []schemas.Record) error {
		for i := range rs {
			if rs[i].Tick {
				clock.Tick(&rs[i])
				continue
			}
			if err := reader.Read(x.ctx, &rs[i], e); err != nil {
				return err
			}
			clock.Stamp(e)
			x.engine.Prepare(in, e)
			var st *transforms.State
			if k := string(in.Entity); k != "" {
				if states[k] == nil {
					states[k] = x.engine.NewState(p)
				}
				st = states[k]
			}
			if v := x.engine.Step(st, in); v.Quarantined() {
				quarantined[fmt.Sprintf("%s/%d/%d", topicID, p, in.Offset)] = true
			}
		}
		return nil
	}))
	maps.DeleteFunc(states, func(_ string, s *transforms.State) bool { return s.LastOffset() < 0 })
	return states, clock.Now()
}

// same: the states of a (shard, partition) are the fold's, byte for byte.
func (x *streamRig) same(round, shard int, p int32, states map[string]*transforms.State) {
	x.Helper()
	got := map[string]string{}
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, err := x.store.Scan(x.ctx, shard, p, cursor)
		x.must(err)
		for _, st := range page.States {
			got[st.Entity] = fmt.Sprintf("%x", st.Stored)
		}
		cursor = page.Next
	}
	want := map[string]string{}
	for e, st := range states {
		if transforms.EntityShard([]byte(e), 3) == shard {
			want[e] = fmt.Sprintf("%x", x.engine.Encode(st))
		}
	}
	if !maps.Equal(got, want) {
		x.Errorf("round %d: O1: partition %d shard %d holds\n%v\na fold has\n%v", round, p, shard, got, want)
	}
}

// reads: a live read is Value of the fold's states (V4, O4).
func (x *streamRig) reads(round int, values map[string][]*transforms.State) {
	x.Helper()
	rd, err := x.redis.Reader(x.view)
	x.must(err)
	for e, states := range values {
		a, err := rd.Read(x.ctx, []byte(e), schemas.Micros(x.now.UnixMicro()))
		x.must(err)
		want, err := x.engine.Value(nil, a.AsOf, states...)
		x.must(err)
		if fmt.Sprint(a.Results) != fmt.Sprint(want) {
			x.Errorf("round %d: entity %x as of %v: read %v, the fold has %v", round, e, a.AsOf, a.Results, want)
		}
	}
}

// quarantined returns the positions in the quarantine topic.
func (x *streamRig) quarantined() map[string]bool {
	x.Helper()
	cut, err := x.kafka.Cut(x.ctx, "quarantine")
	x.must(err)
	got := map[string]bool{}
	x.must(x.kafka.Read(x.ctx, log.Ref{Name: "quarantine"}, 0, 0, cut.Topics["quarantine"].Partitions[0].End, func(rs []schemas.Record) error {
		for i := range rs {
			got[string(rs[i].Key)] = true
		}
		return nil
	}))
	return got
}
