package gate_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/rows"
)

const orderSchema = `{"type":"record","name":"order","fields":[{"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"shop","type":"string"},{"name":"amount","type":["null","double"]},{"name":"paid","type":"boolean"},{"name":"name","type":"string"}]}`

// orderView has a feature of each kind of value.
func orderView(tb testing.TB) *transforms.View {
	tb.Helper()
	v, err := transforms.NewView(orderDefinition(tb).Spec)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func orderDefinition(tb testing.TB) *definition.View {
	tb.Helper()
	return testbed.View(tb, `
sources: {orders: {schema: order.avsc, event_time: time}}
views:
  v:
    source: orders
    entity: {shop: string}
    features:
      n:     {count: "*", over: 24h}
      mean:  {mean: amount, over: 24h}
      name:  {last: name, over: 24h}
      paid:  {last: paid, over: 24h}
      names: {last_k: name, k: 3, over: 24h}
      at:    {last: time, over: 24h}
`, orderSchema)
}

// date is a UTC midnight, in days since the epoch times a day.
func date(d int64) schemas.Micros { return schemas.Micros(d) * schemas.Day }

func present(v schemas.Value) transforms.Result {
	return transforms.Result{Value: v, Status: transforms.Present}
}

// orderRow is a row of features made of two numbers.
func orderRow(d int64, n int, x float64) rows.Feature {
	mean := present(schemas.DoubleValue(x))
	if math.Mod(math.Floor(x), 7) == 0 {
		mean = transforms.Result{Status: transforms.IsNull}
	}
	return rows.Feature{Entity: []byte(strconv.Itoa(n)), Boundary: date(d), Final: true, Results: []transforms.Result{
		present(schemas.IntValue(int64(n))), mean, present(schemas.StringValue(strconv.Itoa(n))), present(schemas.BoolValue(n%3 == 0)),
		present(schemas.ListValue([]schemas.Value{schemas.IntValue(int64(n)), schemas.IntValue(1)})),
		present(schemas.TimestampValue(date(d) - schemas.Micros(n+1)*schemas.Second)),
	}}
}

func encoded(b *gate.Builder) []byte {
	out, err := b.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return out
}

// B1, B6: what a Builder holds depends on the set of rows alone: not on their order,
// on how they are parted among builders, nor on goroutines; and its bytes hold all.
func TestBuilderIsOfTheSet(t *testing.T) {
	view := orderView(t)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 700).Draw(t, "rows")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var rs []rows.Feature
		for range n {
			rs = append(rs, orderRow(r.Int64N(4)-1, r.IntN(600)-50, r.NormFloat64()*math.Pow(10, float64(r.IntN(12)-3))))
		}
		whole := gate.New(view, schemas.Day)
		for i := range rs {
			if err := whole.Feature(&rs[i]); err != nil {
				t.Fatal(err)
			}
		}
		whole.Ledger(1, &transforms.Ledger{Applied: int64(n), Superseded: -2})
		r.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
		parts := []*gate.Builder{gate.New(view, schemas.Day), gate.New(view, schemas.Day), gate.New(view, schemas.Day)}
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := g; i < len(rs); i += 4 {
					if err := parts[i%3].Feature(&rs[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		parts[2].Ledger(1, &transforms.Ledger{Applied: int64(n)})
		parts[0].Ledger(1, &transforms.Ledger{Superseded: -2})
		merged := gate.New(view, schemas.Day)
		for _, p := range parts {
			read := gate.New(view, schemas.Day)
			if err := read.UnmarshalBinary(encoded(p)); err != nil {
				t.Fatal(err)
			}
			merged.Merge(read)
		}
		if !bytes.Equal(encoded(whole), encoded(merged)) {
			t.Fatalf("the parts of %d rows, merged, are not the whole", n)
		}
		stable(t, whole.Profiles(schemas.Forever))
	})
}

// B6: the figures are those of the values, worked out here by sorting them.
func TestFigures(t *testing.T) {
	view := orderView(t)
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Float64Range(-1e15, 1e15), 1, 400).Draw(t, "values")
		b := gate.New(view, schemas.Day)
		distinct := map[float64]bool{}
		for i, x := range xs {
			row := orderRow(0, i, 1)
			row.Results[1] = present(schemas.DoubleValue(x))
			distinct[x] = true
			if err := b.Feature(&row); err != nil {
				t.Fatal(err)
			}
		}
		v := b.Profiles(schemas.Forever)[0].Columns[1].Values
		slices.Sort(xs)
		if v.Min != xs[0] || v.Max != xs[len(xs)-1] {
			t.Fatalf("%v to %v, the values are %v to %v", v.Min, v.Max, xs[0], xs[len(xs)-1])
		}
		sum, size := 0.0, 0.0
		for _, x := range xs {
			sum, size = sum+x, size+math.Abs(x)
		}
		if d := math.Abs(v.Mean*float64(len(xs)) - sum); d > size/31+float64(len(xs))*0x1p-60 {
			t.Fatalf("mean %v, of the values %v", v.Mean, sum/float64(len(xs)))
		}
		for i, q := range []int{10, 50, 250, 500, 750, 950, 990} {
			want := xs[max(0, (len(xs)*q+999)/1000-1)]
			if got := v.Quantiles[i]; math.Abs(got-want) > math.Abs(want)/31+1e-9 {
				t.Fatalf("quantile %d: %v, of the values %v", q, got, want)
			}
		}
		if n := len(distinct); n < 256 && v.Distinct != int64(n) || n >= 256 && math.Abs(float64(v.Distinct)-float64(n)) > 0.3*float64(n) {
			t.Fatalf("%d distinct values, there are %d", v.Distinct, n)
		}
	})
}

