package transforms_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

var purchaseFields = expr.Fields{
	{Path: "user_id", Type: expr.Type{Kind: schemas.String}},
	{Path: "amount", Type: expr.Type{Kind: schemas.Double}},
	{Path: "event_id", Type: expr.Type{Kind: schemas.String}},
}

func program(tb testing.TB, src string) *expr.Program {
	p, err := expr.Compile(src, purchaseFields)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// viewV1 is view V1 of the benchmark workload: per user count, sum and max of
// amount over 1 h (hop 5 min) and 24 h (hop 1 h), sum over 7 d (hop 1 h),
// lateness 2 h.
func viewV1(tb testing.TB) *transforms.View {
	win := func(w, hop schemas.Micros) transforms.Window {
		return transforms.Window{Kind: transforms.Sliding, Length: w, Hop: hop}
	}
	short, day, week := win(schemas.Hour, 5*schemas.Minute), win(24*schemas.Hour, schemas.Hour), win(7*schemas.Day, schemas.Hour)
	f := func(name string, a transforms.Aggregation, in int, w transforms.Window, k schemas.Kind) transforms.Feature {
		return transforms.Feature{Name: name, Aggregation: a, Input: in, Filter: -1, Window: w, Kind: k}
	}
	v, err := transforms.NewView(transforms.Spec{
		Name: "purchases", Lateness: 2 * schemas.Hour, MaxFuture: 5 * schemas.Minute, Shards: 16,
		Key:    []transforms.KeyField{{Name: "user_id", Kind: schemas.String, Expr: program(tb, "user_id")}},
		Inputs: []*expr.Program{program(tb, "amount")},
		Features: []transforms.Feature{
			f("n_1h", transforms.Count, -1, short, schemas.Int),
			f("sum_1h", transforms.Sum, 0, short, schemas.Double),
			f("max_1h", transforms.Max, 0, short, schemas.Double),
			f("n_24h", transforms.Count, -1, day, schemas.Int),
			f("sum_24h", transforms.Sum, 0, day, schemas.Double),
			f("max_24h", transforms.Max, 0, day, schemas.Double),
			f("sum_7d", transforms.Sum, 0, week, schemas.Double),
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// purchases generates the workload's events in its order.
type purchases struct {
	r *rand.Rand
	z *rand.Zipf
	i int64
}

func newPurchases() *purchases {
	r := rand.New(rand.NewPCG(1, 1))
	return &purchases{r: r, z: rand.NewZipf(r, 1.1, 1, 99_999)}
}

const purchasesStart = schemas.Micros(1767225600_000000) // 2026-01-01

func (g *purchases) next(step int64) (user int, amount float64, at, ts schemas.Micros) {
	user = int(g.z.Uint64())
	g.r.Uint64()
	g.r.IntN(10_000)
	amount = float64(1+g.r.IntN(50_000)) / 100
	g.r.IntN(5)
	a := purchasesStart + schemas.Micros(g.i*step)
	ts = a + schemas.Micros(g.r.Int64N(60_000001)-30_000000)
	if g.r.IntN(100) == 0 {
		ts -= schemas.Micros(g.r.Int64N(3600_000000))
	}
	g.i++
	return user, amount, a + 30_000000, ts
}

// population is the fold of the workload over its 100,000 users, a chunk of
// records at a time, as the stream worker folds it.
type population struct {
	v      *transforms.View
	g      *purchases
	states []*transforms.State
	clock  schemas.Clock
	offset int64

	users    [chunk]int
	record   []byte // the text that the events alias
	events   [chunk]schemas.Event
	ins      []*transforms.Input
	near     [chunk]*transforms.State
	warmed   time.Duration // fold's share that Warm took
	prepared time.Duration // likewise, Prepare
}

const (
	fullStep = 86_400 // µs between events: 10 million in 10 days
	chunk    = 256    // records, as stream.Options
	warmth   = 32     // states, as package stream
)

func newPopulation(tb testing.TB) *population {
	p := &population{v: viewV1(tb), g: newPurchases(), states: make([]*transforms.State, 100_000)}
	p.ins, p.record = p.v.NewInputs(chunk), make([]byte, 0, 8*chunk)
	for i := range p.events {
		p.events[i].Fields = make([]schemas.Value, 3)
	}
	for i := range p.states {
		p.states[i] = p.v.NewState(0)
	}
	return p
}

// generate makes up the next chunk of events.
func (p *population) generate() {
	p.record = p.record[:0]
	for i := range p.events {
		user, amount, at, ts := p.g.next(fullStep)
		e := &p.events[i]
		p.offset++
		e.Offset, e.Timestamp, e.EventTime = p.offset, at, ts
		from := len(p.record)
		p.record = strconv.AppendInt(append(p.record, 'u'), int64(user), 10)
		name := unsafe.String(&p.record[from], len(p.record)-from)
		e.Fields[0], e.Fields[1] = schemas.StringValue(name), schemas.DoubleValue(amount)
		p.clock.Stamp(e)
		p.users[i], p.near[i] = user, p.states[user]
	}
}

// fold folds the chunk: what the benchmark of Step measures.
func (p *population) fold() {
	from := time.Now()
	for i := range p.events {
		p.v.Prepare(p.ins[i], &p.events[i])
	}
	p.prepared += time.Since(from)
	for i, s := range p.near {
		if i%warmth == 0 {
			from := time.Now()
			transforms.Warm(p.near[i : i+warmth])
			p.warmed += time.Since(from)
		}
		p.v.Step(s, p.ins[i])
	}
}

// next folds n events and returns the states that they changed.
func (p *population) next(n int) []*transforms.State {
	var list []*transforms.State
	for len(list) < n {
		p.generate()
		p.fold()
		list = append(list, p.near[:]...)
	}
	return list[:n]
}

const steady = 8_000_000

// warm folds the first events of the workload, so that tiles are in steady
// state. The benchmarks go on from it, one after the other.
var warm = sync.OnceValue(func() *population {
	p := newPopulation(new(testing.B))
	for range steady / chunk {
		p.generate()
		p.fold()
	}
	return p
})

// BenchmarkStep folds the workload: Prepare, Warm and Step, and what each takes.
func BenchmarkStep(b *testing.B) {
	p := warm()
	p.warmed, p.prepared = 0, 0
	spent, events := p.measure(b, p.fold)
	for name, d := range map[string]time.Duration{"prepare": p.prepared, "warm": p.warmed, "step": spent - p.prepared - p.warmed} {
		b.ReportMetric(float64(d.Nanoseconds())/float64(events), name+"-ns/event")
	}
}

// measure reports what f takes per event of the next chunks, as ns/event: ns/op
// counts the generator, too.
func (p *population) measure(b *testing.B, f func()) (spent time.Duration, events int) {
	b.ReportAllocs()
	b.ResetTimer()
	for ; events < b.N; events += chunk {
		p.generate()
		from := time.Now()
		f()
		spent += time.Since(from)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(events), "ns/event")
	return spent, events
}

// BenchmarkMapUpdate is the least that any program does with an event: one
// update of a map of three plain numbers, without exactness, windows or time.
func BenchmarkMapUpdate(b *testing.B) {
	type sums struct {
		n        int64
		sum, max float64
	}
	p, m := newPopulation(b), map[string]*sums{}
	update := func() {
		for i := range p.events {
			name, amount := p.events[i].Fields[0].Text(), p.events[i].Fields[1].Double()
			x := m[name]
			if x == nil {
				x = &sums{max: amount}
				m[strings.Clone(name)] = x
			}
			x.n++
			x.sum += amount
			x.max = max(x.max, amount)
		}
	}
	for range steady / chunk {
		p.generate()
		update()
	}
	p.measure(b, update)
}

// BenchmarkEncode writes what a flush writes: the states that changed since the
// last one, each once, as soon as there are 512 (O1).
func BenchmarkEncode(b *testing.B) {
	p := warm()
	encodes(b, p, func() []*transforms.State {
		dirty, list := map[int]bool{}, []*transforms.State(nil)
		for len(list) < 512 {
			p.generate()
			p.fold()
			for i, u := range p.users {
				if !dirty[u] {
					dirty[u] = true
					list = append(list, p.near[i])
				}
			}
		}
		return list
	})
}

// BenchmarkEncodeByEvent writes a state anew for each event, so that the largest,
// which most events belong to, are written most often.
func BenchmarkEncodeByEvent(b *testing.B) {
	p := warm()
	encodes(b, p, func() []*transforms.State {
		p.generate()
		p.fold()
		return p.near[:]
	})
}

// encodes writes the served part of states, and the old one where it is another one
// than was written last. All have been written before.
func encodes(b *testing.B, p *population, next func() []*transforms.State) {
	var buf []byte
	var spent time.Duration
	states, bytes, olds := 0, 0, 0
	written := map[*transforms.State]int32{}
	for _, s := range p.states {
		buf = p.v.AppendServed(buf[:0], s)
		written[s] = p.v.OldVersion(s)
	}
	b.ResetTimer()
	for states < b.N {
		list := next()
		had := make([]int32, len(list))
		for i, s := range list {
			had[i] = written[s]
		}
		from := time.Now()
		for i, s := range list {
			if i%warmth == 0 {
				transforms.WarmBytes(list[i:min(i+warmth, len(list))])
			}
			buf = buf[:0]
			if v := p.v.OldVersion(s); v != had[i] {
				buf = p.v.AppendOld(buf, s)
				olds++
				had[i] = v
			}
			buf = p.v.AppendServed(buf, s)
			bytes += len(buf)
		}
		spent += time.Since(from)
		states += len(list)
		for i, s := range list {
			written[s] = had[i]
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(states), "ns/state")
	b.ReportMetric(float64(bytes)/float64(states), "B/state")
	b.ReportMetric(float64(olds)/float64(states), "olds/state")
}

func BenchmarkParse(b *testing.B) {
	p := warm()
	enc := make([]transforms.Parts, 1<<12)
	for i, s := range p.next(len(enc)) {
		enc[i] = p.v.Encode(s)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := p.v.Parse(enc[i&(1<<12-1)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValue(b *testing.B) {
	p := warm()
	states := p.next(1 << 12)
	t := p.clock.Now() + 1
	dst := make([]transforms.Result, 0, 8)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		var err error
		if dst, err = p.v.Value(dst[:0], t, states[i&(1<<12-1)]); err != nil {
			b.Fatal(err)
		}
	}
}
