package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

// bench is a worker in a world without faults, and the ports it sees.
type bench struct {
	*testing.T
	*sim
	source  *reader
	port    port
	opt     Options
	notices []Notice
	w       *Worker
}

// newBench has a view with ids and versions, and logs that are all visible.
func newBench(t *testing.T, shards, parts int) *bench {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 5))
	var logs [][]event
	for idle := true; idle; {
		logs = draw(r, parts, 80*parts, 0)
		idle = slices.ContainsFunc(logs, func(l []event) bool { return len(l) < 50 })
	}
	return newBenchOf(t, r, shape{identity: "version", maxOpen: 65536, shards: shards}, logs)
}

func newBenchOf(t *testing.T, r *rand.Rand, s shape, logs [][]event) *bench {
	t.Helper()
	w := &world{memo: map[position]*reference{}, shape: s, logs: logs}
	w.keyed()
	b := &bench{T: t}
	var err error
	w.view, err = w.shape.definition()
	b.must(err)
	b.must(w.compile())
	b.sim = newSim(w, r)
	b.calm = true
	for p := range w.logs {
		b.grow(p, 1000)
	}
	o := b.owners[0]
	b.source, b.port = &reader{b.sim, o}, port{b.sim, o}
	b.opt = Options{UntilEnd: true, Parallel: 1, SweepEvery: -1, Now: func() time.Time { return b.now }, Token: b.newToken,
		Sleep:  func(_ context.Context, d time.Duration) { b.now = b.now.Add(d) },
		Notice: func(n Notice) { b.notices = append(b.notices, n) }}
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) start(sink Sink) {
	b.Helper()
	if sink == nil {
		sink = b.port
	}
	var err error
	b.w, err = New(b.view, b.records, b.source, sink, b.port, b.opt)
	b.must(err)
}

// steps steps until the cut is reached or an error comes.
func (b *bench) steps() error {
	b.Helper()
	for range 500 {
		if finished, err := b.w.Step(b.Context()); finished || err != nil {
			return err
		}
	}
	return errors.New("the cut is not reached")
}

// whole asserts that everything is in the store.
func (b *bench) whole() {
	b.Helper()
	if b.complete(); b.failure != nil {
		b.Fatal(b.failure)
	}
}

func (b *bench) cell(shard, p int, f func(*cell)) {
	c := *b.store.cells[shard][p]
	c.states = maps.Clone(c.states)
	f(&c)
	b.store.cells[shard][p] = &c
}

func (b *bench) cut(end int64) *schemas.TopicCut {
	return &schemas.TopicCut{TopicID: b.topicID, Partitions: map[int32]schemas.PartitionCut{0: {End: end}}}
}

// K3: a partition that is in the store must be in the topic.
func TestFewerPartitions(t *testing.T) {
	b := newBench(t, 1, 1)
	b.start(knows{b.port, []int32{0, 1, 2}})
	for _, err := range []error{b.w.Check(b.Context()), b.steps()} {
		if _, ok := errors.AsType[*FewerPartitionsError](err); !ok {
			t.Errorf("not refused: %v", err)
		}
	}
}

type knows struct {
	port
	list []int32
}

func (k knows) Partitions(context.Context) ([]int32, error) { return k.list, nil }

// O2: with Rebuild a lost marker is bootstrapped from the log's start.
func TestRebuild(t *testing.T) {
	b := newBench(t, 3, 2)
	b.start(nil)
	b.must(b.steps())
	b.cell(1, 0, func(c *cell) { c.mark = Mark{} })
	b.opt.Rebuild = true
	b.start(nil)
	b.must(b.steps())
	b.whole()
}

// K1: the stream stands at the cut's end exactly, in a gap or before a record.
func TestUntilCut(t *testing.T) {
	for end := range int64(30) {
		b := newBench(t, 2, 1)
		b.opt.UntilEnd, b.opt.Until = false, b.cut(end)
		b.start(nil)
		b.must(b.steps())
		for s := range 2 {
			if m := b.store.cells[s][0].mark; m.Next != end {
				t.Errorf("cut at %d: shard %d stands at %d", end, s, m.Next)
			}
			b.verify(s, 0)
		}
		b.must(b.failure)
	}
}

// meddling loses the worker's writes to another's, or refuses them.
type meddling struct {
	port
	lose, refuse int
	err          error
	done         bool // a refused write is done nevertheless
	calls        int
	each         func(shard int, partition int32, now Mark, ws []Write)
}

