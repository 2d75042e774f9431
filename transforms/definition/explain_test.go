package definition

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

const explainable = `sources:
  flights: {schema: schemas/flight.v2.avsc, event_time: event_time, lateness: 2h, max_future: 1h}
views:
  v:
    source: flights
    entity: {dest: string}
    where: status != "diverted"
    features:
`

// feed folds events of one entity at these times, each with a delay, and returns
// the results as of t.
func feed(t *testing.T, v *View, at schemas.Micros, times []schemas.Micros, delays []schemas.Value, from schemas.Micros) []transforms.Result {
	t.Helper()
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		t.Fatal(err)
	}
	s, in := engine.NewState(0), engine.NewInput()
	for i, x := range times {
		e := schemas.Event{Offset: int64(i), Clock: min(x, at-1), EventTime: x, Fields: make([]schemas.Value, len(v.Source.Paths))}
		for j, p := range v.Source.Paths {
			switch p {
			case "dest", "status":
				e.Fields[j] = schemas.StringValue("LAX")
			case "dep_delay_min":
				e.Fields[j] = delays[i]
			}
		}
		engine.Prepare(in, &e)
		if r := engine.Step(s, in); r.Outcome != transforms.Applied {
			t.Fatalf("event %d: %v", i, r)
		}
	}
	out, err := engine.ValueFrom(nil, at, from, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// V3: the interval that is explained is the one that the engine counts in, to
// the microsecond, for every kind of window.
func TestExplainedIntervalIsCounted(t *testing.T) {
	d := mustParse(t, explainable+`      n: {count: "*", over: [90m, 24h, {window: 7d, hop: 5m}, {days: 1}, {days: 3}, {weeks: 2}, {months: 2}, {days: 1, exclude_current: true}, {weeks: 1, exclude_current: true}, {months: 1, exclude_current: true}]}
      all: {count: "*", over: lifetime}
      r: {expr: n_90m + n_24h}
`)
	v := d.Views[0]
	at, err := schemas.ParseInstant("2026-03-11T14:23:45.678901Z")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range v.Spec.Features {
		if f.Derived != nil {
			continue
		}
		x, err := v.Explain(i, at)
		if err != nil {
			t.Fatal(err)
		}
		if x.Closes != x.To+2*schemas.Hour || x.From != schemas.Never && x.From%x.Hop != 0 {
			t.Errorf("%s: %+v", f.Name, x)
		}
		probes := []schemas.Micros{x.To - 1, x.To}
		if x.From != schemas.Never {
			probes = append(probes, x.From-1, x.From)
		}
		for _, p := range probes {
			// Another event keeps the view from being absent.
			got := feed(t, v, at, []schemas.Micros{p, at - 1}, make([]schemas.Value, 2), schemas.Never)[i].Value.Int()
			want := int64(0)
			for _, q := range []schemas.Micros{p, at - 1} {
				if x.From <= q && q < x.To {
					want++
				}
			}
			if got != want {
				t.Errorf("%s: [%v, %v) as of %v holds %d events, and the engine counts %d with one at %v", f.Name, x.From, x.To, at, want, got, p)
			}
		}
	}
	x, err := v.Explain(v.Feature("r"), at)
	if err != nil || len(x.Inputs) != 2 || x.From != at.SubSat(schemas.Day).Floor(schemas.Hour) || x.To != at || x.Hop != schemas.Hour {
		t.Errorf("%+v, %v", x, err)
	}
}

// V9, K8: the statuses that are explained are those that the engine gives, all
// of them and no others; for an expression, which may hide some, no fewer.
func TestExplainedStatuses(t *testing.T) {
	var b strings.Builder
	b.WriteString(explainable)
	for _, name := range transforms.AggregationNames() {
		more := map[string]string{"first_k": ", k: 2", "last_k": ", k: 2", "quantile": ", q: 0.5", "min_by": ", by: dep_delay_min", "max_by": ", by: dep_delay_min"}[name]
		deflt := map[string]string{"count": "7", "count_distinct": "7", "first_k": "[]", "last_k": "[]"}[name]
		if deflt == "" {
			deflt = "7.5"
		}
		fmt.Fprintf(&b, "      %s_x: {%s: dep_delay_min%s, over: [1h, 24h]}\n", name, name, more)
		fmt.Fprintf(&b, "      %s_d: {%s: dep_delay_min%s, over: [1h, 24h], default: %s}\n", name, name, more, deflt)
	}
	b.WriteString(`      events: {count: "*", over: 24h}
      a: {expr: sum_x_1h + mean_x_1h}
      b: {expr: "sum_x_1h + mean_x_1h", default: 1.0}
      c: {expr: double(count_distinct_x_1h) / 2.0 + quantile_x_1h}
      e: {expr: c + a}
`)
	v := mustParse(t, b.String()).Views[0]
	start := 20_000 * schemas.Day
	many := make([]schemas.Value, 1100)
	for i := range many {
		many[i] = schemas.DoubleValue(float64(i))
	}
	huge := schemas.DoubleValue(1.7e308)
	seen := make([]map[transforms.Status]bool, len(v.Spec.Features))
	for i := range seen {
		seen[i] = map[transforms.Status]bool{}
	}
	for _, delays := range [][]schemas.Value{{{}}, {schemas.DoubleValue(1)}, {huge, huge, schemas.DoubleValue(-1.7e308)}, {huge, huge}, many} {
		times := slices.Repeat([]schemas.Micros{start}, len(delays))
		for _, after := range []schemas.Micros{10 * schemas.Minute, 5 * schemas.Hour, 9 * schemas.Day} {
			for _, from := range []schemas.Micros{schemas.Never, start + schemas.Day*30} {
				for i, r := range feed(t, v, start+after, times, delays, from) {
					seen[i][r.Status] = true
				}
			}
		}
	}
	for i, f := range v.Spec.Features {
		x, err := v.Explain(i, start)
		if err != nil {
			t.Fatal(err)
		}
		for s := transforms.Present; s <= transforms.Incomplete; s++ {
			if explained := slices.Contains(x.Statuses, s); explained != seen[i][s] && (seen[i][s] || f.Derived == nil) {
				t.Errorf("%s: %v is explained: %v, is seen: %v", f.Name, s, explained, seen[i][s])
			}
		}
	}
}

// A feature is found by its view and name, and by its name alone where that is
// unique; a faulty name gets a hint.
func TestFindFeature(t *testing.T) {
	d := mustParse(t, explainable+`      n: {count: "*", over: [1h, 24h]}
      m: {count: tailnum, over: 1h}
  w:
    source: flights
    entity: {dest: string}
    features:
      n: {count: "*", over: 1h}
`)
	for name, want := range map[string]string{
		"m_1h":   "v.m_1h",
		"w.n_1h": "w.n_1h",
		"n_24h":  "v.n_24h",
		"n_1h":   "several views have a feature `n_1h`; name one of v.n_1h, w.n_1h",
		"v.n":    "unknown feature `v.n`; its columns are n_1h, n_24h",
		"n_25h":  "unknown feature `n_25h`; did you mean `n_24h`?",
		"":       "unknown feature ``; `tallystick check` lists them",
	} {
		v, i, err := d.Find(name)
		got := fmt.Sprint(err)
		if err == nil {
			got = v.Name + "." + v.Spec.Features[i].Name
		}
		if got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
