package integration

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

var (
	gateRewrite = flag.Bool("gate-rewrite", false, "write the figures of docs/gate.md anew")
	gateFull    = flag.Bool("gate-full", false, "measure all that docs/gate.md says (make gate), not only some of it")
)

// gateWhole tells whether docs/gate.md is held against what is measured.
func gateWhole() bool { return *gateFull || *gateRewrite }

// gateDays are the days from which on faults are there.
func gateDays() []string {
	if gateWhole() {
		return gateFrom
	}
	return gateFrom[:1]
}

// gateMessages are the demo's messages by source, read once.
var gateMessages = sync.OnceValues(func() (map[string][]flights.Message, error) {
	out := map[string][]flights.Message{}
	for name, source := range map[string]func(func(flights.Message) error) error{"flights": flights.Flights, "weather": flights.Weather} {
		if err := source(func(m flights.Message) error { out[name] = append(out[name], m); return nil }); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// moreViews are of the demo's sources as well: few rows a date and many, columns of every
// kind, and what is nearly always 0.
const moreViews = `
  by_carrier:
    source: flights
    entity: {carrier: string}
    shards: 2
    features:
      n:      {count: "*", over: [24h, 3d]}
      delay:  {mean: dep_delay_min, over: [24h, {days: 7}]}
      spread: {stddev_pop: dep_delay_min, over: 3d}
      p90:    {quantile: dep_delay_min, q: 0.9, over: 24h}
      miles:  {sum: distance_mi, over: 24h}
      dests:  {count_distinct: dest, over: 24h}
      last:   {last: status, over: 24h}
      some:   {last_k: tailnum, k: 5, over: 24h}
      far:    {max_by: dest, by: distance_mi, over: 24h}
      late:   {count: "*", where: dep_delay_min > 15.0, over: 24h}
      late_share: {expr: "double(late_24h) / double(n_24h)"}
  by_flight:
    source: flights
    entity: {carrier: string, flight: string}
    shards: 2
    features:
      n:     {count: "*", over: [2d, 14d]}
      delay: {mean: arr_delay_min, over: 14d}
      air:   {mean: air_time_min, over: 14d}
      first: {first: event_time, over: 14d}
  sky:
    source: weather
    entity: {origin: string}
    shards: 1
    features:
      gust:     {max: wind_gust_mph, over: 24h}
      pressure: {mean: pressure_mb, over: 24h}
      humid:    {mean: humid_pct, over: [6h, 24h]}
      rain:     {sum: precip_in, over: 24h}
      cold:     {min: temp_f, over: 24h}
`

// gateWorld is a definition over the demo's sources.
type gateWorld struct {
	*testing.T
	def *definition.Definition
}

func newGateWorld(t *testing.T) *gateWorld {
	t.Helper()
	def, err := definition.Load("../examples/flights/tallystick.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return &gateWorld{t, def}
}

// newMoreWorld is moreViews.
func newMoreWorld(t *testing.T) *gateWorld {
	t.Helper()
	path := "../examples/flights/tallystick.yaml"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sources, _, _ := strings.Cut(string(b), "\nviews:")
	def, err := definition.Parse(path, []byte(sources+"\nviews:"+moreViews), func(p string) ([]byte, error) { return os.ReadFile(p) })
	if err != nil {
		t.Fatal(err)
	}
	return &gateWorld{t, def}
}

func (w *gateWorld) view(name string) *definition.View {
	w.Helper()
	i := slices.IndexFunc(w.def.Views, func(v *definition.View) bool { return v.Name == name })
	if i < 0 {
		w.Fatalf("the demo has no view %s", name)
	}
	return w.def.Views[i]
}

// honest returns the messages of a view's source.
func (w *gateWorld) honest(v *definition.View) []flights.Message {
	w.Helper()
	all, err := gateMessages()
	if err != nil {
		w.Fatal(err)
	}
	return all[v.Source.Topic]
}

// replay folds messages, laid out over partitions as the demo does, and returns
// the profiles of every day.
func (w *gateWorld) replay(v *definition.View, messages []flights.Message) []gate.Profile {
	w.Helper()
	l := w.logOf(v, messages)
	writers, err := reading.Writers(v.Source, "")
	if err != nil {
		w.Fatal(err)
	}
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		w.Fatal(err)
	}
	b := gate.New(engine, v.Snapshots)
	dir := w.TempDir()
	work := gateWork{wire.Work{Work: offline.NewWork(offline.NewScratch(dir), "units", nil)}, b}
	run := &batch.Replay{View: v, Source: reading.NewSource(v, writers), Log: l, Cut: l.cut(), Parallel: 2, Memory: 64 << 20, SpillDir: dir, ValidFrom: schemas.Never, Work: work}
	rep, err := run.Run(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for k, day := range rep.Days {
		if k.Day != batch.NoDay {
			b.Ledger(k.Day, day)
		}
	}
	return b.Profiles(slices.Min(slices.Collect(maps.Values(rep.Clocks))).SubSat(v.Spec.MaxLateness()))
}

// gateWork is a work area of whose rows the gate sees everything.
type gateWork struct {
	wire.Work
	b *gate.Builder
}

func (w gateWork) Begin(ctx context.Context, unit string, memory int) (batch.Output, error) {
	o, err := w.Work.Begin(ctx, unit, memory)
	return gateOutput{o, w.b}, err
}

type gateOutput struct {
	batch.Output
	b *gate.Builder
}

func (o gateOutput) Feature(r rows.Feature) error { return o.b.Feature(&r) }
func (o gateOutput) Tile(r rows.Tile) error       { return o.b.Tile(&r) }

// publish runs the gate as if every n days had been published after the former, as
// long as it lets them pass; 0 = all at once. It returns what the gate said of each
// publication, and stops at the first that is held.
func (w *gateWorld) publish(ps []gate.Profile, n int) (out []*gate.Report) {
	w.Helper()
	if n == 0 {
		n = len(ps)
	}
	for i := 0; i < len(ps); i += n {
		r, err := gate.Check(ps[max(0, i-40):i], ps[i:min(len(ps), i+n)], gate.DefaultOptions())
		if err != nil {
			w.Fatal(err)
		}
		if out = append(out, r); len(r.Breaches) > 0 {
			break
		}
	}
	return out
}

// TestGateHonestYear: a gate that cries wolf is switched off. The year of the demo,
// with its storms, outages and corrections, passes without a breach, whether it is
// published at once, by the week or by the day (B6).
func TestGateHonestYear(t *testing.T) {
	w := newGateWorld(t)
	views := slices.Concat(w.def.Views, newMoreWorld(t).def.Views)
	var table strings.Builder
	table.WriteString("| view | rows on 1 July | dates | of them without a baseline | columns | checks | false alarms, all at once | by the week | by the day |\n|---|---|---|---|---|---|---|---|---|\n")
	used, all := map[gate.Statistic]float64{}, 0
	for _, v := range views {
		ps := w.honestYear(v)
		july := slices.IndexFunc(ps, func(p gate.Profile) bool { return p.Day.String() == "2013-07-01" })
		var alarms []string
		var whole *gate.Report
		for _, n := range []int{0, 7, 1} {
			sum := 0
			for _, r := range w.publish(ps, n) {
				if sum += len(r.Breaches); len(r.Breaches) > 0 {
					t.Errorf("view %s, published every %d days:\n%s", v.Name, n, strings.Join(r.Lines(), "\n"))
				}
				if n == 0 {
					whole = r
				}
			}
			alarms = append(alarms, fmt.Sprint(sum))
		}
		all += whole.Checks
		for s, x := range whole.Used {
			used[s] = max(used[s], x)
		}
		fmt.Fprintf(&table, "| `%s` | %d | %d | %d | %d | %d | %s |\n", v.Name, ps[july].Rows, whole.Dates, len(whole.NoBaseline), len(ps[0].Columns), whole.Checks, strings.Join(alarms, " | "))
	}
	if all < 150_000 {
		t.Errorf("only %d checks: the test looks at little", all)
	}
	gateDocs(t, "honest year", table.String())
	t.Logf("%d checks\n%s", all, table.String())
	table.Reset()
	table.WriteString("| statistic | most of its room that an honest date has used |\n|---|---|\n")
	statistics := slices.SortedFunc(maps.Keys(used), func(a, b gate.Statistic) int {
		return strings.Compare(fmt.Sprintf("%.2f%s", 9-used[a], a), fmt.Sprintf("%.2f%s", 9-used[b], b))
	})
	for _, s := range statistics {
		if used[s] >= 0.1 {
			fmt.Fprintf(&table, "| %s | %.0f %% |\n", s, 100*used[s])
		}
	}
	t.Log("\n" + table.String())
	gateDocs(t, "room used", table.String())
}

// gateDocs compares a part of docs/gate.md, between two comments, with what there is.
func gateDocs(t *testing.T, part, there string) {
	t.Helper()
	d := newDocument(t, "gate.md")
	begin, end := "<!-- "+part+" -->\n", "<!-- end -->"
	before, rest, found := strings.Cut(d.text, begin)
	says, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("docs/gate.md has no part %q", part)
	}
	switch {
	case says == there:
	case *gateRewrite:
		if err := os.WriteFile("../docs/gate.md", []byte(before+begin+there+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/gate.md, %s: the page says\n%s\nbut there is\n%s\n(rewrite with -gate-rewrite)", part, says, there)
	}
}