func (m *meddling) Commit(ctx context.Context, shard int, p int32, was, now Mark, ws []Write) error {
	m.calls++
	if now.Phase == marker.Live && now.Next > 0 {
		if m.each != nil {
			m.each(shard, p, now, ws)
		}
		if m.lose > 0 {
			m.lose--
			c := *m.store.cells[shard][p]
			c.mark.Token = m.newToken()
			m.store.cells[shard][p] = &c
		}
		if m.refuse > 0 {
			m.refuse--
			if m.done {
				if err := m.port.Commit(ctx, shard, p, was, now, ws); err != nil {
					return err
				}
			}
			return fmt.Errorf("%w: test", m.err)
		}
	}
	return m.port.Commit(ctx, shard, p, was, now, ws)
}

// O1: a worker that loses two writes in a row to another's stands by; alone
// again, it goes on.
func TestStandBy(t *testing.T) {
	for lost, stands := range map[int]bool{1: false, 2: true} {
		b := newBench(t, 1, 1)
		b.start(&meddling{port: b.port, lose: lost})
		begun := b.now
		b.must(b.steps())
		b.whole()
		if stood := b.now.Sub(begun) >= 30*time.Second; stood != stands {
			t.Errorf("%d lost: %v passed", lost, b.now.Sub(begun))
		}
	}
	b := newBench(t, 1, 1)
	b.opt.MaxStandBys = 2
	b.start(&meddling{port: b.port, lose: 1000})
	if e, ok := errors.AsType[*StandByError](b.steps()); !ok || e.Times != 3 {
		t.Error(e)
	}
}

// K3: a new partition is adopted from offset 0 and noted.
func TestAddedPartition(t *testing.T) {
	b := newBench(t, 2, 2)
	b.opt.UntilEnd, b.opt.RefreshEvery = false, 10*time.Second
	all := b.visible
	b.visible = all[:1]
	b.start(nil)
	for range 5 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	b.visible = all
	for range 200 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	b.must(b.w.Drain(b.Context()))
	b.whole()
	if !slices.ContainsFunc(b.notices, func(n Notice) bool { return n.Partition == 1 && strings.Contains(n.Text, "adopted") }) {
		t.Errorf("not noted: %v", b.notices)
	}
}

// away is a source of which the topic cannot be described for a while.
type away struct {
	Source
	asked int
}

func (a *away) Cut(context.Context) (schemas.TopicCut, error) {
	a.asked++
	return schemas.TopicCut{}, marker.ErrUnavailable
}

// A topic that cannot be described is asked about as rarely as one that can:
// each question may take long, and flushes are due meanwhile.
func TestRefreshWhileAway(t *testing.T) {
	b := newBench(t, 2, 2)
	b.opt.UntilEnd, b.opt.RefreshEvery = false, 10*time.Second
	b.start(nil)
	_, err := b.w.Step(b.Context())
	b.must(err)
	gone := &away{Source: b.w.source}
	b.w.source = gone
	begin := b.now.Add(b.opt.RefreshEvery)
	b.now = begin
	for range 200 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	if most := 1 + int(b.now.Sub(begin)/b.opt.RefreshEvery); gone.asked == 0 || gone.asked > most {
		t.Errorf("asked %d times in %v, want 1 to %d", gone.asked, b.now.Sub(begin), most)
	}
}

// O3: a state that the log clock has left behind is removed by its owner; never
// one of a view with lifetime features, and none that a record still needs.
func TestSweep(t *testing.T) {
	const day = int64(86_400_000)
	for _, lifetime := range []bool{false, true} {
		b := newBench(t, 1, 1)
		b.shape.lifetime = lifetime
		var err error
		b.view, err = b.shape.definition()
		b.must(err)
		b.must(b.compile())
		at := func(offset, ms int64, ent string) event {
			return event{kind: 'd', offset: offset, stamp: ms, ent: ent, id: ent, ver: 1, et: ms * 1000, ok: true}
		}
		b.logs[0] = []event{at(0, 0, "a"), at(1, 6*day, "b"), {kind: 't', offset: 2, stamp: 13 * day}}
		b.visible[0] = 3
		b.opt.UntilEnd, b.opt.SweepEvery, b.opt.IdleEvery = false, time.Second, time.Second
		b.start(nil)
		for range 60 {
			_, err := b.w.Step(b.Context())
			b.must(err)
		}
		b.must(b.failure)
		want := []string{"\x04\x01b"}
		if lifetime {
			want = []string{"\x04\x01a", "\x04\x01b"}
		}
		if got := slices.Sorted(maps.Keys(b.store.cells[0][0].states)); !slices.Equal(got, want) {
			t.Errorf("lifetime %v: the store has %q, want %q", lifetime, got, want)
		}
	}
}