// B6: what stands for the values of each kind, and the statuses.
func TestKinds(t *testing.T) {
	b := gate.New(orderView(t), schemas.Day)
	for n := range 30 {
		row := orderRow(3, n, 1)
		if n < 3 {
			row.Results[1] = transforms.Result{Status: transforms.Overflow}
		}
		if err := b.Feature(&row); err != nil {
			t.Fatal(err)
		}
	}
	p := b.Profiles(date(3))[0]
	if !p.Final || p.Closed || p.Rows != 30 || p.Day.String() != "1970-01-04" {
		t.Errorf("final %v, closed %v, %d rows of %v", p.Final, p.Closed, p.Rows, p.Day)
	}
	for i, want := range []string{"0 to 29, 30", "1 to 1, 1", "1 to 2, 30", "0 to 1, 2", "2 to 2, 30", "1 to 30, 30"} {
		v := p.Columns[i].Values
		if got := fmt.Sprintf("%v to %v, %d", v.Min, v.Max, v.Distinct); got != want {
			t.Errorf("column %s: %s, want %s", p.Columns[i].Name, got, want)
		}
	}
	if c := p.Columns[1]; c.Nulls != 3 || c.Status["OVERFLOW"] != 3 || c.Status["PRESENT"] != 27 {
		t.Errorf("column %s: %d nulls, statuses %v", c.Name, c.Nulls, c.Status)
	}
	if got := b.Profiles(date(4))[0]; !got.Closed {
		t.Error("a day that ends at the closed instant is not closed")
	}
	if got := b.Profiles(schemas.Never)[0]; got.Final || got.Closed {
		t.Error("with an empty partition something is final")
	}
	provisional := orderRow(3, 40, 1)
	provisional.Final = false
	if err := b.Feature(&provisional); err != nil {
		t.Fatal(err)
	}
	if got := b.Profiles(date(4))[0]; got.Final {
		t.Error("a date with a provisional row is final")
	}
	bad := orderRow(3, 1, 1)
	bad.Results = bad.Results[1:]
	if b.Feature(&bad) == nil || b.Tile(&rows.Tile{Tile: transforms.Tile{Hop: schemas.Hour, Events: 1, Cells: "\x01"}}) == nil {
		t.Error("a row that is none of the view's is counted")
	}
}

