package integration

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/transforms"
)

// gateFrom are the days from which on the faults are there: a Wednesday of the time
// of schema v1, a Tuesday and a Saturday of that of v2.
var gateFrom = []string{"2013-04-10", "2013-08-20", "2013-11-09"}

// gateFault is something that goes wrong with the messages about flights.
type gateFault struct {
	name, view string
	// spoil returns the messages with the fault from a UTC day on, and how many
	// messages it has changed, added or taken away.
	spoil func(g *gateCodecs, messages []flights.Message, from time.Time) ([]flights.Message, int)
	// there tells whether the profile of that day shows the fault beside the honest one.
	there func(honest, faulty *gate.Profile) bool
	// columns are those of which the gate must name one; "" where it is the ledger's.
	columns []string
	within  int // days, the first one included
}

// gateCodecs read and write the messages of the demo.
type gateCodecs struct {
	*testing.T
	codecs map[byte]*goavro.Codec
}

func newGateCodecs(t *testing.T) *gateCodecs {
	t.Helper()
	g := &gateCodecs{t, map[byte]*goavro.Codec{}}
	for id, file := range map[byte]string{1: "schemas/flight.v1.avsc", 2: "schemas/flight.v2.avsc"} {
		text, err := flights.Files.ReadFile(file)
		if err == nil {
			g.codecs[id], err = goavro.NewCodec(string(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (g *gateCodecs) read(m flights.Message) map[string]any {
	g.Helper()
	native, _, err := g.codecs[m.Value[4]].NativeFromBinary(m.Value[5:])
	if err != nil {
		g.Fatal(err)
	}
	return native.(map[string]any)
}

func (g *gateCodecs) write(m flights.Message, rec map[string]any) flights.Message {
	g.Helper()
	value, err := g.codecs[m.Value[4]].BinaryFromNative(slices.Clone(m.Value[:5]), rec)
	if err != nil {
		g.Fatal(err)
	}
	m.Value, m.Key = value, []byte(rec["event_id"].(string))
	return m
}

// change gives fn the fields of the messages from a day on whose id is picked.
func (g *gateCodecs) change(messages []flights.Message, from time.Time, pick func(id string) bool, fn func(rec map[string]any) bool) (out []flights.Message, changed int) {
	g.Helper()
	for _, m := range messages {
		if !m.Time.Before(from) && pick(string(m.Key)) {
			if rec := g.read(m); !rec["event_time"].(time.Time).Before(from) && fn(rec) {
				m = g.write(m, rec)
				changed++
			}
		}
		out = append(out, m)
	}
	return out, changed
}

// seconds makes minutes seconds in the messages of one carrier.
func seconds(carrier string) func(*gateCodecs, []flights.Message, time.Time) ([]flights.Message, int) {
	return func(g *gateCodecs, messages []flights.Message, from time.Time) ([]flights.Message, int) {
		return g.change(messages, from, func(id string) bool { return strings.HasPrefix(id[len("20130101-"):], carrier) }, func(rec map[string]any) bool {
			changed := false
			for _, name := range []string{"dep_delay_s", "dep_delay_min", "arr_delay_min"} {
				if u, ok := rec[name].(map[string]any); ok {
					for kind, x := range u {
						changed = true
						if i, ok := x.(int32); ok {
							u[kind] = 60 * i
						} else {
							u[kind] = 60 * x.(float64)
						}
					}
				}
			}
			return changed
		})
	}
}

// nulled makes fields null for 15 % of the flights.
func nulled(names ...string) func(*gateCodecs, []flights.Message, time.Time) ([]flights.Message, int) {
	return func(g *gateCodecs, messages []flights.Message, from time.Time) ([]flights.Message, int) {
		pick := func(id string) bool { return transforms.HashBytes([]byte(id))%100 < 15 }
		return g.change(messages, from, pick, func(rec map[string]any) bool {
			changed := false
			for _, name := range names {
				if rec[name] != nil {
					rec[name], changed = nil, true
				}
			}
			return changed
		})
	}
}

// onDay calls fn with the messages of a UTC day of event time, and returns the log with
// what it makes of them.
func (g *gateCodecs) onDay(messages []flights.Message, day time.Time, fn func(m flights.Message, rec map[string]any) []flights.Message) (out []flights.Message, n int) {
	g.Helper()
	for _, m := range messages {
		if near := m.Time.Sub(day); near >= 0 && near < 10*24*time.Hour {
			if rec := g.read(m); rec["event_time"].(time.Time).Truncate(24 * time.Hour).Equal(day) {
				out = append(out, fn(m, rec)...)
				n++
				continue
			}
		}
		out = append(out, m)
	}
	return out, n
}

// twice sends the events of a day again, under other ids.
func twice(g *gateCodecs, messages []flights.Message, day time.Time) ([]flights.Message, int) {
	return g.onDay(messages, day, func(m flights.Message, rec map[string]any) []flights.Message {
		rec["event_id"] = rec["event_id"].(string) + "-again"
		return []flights.Message{m, g.write(m, rec)}
	})
}

// missing leaves the events of a day out.
func missing(g *gateCodecs, messages []flights.Message, day time.Time) ([]flights.Message, int) {
	return g.onDay(messages, day, func(flights.Message, map[string]any) []flights.Message { return nil })
}

// taken returns the inputs of a column's cell in a profile, and of how many.
func taken(p *gate.Profile, column string) (int64, int64) {
	for _, in := range p.Inputs {
		if slices.Contains(in.Columns, column) {
			return in.Taken, in.Of
		}
	}
	return 0, 0
}

// lost tells whether a column's cell has taken about 15 % less.
func lost(column string) func(honest, faulty *gate.Profile) bool {
	return func(honest, faulty *gate.Profile) bool {
		a, _ := taken(honest, column)
		b, _ := taken(faulty, column)
		share := 1 - float64(b)/float64(a)
		return share > 0.07 && share < 0.23
	}
}

// profileOf returns the profile of a day, one without rows where there is none.
func profileOf(ps []gate.Profile, day time.Time) *gate.Profile {
	i := slices.IndexFunc(ps, func(p gate.Profile) bool { return p.Day == gate.Day(day.Unix()/86_400) })
	if i < 0 {
		return &gate.Profile{}
	}
	return &ps[i]
}

var delays = []string{"delay_24h", "delay_7d", "worst_24h", "worst_7d"}

// gateFaults are the faults that must be held.
func gateFaults() []gateFault {
	changedApart := func(honest, faulty *gate.Profile) bool { return honest.Ledger.Read() == faulty.Ledger.Read() }
	return []gateFault{
		{"×60 for DL", "dest_delays", seconds("DL"), changedApart, delays, 2},
		{"×60 for 9E", "dest_delays", seconds("9E"), changedApart, delays, 2},
		{"×60 for DL", "plane", seconds("DL"), changedApart, []string{"arr_delay_lifetime"}, 3},
		{"dep_delay null for 15 %", "dest_delays", nulled("dep_delay_s", "dep_delay_min"), lost("delay_24h"), delays, 3},
		{"tailnum null for 15 %", "dest_delays", nulled("tailnum"), lost("planes_7d"), []string{"planes_7d"}, 4},
		{"arr_delay null for 15 %", "plane", nulled("arr_delay_min"), lost("arr_delay_lifetime"), []string{"arr_delay_lifetime"}, 3},
		{"a day twice", "dest_delays", twice, func(h, f *gate.Profile) bool { return f.Ledger.Applied == 2*h.Ledger.Applied }, nil, 1},
		{"a day twice", "plane", twice, func(h, f *gate.Profile) bool { return f.Ledger.Applied == 2*h.Ledger.Applied }, nil, 1},
		{"a day missing", "dest_delays", missing, func(h, f *gate.Profile) bool { return h.Ledger.Applied > 100 && f.Ledger.Read() == 0 }, nil, 1},
		{"a day missing", "plane", missing, func(h, f *gate.Profile) bool { return h.Ledger.Applied > 100 && f.Ledger.Read() == 0 }, nil, 1},
	}
}

// TestGateFaults: faults that happen are held when a day with them is published, and
// the breach names the column, or of the day the ledger (B6). Each world is the log
// of 60 days before the fault to 12 after it, which is let pass without the fault.
func TestGateFaults(t *testing.T) {
	w, g := newGateWorld(t), newGateCodecs(t)
	var table strings.Builder
	table.WriteString("| fault | view | from | messages | held on | because |\n|---|---|---|---|---|---|\n")
	honest := map[string][]gate.Profile{}
	for _, f := range gateFaults() {
		for _, day := range gateDays() {
			from, messages := w.around(day)
			at := f.view + day
			if honest[at] == nil {
				honest[at] = w.replay(w.view(f.view), messages)
				if rs := w.publish(honest[at], 1); len(rs[len(rs)-1].Breaches) > 0 {
					t.Fatalf("%s, around %s, without a fault: %v", f.view, day, rs[len(rs)-1].Lines())
				}
			}
			spoiled, n := f.spoil(g, messages, from)
			ps := w.replay(w.view(f.view), spoiled)
			if n < 50 || !f.there(profileOf(honest[at], from), profileOf(ps, from)) {
				t.Errorf("%s, %s: the fault is not there: %d messages", f.name, day, n)
			}
			held := w.held(ps, from, f.columns)
			if held == nil || int(held.Date)-int(from.Unix()/86_400) >= f.within {
				t.Errorf("%s, %s, from %s: not held within %d days: %v", f.name, f.view, day, f.within, held)
				continue
			}
			fmt.Fprintf(&table, "| %s | `%s` | %s | %d | %v | %s |\n", f.name, f.view, day, n, held.Date, held)
		}
	}
	if !gateWhole() {
		return
	}
	gateDocs(t, "faults", table.String())
	shown := newDocument(t, "gate.md").block("text") // how a breach reads
	for line := range strings.Lines(shown) {
		if !strings.Contains(table.String(), "| "+strings.TrimSpace(line)+" |") {
			t.Errorf("docs/gate.md shows a breach that no fault gives: %s", line)
		}
	}
}

// around returns the messages about flights from 60 days before a day to 12 after it.
func (w *gateWorld) around(day string) (from time.Time, out []flights.Message) {
	w.Helper()
	from, err := time.Parse(time.DateOnly, day)
	if err != nil {
		w.Fatal(err)
	}
	for _, m := range w.honest(w.view("plane")) {
		if !m.Time.Before(from.AddDate(0, 0, -60)) && m.Time.Before(from.AddDate(0, 0, 12)) {
			out = append(out, m)
		}
	}
	return from, out
}

// held returns the breach of the first publication, day by day, that is held: the
// first that names one of the columns, of the ledger where there are none. It is nil
// where none is held or it names something else only.
func (w *gateWorld) held(ps []gate.Profile, from time.Time, columns []string) *gate.Breach {
	w.Helper()
	rs := w.publish(ps, 1)
	for _, b := range rs[len(rs)-1].Breaches {
		if b.Date < gate.Day(from.Unix()/86_400) {
			w.Fatalf("held before the fault: %v", b)
		}
		named := len(columns) == 0 && b.Table == gate.LedgerTable
		for c := range strings.SplitSeq(b.Column, ", ") {
			named = named || slices.Contains(columns, c)
		}
		if named {
			return &b
		}
	}
	return nil
}

// TestGateCarriers measures how soon one carrier's ×60 is held, whatever the breach
// names: the fewer flights, the later, and the smallest ones may pass (docs/gate.md).
func TestGateCarriers(t *testing.T) {
	w, g := newGateWorld(t), newGateCodecs(t)
	view := w.view("dest_delays")
	var table strings.Builder
	table.WriteString("| carrier | flights of the year |")
	for _, day := range gateDays() {
		fmt.Fprintf(&table, " from %s |", day)
	}
	table.WriteString("\n|---|---|" + strings.Repeat("---|", len(gateDays())) + "\n")
	ids := map[string]map[string]bool{}
	for _, m := range w.honest(view) {
		carrier := string(m.Key[9:11])
		if ids[carrier] == nil {
			ids[carrier] = map[string]bool{}
		}
		ids[carrier][string(m.Key)] = true
	}
	found := 0
	for _, carrier := range slices.SortedFunc(maps.Keys(ids), func(a, b string) int { return len(ids[b]) - len(ids[a]) }) {
		fmt.Fprintf(&table, "| %s | %d |", carrier, len(ids[carrier]))
		for _, day := range gateDays() {
			from, messages := w.around(day)
			spoiled, n := seconds(carrier)(g, messages, from)
			if n == 0 {
				t.Fatalf("%s has no delays from %s on", carrier, day)
			}
			rs := w.publish(w.replay(view, spoiled), 1)
			if bs := rs[len(rs)-1].Breaches; len(bs) > 0 {
				found++
				fmt.Fprintf(&table, " day %d, %s |", int64(bs[0].Date)-from.Unix()/86_400+1, cmp.Or(bs[0].Column, "`"+string(bs[0].Statistic)+"`"))
			} else {
				table.WriteString(" not within 10 days |")
			}
		}
		table.WriteString("\n")
	}
	if found < 5*len(gateDays()) {
		t.Errorf("only %d of %d are held", found, len(ids)*len(gateDays()))
	}
	if gateWhole() {
		gateDocs(t, "carriers", table.String())
	}
}
