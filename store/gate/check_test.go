package gate_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/transforms"
)

// usual returns n ordinary days from the day on, each a little other than the rest.
func usual(from gate.Day, n int) (out []gate.Profile) {
	for i := range n {
		wave := float64(i % 7)
		events := int64(1000 + 10*(i%7))
		out = append(out, gate.Profile{Day: from + gate.Day(i), Final: true, Closed: true, Rows: 400 + int64(i%5),
			Columns: []gate.Column{{Name: "mean", Kind: "double", Nulls: 8 + int64(i%3), Status: map[string]int64{"PRESENT": 392 + int64(i%5) - int64(i%3), "NULL": 8 + int64(i%3)},
				Values: &gate.Values{Min: -wave, Max: 300 + 20*wave, Mean: 20 + wave, Quantiles: [7]float64{-1, 1, 10, 18 + wave, 30, 60 + wave, 150}, Distinct: 200 + int64(i%9)}}},
			Tiles:  []gate.Tiles{{Hop: schemas.Hour, Rows: events / 2, Events: events}, {Hop: schemas.Day, Rows: 300, Events: events}},
			Inputs: []gate.Inputs{{Columns: []string{"mean"}, Hop: schemas.Hour, Taken: events - 5 - int64(i%4), Of: events}},
			Ledger: transforms.Ledger{Applied: events, Late: int64(i % 2), Filtered: 100, Duplicate: 3},
		})
	}
	return out
}

func check(tb testing.TB, accepted, now []gate.Profile, o gate.Options) *gate.Report {
	tb.Helper()
	r, err := gate.Check(accepted, now, o)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// B6: each statistic is held against the baseline, and a breach names the table, the
// date, the column and by how much.
func TestBreaches(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*gate.Profile)
		want  []string
	}{
		"nothing": {func(*gate.Profile) {}, nil},
		"nulls": {func(p *gate.Profile) {
			p.Columns[0].Nulls, p.Columns[0].Status = 100, map[string]int64{"PRESENT": p.Rows - 100, "NULL": 100}
		}, []string{"features, 2013-02-09, mean: null rate 24.8 %; 2.0 % to 2.5 % on the 28 dates before, allowed up to 12.5 %: 22.3 points more"}},
		"all null": {func(p *gate.Profile) {
			p.Columns[0].Nulls, p.Columns[0].Status, p.Columns[0].Values = p.Rows, map[string]int64{"NULL": p.Rows}, nil
		}, []string{"mean: null rate 100.0 %"}},
		"status": {func(p *gate.Profile) {
			p.Columns[0].Status = map[string]int64{"PRESENT": p.Rows - 108, "NULL": 8, "OVERFLOW": 100}
		}, []string{"mean: status OVERFLOW 24.8 %; 0.0 % to 0.0 %"}},
		"range":     {func(p *gate.Profile) { p.Columns[0].Values.Max = 18_000 }, []string{"mean: greatest value 18000; 300 to 420 on the 28 dates before, allowed up to 3780: 17580 more, 42.9 times"}},
		"range low": {func(p *gate.Profile) { p.Columns[0].Values.Min = -5000 }, []string{"mean: least value -5000; -6 to 0 on the 28 dates before, allowed from -1710: 4994 less"}},
		"median":    {func(p *gate.Profile) { p.Columns[0].Values.Quantiles[3] = 200 }, []string{"mean: median 200; 18 to 24"}},
		"mean":      {func(p *gate.Profile) { p.Columns[0].Values.Mean = 200 }, []string{"mean: mean 200; 20 to 26"}},
		"quantile":  {func(p *gate.Profile) { p.Columns[0].Values.Quantiles[5] = 700 }, []string{"mean: 95 % quantile 700; 60 to 66"}},
		"distinct":  {func(p *gate.Profile) { p.Columns[0].Values.Distinct = 1 }, []string{"mean: distinct values 1; 200 to 208"}},
		"rows":      {func(p *gate.Profile) { p.Rows, p.Columns = 20, nil }, []string{"features, 2013-02-09: rows 20; 400 to 404 on the 28 dates before, allowed from 160: 380 less"}},
		"a day sent twice": {func(p *gate.Profile) { double(p) },
			[]string{"ledger, 2013-02-09: events 2000; 1000 to 1060", "ledger, 2013-02-09: records read 2208"}},
		"a day sent twice, with ids": {func(p *gate.Profile) { p.Ledger.Duplicate += p.Ledger.Applied },
			[]string{"records read", "duplicate of the records 47.7 %; 0.3 % to 0.3 %"}},
		"late":   {func(p *gate.Profile) { p.Ledger.Late = 600 }, []string{"records read", "late of the records 35.2 %"}},
		"inputs": {func(p *gate.Profile) { p.Inputs[0].Taken = 300 }, []string{"tiles, 2013-02-09, mean: inputs per event 30.0 %; 99.2 % to 99.5 %"}},
		"tiles": {func(p *gate.Profile) { p.Tiles[1].Events-- },
			[]string{"tiles, 2013-02-09: events in tiles of the 1 d level 999, must be 1000: 1 less"}},
		"keys": {func(p *gate.Profile) { p.Repeated = 2 }, []string{"features, 2013-02-09: repeated keys 2, must be 0: 2 more"}},
	} {
		base := usual(day(t, "2013-01-12"), 29)
		now := base[28:]
		c.spoil(&now[0])
		r := check(t, base[:28], now, gate.Options{})
		lines := r.Lines()
		if len(lines) != len(c.want) || r.Checks < 10 {
			t.Errorf("%s: %d checks, %d breaches, want %d:\n%s", name, r.Checks, len(lines), len(c.want), strings.Join(lines, "\n"))
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: %q does not say %q", name, lines[i], want)
			}
		}
	}
}