// B5: what a run counts of a day adds to what the runs before it have left.
func TestCarry(t *testing.T) {
	view := orderView(t)
	first := gate.New(view, schemas.Day)
	for d := int64(1); d < 4; d++ {
		row := orderRow(d, 1, 1)
		row.Final = d < 3
		if err := first.Feature(&row); err != nil {
			t.Fatal(err)
		}
		first.Ledger(d, &transforms.Ledger{Applied: 5})
	}
	carry := first.Carry(date(2) + schemas.Hour) // day 1 is closed, date 2 final, date 3 neither
	row := orderRow(3, 1, 1)
	if err := carry.Feature(&row); err != nil {
		t.Fatal(err)
	}
	carry.Ledger(3, &transforms.Ledger{Applied: 2, Late: 1})
	carry.Ledger(1, &transforms.Ledger{Late: 4})         // of a day that was closed
	carry.Ledger(-1<<62, &transforms.Ledger{Invalid: 9}) // of none
	read := gate.New(view, schemas.Day)
	if err := read.UnmarshalBinary(encoded(carry)); err != nil {
		t.Fatal(err)
	}
	ps := read.Profiles(date(9))
	if len(ps) != 2 || ps[0].Day != 2 || ps[0].Rows != 1 || ps[0].Ledger.Applied != 5 || ps[0].Ledger.Late != 4 || ps[1].Rows != 1 || ps[1].Ledger.Applied != 7 || ps[1].Ledger.Late != 1 || !ps[1].Final {
		t.Errorf("after the second run: %+v", ps)
	}
	if text, err := (&gate.Record{Profiles: ps}).Encode(); err != nil {
		t.Error(err)
	} else if _, err := gate.Decode(text); err != nil {
		t.Errorf("columns do not fit the rows: %v", err)
	}
}

// B6: the tiles of a day hold, on each level, its events, and what each column has
// taken of them.
func TestTiles(t *testing.T) {
	def := orderDefinition(t)
	view, err := transforms.NewView(def.Spec)
	if err != nil {
		t.Fatal(err)
	}
	b, s, in := gate.New(view, schemas.Day), view.NewState(0), view.NewInput()
	for i := range 48 { // four an hour for half of each of two days; every third has no amount
		at := date(int64(i/24)) + schemas.Micros(i%24)*15*schemas.Minute
		e := &schemas.Event{Offset: int64(i), Clock: at, EventTime: at, Fields: make([]schemas.Value, len(def.Source.Paths))}
		for slot, path := range def.Source.Paths {
			switch path {
			case "time":
				e.Fields[slot] = schemas.TimestampValue(at)
			case "paid":
				e.Fields[slot] = schemas.BoolValue(true)
			case "amount":
				if i%3 != 0 {
					e.Fields[slot] = schemas.DoubleValue(float64(i))
				}
			default:
				e.Fields[slot] = schemas.StringValue("x")
			}
		}
		view.Prepare(in, e)
		view.Step(s, in)
	}
	for _, tile := range view.Tiles(s, schemas.Forever) {
		if err := b.Tile(&rows.Tile{Tile: tile}); err != nil {
			t.Fatal(err)
		}
	}
	ps := b.Profiles(schemas.Forever)
	if len(ps) != 2 || len(ps[0].Tiles) != 1 || ps[0].Tiles[0] != (gate.Tiles{Hop: schemas.Hour, Rows: 6, Events: 24}) {
		t.Fatalf("%+v", ps)
	}
	got := map[string]string{}
	for _, in := range ps[1].Inputs {
		got[fmt.Sprint(in.Columns)] = fmt.Sprint(in.Taken, " of ", in.Of)
	}
	for column, want := range map[string]string{"[mean_24h]": "16 of 24", "[name_24h]": "6 of 6", "[paid_24h]": "6 of 6", "[names_24h]": "18 of 24"} {
		if got[column] != want {
			t.Errorf("%s took %q, want %s; all: %v", column, got[column], want, got)
		}
	}
}

// S3: hostile bytes give a typed error, and what is read is written again as it was.
func FuzzUnmarshal(f *testing.F) {
	view := orderView(f)
	b := gate.New(view, schemas.Day)
	f.Add(encoded(b))
	for n := range 12 {
		row := orderRow(int64(n%2), n, float64(n)*1.7-20)
		if err := b.Feature(&row); err != nil {
			f.Fatal(err)
		}
	}
	b.Ledger(1, &transforms.Ledger{Applied: 5, Superseded: -1})
	f.Add(encoded(b))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := gate.New(view, schemas.Day)
		err := b.UnmarshalBinary(in)
		var malformed *gate.MalformedError
		if err != nil {
			if !errors.As(err, &malformed) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if out := encoded(b); !bytes.Equal(in, out) {
			t.Fatalf("%x is written as %x", in, out)
		}
		b.Profiles(schemas.Forever)
	})
}