// V4, O3: an event ahead of its clock matters until it has left every window,
// and so do its state and its id, however far ahead max_future lets it lie.
func TestSweepLeavesWhatIsAhead(t *testing.T) {
	const day = int64(86_400_000)
	b := newBench(t, 1, 1)
	b.shape.future = "60d"
	var err error
	b.view, err = b.shape.definition()
	b.must(err)
	b.must(b.compile())
	ahead := func(offset, ms, et int64, ent string, ok bool) event {
		return event{kind: 'd', offset: offset, stamp: ms, ent: ent, id: ent, ver: 1, et: et * 1000, ok: ok}
	}
	b.logs[0] = []event{ahead(0, 0, 30*day, "a", true), ahead(1, 0, 30*day, "b", false), ahead(2, 0, 0, "c", true),
		{kind: 't', offset: 3, stamp: 20 * day}, {kind: 't', offset: 4, stamp: 70 * day}}
	b.opt.UntilEnd, b.opt.SweepEvery, b.opt.IdleEvery = false, time.Second, time.Second
	b.visible[0] = 4
	b.start(nil)
	for _, want := range [][]string{{"\x04\x01a", "\x04\x01b", "\x04\x01c"}, nil} {
		for range 60 {
			_, err := b.w.Step(b.Context())
			b.must(err)
		}
		b.must(b.failure)
		if got := slices.Sorted(maps.Keys(b.store.cells[0][0].states)); !slices.Equal(got, want) {
			t.Errorf("the store has %q, want %q", got, want)
		}
		b.visible[0] = 5
	}
}

// S2: a record that stops the pipeline stops it; what came before is written.
func TestIncompatibleStops(t *testing.T) {
	err := stopsAt(t, &registry.IDError{ID: 2, Kind: registry.ErrUnusable})
	if _, ok := errors.AsType[*reading.IncompatibleError](err); !ok {
		t.Error(err)
	}
}

// S1: a registry that lets nobody in is not asked for ever.
func TestDeniedStops(t *testing.T) {
	if err := stopsAt(t, fmt.Errorf("%w: status 401", registry.ErrDenied)); !errors.Is(err, registry.ErrDenied) {
		t.Error(err)
	}
}

// stopsAt runs a worker whose registry has an error in the place of the schema of
// record 20, and returns what it ends with.
func stopsAt(t *testing.T, err error) error {
	b := newBench(t, 1, 1)
	b.records = reading.NewSource(b.view, unusable{resolver{Resolver: testbed.Writers(b.view)}, err})
	for i := range b.logs[0] {
		if e := &b.logs[0][i]; i < 20 && e.kind == 'b' || i > 20 {
			e.kind, e.ver = 't', 0
		}
	}
	b.logs[0][20].kind, b.logs[0][20].ver = 'b', 1
	b.start(nil)
	err = b.w.Run(b.Context())
	if m := b.store.cells[0][0].mark; m.Next != b.logs[0][20].offset {
		t.Errorf("the marker stands at %d", m.Next)
	}
	return err
}

type unusable struct {
	resolver
	err error
}

func (u unusable) Writer(ctx context.Context, id int) (*registry.Writer, error) {
	if id == 2 {
		return nil, u.err
	}
	return u.resolver.Writer(ctx, id)
}

// locked lets several partitions call the simulated ports at once.
type locked struct {
	mu *sync.Mutex
	port
}

func (l locked) Marks(ctx context.Context, p int32) ([]Mark, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.port.Marks(ctx, p)
}

func (l locked) Load(ctx context.Context, p int32, ks []marker.Key) ([]marker.Stored, map[int]Mark, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.port.Load(ctx, p, ks)
}

func (l locked) Commit(ctx context.Context, shard int, p int32, was, now Mark, ws []Write) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.port.Commit(ctx, shard, p, was, now, ws)
}

func (l locked) Put(ctx context.Context, qs []Quarantined) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.port.Put(ctx, qs)
}

// A stop that is asked for writes what was read; partitions work side by side.
func TestGracefulStop(t *testing.T) {
	b := newBench(t, 3, 3)
	var mu sync.Mutex
	l := locked{&mu, b.port}
	b.opt = Options{Parallel: 4, MaxDirty: 3, FlushEvery: time.Hour, IdleEvery: time.Hour, SweepEvery: -1, PollWait: time.Millisecond}
	var err error
	b.w, err = New(b.view, b.records, b.source, l, l, b.opt)
	b.must(err)
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	stop, halt := context.WithCancel(ctx)
	for i := 0; ; i++ {
		_, err := b.w.Step(stop)
		b.must(err)
		read := 0
		for _, st := range b.w.Status() {
			if st.Read == b.visible[st.Partition] {
				read++
			}
		}
		if read == 3 {
			break
		}
		b.must(ctx.Err())
	}
	halt()
	b.must(b.w.Run(stop))
	b.whole()
}

func TestOptions(t *testing.T) {
	err := Options{FlushEvery: -1, Chunk: -1, Until: &schemas.TopicCut{}, UntilEnd: true}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not every fault is told: %v", err)
	}
}