func double(p *gate.Profile) {
	for i := range p.Tiles {
		p.Tiles[i].Events *= 2
	}
	p.Inputs[0].Taken, p.Inputs[0].Of = 2*p.Inputs[0].Taken, 2*p.Inputs[0].Of
	p.Ledger.Applied, p.Ledger.Filtered, p.Ledger.Duplicate = 2*p.Ledger.Applied, 2*p.Ledger.Filtered, 2*p.Ledger.Duplicate+2
}

func day(tb testing.TB, s string) gate.Day {
	tb.Helper()
	var d gate.Day
	if err := d.UnmarshalJSON([]byte(`"` + s + `"`)); err != nil {
		tb.Fatal(err)
	}
	return d
}

// B6: with fewer than 7 dates before it a date is accepted, and said to be; the 28
// newest count, no older ones; only what can change no more is looked at.
func TestBaseline(t *testing.T) {
	days := usual(100, 50)
	days[6].Columns[0].Values.Max = 1e9
	if r := check(t, days[:6], days[6:7], gate.Options{}); len(r.Breaches) > 0 || len(r.NoBaseline) != 1 || r.NoBaseline[0] != 106 {
		t.Errorf("the seventh date: %v, without a baseline %v", r.Lines(), r.NoBaseline)
	}
	if r := check(t, nil, days[:8], gate.Options{}); len(r.NoBaseline) != 7 || len(r.Breaches) > 0 {
		t.Errorf("of eight dates at once %v have no baseline, %v", r.NoBaseline, r.Lines())
	}
	bad := slices.Clone(days[34:36])
	bad[0].Columns = usual(134, 1)[0].Columns
	bad[0].Columns[0].Values.Max = 1e8
	if r := check(t, days[:34], bad[:1], gate.Options{}); len(r.Breaches) > 0 {
		t.Errorf("date 106 is one of the 28 before 134: %v", r.Lines())
	}
	bad[0].Day++
	if r := check(t, days[:35], bad[:1], gate.Options{}); len(r.Breaches) != 1 {
		t.Errorf("date 106 is none of the 28 before 135: %v", r.Lines())
	}
	bad[0].Final, bad[0].Closed = false, false
	if r := check(t, days[:35], bad[:1], gate.Options{}); len(r.Breaches) > 0 || len(r.Open) != 1 || r.Checks != 0 {
		t.Errorf("a provisional date: %v, %d checks, open %v", r.Lines(), r.Checks, r.Open)
	}
}

// B6: what has been accepted is the baseline of what follows; a day of the run that
// has breached is not.
func TestAcceptance(t *testing.T) {
	days := usual(100, 40)
	for i := 30; i < 40; i++ {
		days[i].Columns[0].Values.Max *= 60
	}
	r := check(t, days[:30], days[30:], gate.Options{})
	if len(r.Breaches) != 10 || len(r.Lines()) != 1 || !strings.HasSuffix(r.Lines()[0], "; and on 9 dates after it") {
		t.Errorf("ten dates of a fault: %d breaches\n%s", len(r.Breaches), strings.Join(r.Lines(), "\n"))
	}
	if r := check(t, days[:31], days[31:], gate.Options{}); len(r.Breaches) > 0 {
		t.Errorf("after one was accepted: %v", r.Lines())
	}
	fixed := usual(130, 1)
	if r := check(t, days[:31], fixed, gate.Options{}); len(r.Breaches) > 0 {
		t.Errorf("a date that is written anew is held against itself: %v", r.Lines())
	}
}

