package transforms_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

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

// population is the fold of the workload over its 100,000 users.
type population struct {
	v      *transforms.View
	g      *purchases
	states []*transforms.State
	in     *transforms.Input
	ev     schemas.Event
	names  []string
	clock  schemas.Clock
}

const fullStep = 86_400 // µs between events: 10 million in 10 days

func newPopulation(tb testing.TB) *population {
	p := &population{v: viewV1(tb), g: newPurchases(), states: make([]*transforms.State, 100_000), names: make([]string, 100_000)}
	p.in = p.v.NewInput()
	p.ev.Fields = make([]schemas.Value, 3)
	for i := range p.states {
		p.states[i] = p.v.NewState(0)
		p.names[i] = "u" + strconv.Itoa(i)
	}
	return p
}

func (p *population) step() int {
	user, amount, at, ts := p.g.next(fullStep)
	p.ev.Offset++
	p.ev.Timestamp, p.ev.EventTime = at, ts
	p.ev.Fields[0], p.ev.Fields[1] = schemas.StringValue(p.names[user]), schemas.DoubleValue(amount)
	p.clock.Stamp(&p.ev)
	p.v.Prepare(p.in, &p.ev)
	p.v.Step(p.states[user], p.in)
	return user
}

const steady = 8_000_000

// warm folds the first events of the workload, so that tiles are in steady
// state. The benchmarks go on from it, one after the other.
var warm = sync.OnceValue(func() *population {
	p := newPopulation(new(testing.B))
	for range steady {
		p.step()
	}
	return p
})

func BenchmarkStep(b *testing.B) {
	p := warm()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		p.step()
	}
}

func BenchmarkGenerate(b *testing.B) { // what BenchmarkStep spends outside the engine
	g := newPurchases()
	for range b.N {
		g.next(fullStep)
	}
}

// BenchmarkMapUpdate is the least that any program does with an event: one
// update of a map of three plain numbers, without exactness, windows or time.
func BenchmarkMapUpdate(b *testing.B) {
	type sums struct {
		n        int64
		sum, max float64
	}
	g := newPurchases()
	names := make([]string, 100_000)
	for i := range names {
		names[i] = "u" + strconv.Itoa(i)
	}
	m := map[string]*sums{}
	update := func() {
		user, amount, _, _ := g.next(fullStep)
		x := m[names[user]]
		if x == nil {
			x = &sums{max: amount}
			m[names[user]] = x
		}
		x.n++
		x.sum += amount
		x.max = max(x.max, amount)
	}
	for range steady {
		update()
	}
	b.ResetTimer()
	for range b.N {
		update()
	}
}

func BenchmarkEncode(b *testing.B) {
	p := warm()
	users := make([]int, 1<<16)
	for i := range users {
		users[i] = p.step()
	}
	var buf []byte
	var bytes int64
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		buf = p.v.AppendServed(buf[:0], p.states[users[i&(1<<16-1)]])
		bytes += int64(len(buf))
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "B/state")
}

func BenchmarkParse(b *testing.B) {
	p := warm()
	enc := make([][]byte, 1<<12)
	for i := range enc {
		enc[i] = p.v.AppendServed(nil, p.states[p.step()])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := p.v.Parse(enc[i&(1<<12-1)], nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValue(b *testing.B) {
	p := warm()
	users := make([]int, 1<<12)
	for i := range users {
		users[i] = p.step()
	}
	t := p.clock.Now() + 1
	dst := make([]transforms.Result, 0, 8)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		var err error
		if dst, err = p.v.Value(dst[:0], t, p.states[users[i&(1<<12-1)]]); err != nil {
			b.Fatal(err)
		}
	}
}