// FuzzDecode: likewise for the record of a commit, which Judge must bear.
func FuzzDecode(f *testing.F) {
	b := gate.New(orderView(f), schemas.Day)
	for n := range 20 {
		row := orderRow(int64(n%10), n, float64(n)*1.7-20)
		if err := b.Feature(&row); err != nil {
			f.Fatal(err)
		}
	}
	seed, err := (&gate.Record{Profiles: b.Profiles(schemas.Forever)}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("{}"))
	f.Add([]byte(`{"fingerprint":"a","settled":[{"table":"features","date":"2013-02-09","statistic":"mean","is":1}],"profiles":[{"date":"2013-02-09","final":true,"closed":true,"rows":0,"columns":null,"ledger":{}}]} `))
	f.Fuzz(func(t *testing.T, in []byte) {
		rec, err := gate.Decode(in)
		var malformed *gate.MalformedError
		if err != nil {
			if !errors.As(err, &malformed) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		stable(t, rec.Profiles)
		next, err := gate.Judge(rec, rec.Fingerprint, rec.Profiles, gate.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		next.Report.Lines()
		next.Accept(gate.Acceptance{})
		if _, err := next.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkFeature is what the gate adds to a row of six features.
func BenchmarkFeature(b *testing.B) {
	g := gate.New(orderView(b), schemas.Day)
	var rs []rows.Feature
	for n := range 4096 {
		rs = append(rs, orderRow(int64(n%30), n%1000, float64(n)*1.7-20))
	}
	b.ReportAllocs()
	for i := range b.N {
		if err := g.Feature(&rs[i%len(rs)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(6*b.N), "ns/value")
}

// BenchmarkTile is what the gate adds to a tile of four cells.
func BenchmarkTile(b *testing.B) {
	def := orderDefinition(b)
	view, err := transforms.NewView(def.Spec)
	if err != nil {
		b.Fatal(err)
	}
	s, in := view.NewState(0), view.NewInput()
	for i := range 24 {
		at := schemas.Micros(i) * schemas.Hour
		e := &schemas.Event{Offset: int64(i), Clock: at, EventTime: at, Fields: make([]schemas.Value, len(def.Source.Paths))}
		for slot, path := range def.Source.Paths {
			switch path {
			case "time":
				e.Fields[slot] = schemas.TimestampValue(at)
			case "paid":
				e.Fields[slot] = schemas.BoolValue(true)
			case "amount":
				e.Fields[slot] = schemas.DoubleValue(float64(i))
			default:
				e.Fields[slot] = schemas.StringValue("a name")
			}
		}
		view.Prepare(in, e)
		view.Step(s, in)
	}
	tiles, g := view.Tiles(s, schemas.Forever), gate.New(view, schemas.Day)
	b.ReportAllocs()
	for i := range b.N {
		if err := g.Tile(&rows.Tile{Tile: tiles[i%len(tiles)]}); err != nil {
			b.Fatal(err)
		}
	}
}

// stable fails where profiles are other bytes once they have been read.
func stable(t rapid.TB, ps []gate.Profile) {
	t.Helper()
	a, err := (&gate.Record{Profiles: ps}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := gate.Decode(a)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := again.Encode(); err != nil || !bytes.Equal(a, b) {
		t.Fatalf("profiles read and written again differ: %v\n%s\n%s", err, a, b)
	}
}

// Days a whole range of int64 apart are kept in their order.
func TestKeepFarDays(t *testing.T) {
	far := []gate.Profile{{Day: math.MinInt64 + 1, Closed: true}, {Day: 0, Closed: true}, {Day: math.MaxInt64 - 1, Closed: true}}
	kept := gate.Keep(far[:2], far[2:], gate.Options{})
	if len(kept) != 3 || kept[0].Day != far[0].Day || kept[2].Day != far[2].Day {
		t.Errorf("kept %v", kept)
	}
}