// B6: a shift that is too small for one date alone is found where it lasts, whichever
// way the dates are published.
func TestLasting(t *testing.T) {
	days := usual(100, 34)
	for i := 30; i < 34; i++ {
		days[i].Inputs[0].Taken -= 150
	}
	for _, at := range []int{30, 31, 32} {
		r := check(t, days[:at], days[at:], gate.Options{})
		if len(r.Breaches) == 0 || r.Breaches[0].Date != 132 || r.Breaches[0].Column != "mean" || r.Breaches[0].Lasting != 3 {
			t.Errorf("published from %d on: %+v", at, r.Breaches)
		}
	}
	if r := check(t, days[:30], days[30:32], gate.Options{}); len(r.Breaches) > 0 {
		t.Errorf("two dates are no shift that lasts: %v", r.Lines())
	}
	days[31] = usual(100, 32)[31]
	if r := check(t, days[:30], days[30:33], gate.Options{}); len(r.Breaches) > 0 {
		t.Errorf("a shift with a day between lasts: %v", r.Lines())
	}
	for gap, want := range map[int]int{-1: 1, 1: 0} { // upwards
		days := usual(100, 33)
		for i := range days[30:] {
			if i != gap {
				days[30+i].Ledger.Late += 40
			}
		}
		if r := check(t, days[:30], days[30:], gate.Options{}); len(r.Breaches) != want {
			t.Errorf("more of the records late on three dates but the one numbered %d: %d breaches, want %d: %v", gap, len(r.Breaches), want, r.Lines())
		}
	}
}

// B6: a date without rows is missed, within the run and between it and what was
// accepted, where a boundary should lie on it.
func TestMissingDates(t *testing.T) {
	days := usual(100, 40)
	for name, now := range map[string][]gate.Profile{
		"within":  append(slices.Clone(days[30:35]), days[36:]...),
		"between": days[31:],
	} {
		r := check(t, days[:30], now, gate.Options{})
		var missing []gate.Day
		for _, b := range r.Breaches {
			if b.Statistic == gate.Rows && b.Is == 0 {
				missing = append(missing, b.Date)
			}
		}
		if want := map[string]gate.Day{"within": 135, "between": 130}[name]; len(missing) != 1 || missing[0] != want {
			t.Errorf("%s: %v are missed, want %v", name, missing, want)
		}
	}
	weekly := gate.DefaultOptions()
	weekly.Snapshots = 7 * schemas.Day
	var sparse []gate.Profile
	for i, p := range usual(98, 70) {
		if i%7 != 0 {
			p.Rows, p.Columns = 0, nil
		}
		sparse = append(sparse, p)
	}
	if r := check(t, sparse[:63], sparse[63:], weekly); len(r.Breaches) > 0 || r.Checks == 0 {
		t.Errorf("with a boundary a week: %v", r.Lines())
	}
	sparse[63].Rows = 0
	if r := check(t, sparse[:63], sparse[63:], weekly); len(r.Breaches) != 1 {
		t.Errorf("with a boundary a week, one missing: %v", r.Lines())
	}
}

// Options that are none are refused, and what is not looked at is left out.
func TestOptions(t *testing.T) {
	o := gate.DefaultOptions()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var back gate.Options
	if err := json.Unmarshal(b, &back); err != nil || back != o {
		t.Errorf("%s is read as %+v, %v", b, back, err)
	}
	days := usual(100, 31)
	days[30].Columns[0].Values.Max = 1e9
	o.Limits.Extreme = gate.Margin{}
	if r := check(t, days[:30], days[30:], o); len(r.Breaches) > 0 {
		t.Errorf("extremes are not to be looked at: %v", r.Lines())
	}
	for _, bad := range []func(*gate.Options){
		func(o *gate.Options) { o.Least = 1 }, func(o *gate.Options) { o.Days = 6 }, func(o *gate.Options) { o.Lasting = 1 },
		func(o *gate.Options) { o.Sigmas = -1 }, func(o *gate.Options) { o.Snapshots = 0 },
	} {
		o := gate.DefaultOptions()
		bad(&o)
		if _, err := gate.Check(nil, days, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// B6: that a column which was always 0 is something else for once is no fault, and of
// a table with few rows a date little is known; a unit that has changed is one.
func TestLittleIsKnown(t *testing.T) {
	rare := func(n int, x float64) []gate.Profile {
		ps := usual(100, 29)
		for i := range ps {
			v := gate.Values{Distinct: 1}
			if i == 28 {
				v = gate.Values{Max: x, Mean: x / 2, Quantiles: [7]float64{6: x, 5: x}, Distinct: 40}
			}
			ps[i].Rows = int64(n)
			ps[i].Columns = []gate.Column{{Name: "rain", Kind: "double", Status: map[string]int64{"PRESENT": int64(n)}, Values: &v}}
		}
		return ps
	}
	for _, n := range []int{1, 50, 1000} {
		ps := rare(n, 3)
		if r := check(t, ps[:28], ps[28:], gate.Options{}); len(r.Breaches) > 0 {
			t.Errorf("%d rows: the first rain: %v", n, r.Lines())
		}
		ps[28].Columns[0].Values.Quantiles[3] = 3
		if r := check(t, ps[:28], ps[28:], gate.Options{}); (len(r.Breaches) > 0) != (n >= 50) {
			t.Errorf("%d rows, of which half have changed: %v", n, r.Lines())
		}
	}
	half := usual(100, 29) // a little more than half of the rows have 0, then a little less
	for i := range half {
		half[i].Columns[0].Values.Quantiles = [7]float64{0, 0, 0, 0, 500, 510, 520}
	}
	half[28].Columns[0].Values.Quantiles[3] = 500
	if r := check(t, half[:28], half[28:], gate.Options{}); len(r.Breaches) > 0 {
		t.Errorf("a median between two values: %v", r.Lines())
	}
	few := func(n int, x float64) *gate.Report {
		ps := usual(100, 29)
		for i := range ps {
			ps[i].Rows = int64(n)
			ps[i].Columns = []gate.Column{{Name: "delay", Kind: "double", Status: map[string]int64{"PRESENT": int64(n)}, Values: &gate.Values{Max: 100, Mean: 10, Distinct: int64(n)}}}
		}
		ps[28].Columns[0].Values.Max = x
		return check(t, ps[:28], ps[28:], gate.Options{})
	}
	for _, c := range []struct {
		rows     int
		x        float64
		breaches int
	}{{2, 1500, 0}, {50, 1500, 1}, {2, 6000, 1}} {
		if r := few(c.rows, c.x); len(r.Breaches) != c.breaches {
			t.Errorf("%d rows a date, 100 at most so far, now %v: %v", c.rows, c.x, r.Lines())
		}
	}
}

// B6: what a commit keeps is enough: a run says the same of its days against all that
// was ever accepted and against what Keep has left of it, run after run.
func TestKeep(t *testing.T) {
	days := usual(100, 120)
	for _, i := range []int{60, 61, 62, 63, 90} { // some to be found, and accepted
		days[i].Inputs[0].Taken -= 150
		days[i].Columns[0].Values.Max *= 60
	}
	for _, n := range []int{1, 7, 30} {
		var kept []gate.Profile
		breaches := 0
		for i := 0; i < len(days); i += n {
			now := slices.Clone(days[i:min(i+n, len(days))])
			a, b := check(t, days[:i], now, gate.Options{}), check(t, kept, now, gate.Options{})
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			if string(x) != string(y) {
				t.Fatalf("by %d, from %d on:\n%s\n%s", n, i, x, y)
			}
			breaches += len(a.Breaches)
			open := slices.Clone(now)
			open[len(open)-1].Final, open[len(open)-1].Closed = false, false
			if kept = gate.Keep(kept, open, gate.Options{}); len(kept) > 31+n {
				t.Fatalf("%d days are kept", len(kept))
			}
			kept = gate.Keep(kept, now, gate.Options{})
		}
		if breaches < 2 {
			t.Errorf("by %d only %d breaches", n, breaches)
		}
	}
	now := slices.Clone(days[40:60])
	now[2].Rows = 12_345
	if left := gate.Keep(days[:50], now, gate.Options{}); len(left) != 31 || left[30].Day != 159 || left[13].Day != 142 || left[13].Rows != 12_345 {
		t.Errorf("%d days are kept, day %v with %d rows", len(left), left[13].Day, left[13].Rows)
	}
}

// B6: a record with an event time of long ago, or far ahead, is no day of the view:
// nothing is missed between it and the others, and it is no baseline.
func TestStrays(t *testing.T) {
	days := usual(10_000, 40)
	past := gate.Profile{Day: 2_000, Final: true, Closed: true, Ledger: transforms.Ledger{Late: 1}}
	ahead := gate.Profile{Day: 90_000, Ledger: transforms.Ledger{Future: 1}}
	all := append(append([]gate.Profile{past}, days...), ahead)
	if r := check(t, nil, all, gate.Options{}); len(r.Breaches) > 0 || len(r.NoBaseline) != 7 || r.Dates != 41 {
		t.Errorf("%d dates, %v without a baseline: %v", r.Dates, r.NoBaseline, r.Lines())
	}
	if r := check(t, days[:30], days[30:], gate.Options{}); len(r.Breaches) > 0 || r.Dates != 10 {
		t.Errorf("%d dates: %v", r.Dates, r.Lines())
	}
	first := days[0]
	first.Day = 9_000 // one early day, then nothing until the others
	if r := check(t, nil, append([]gate.Profile{first}, days...), gate.Options{}); slices.ContainsFunc(r.Breaches, func(b gate.Breach) bool { return b.Date >= 10_000 }) {
		t.Errorf("a beginning is held: %v", r.Lines())
	}
}
