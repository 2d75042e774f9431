package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/offline"
)

// dateRig is a gateRig whose view reaches back some days, and whose topic bounds its
// timestamps.
type dateRig struct {
	*gateRig
	rnd *rand.Rand
}

func newDateRig(t *testing.T, seed uint64) *dateRig {
	t.Helper()
	text := strings.Replace(testbed.EventDefinition, "l: {last: amt, over: lifetime}", "l: {last: amt, over: {days: 2}}\n      x: {max: amt, over: {days: 1, exclude_current: true}}", 1)
	rig := &dateRig{newGateRigOf(t, text), rand.New(rand.NewPCG(seed, 11))}
	rig.bound("3600000")
	return rig
}

// bound sets how far before the broker's clock timestamps of the topic may lie.
func (g *dateRig) bound(ms string) {
	g.Helper()
	_, err := kadm.NewClient(g.producer).AlterTopicConfigs(g.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "message.timestamp.before.max.ms", Value: &ms}}, "ev")
	if err != nil {
		g.Fatal(err)
	}
}

// history appends days of events: some late, too late, ahead, sent twice, corrected and
// moved in time, or garbage.
func (g *dateRig) history(days int) {
	g.Helper()
	r := g.rnd
	var batch []*kgo.Record
	for ; days > 0; days, g.next = days-1, g.next+1 {
		events := 60 + r.IntN(20)
		for i := range events {
			at := g.begin.AddDate(0, 0, g.next).Add(time.Duration(i) * 24 * time.Hour / time.Duration(events))
			e := testbed.Event{Ent: fmt.Sprint("e", r.IntN(12)), ID: fmt.Sprint(g.next, "-", i), Ver: 1, ET: at.UnixMicro(), Amt: float64(r.IntN(95)) / 10}
			e.ET -= []int64{0, 0, 0, 0, 50 * 60, 3 * 3600, 50 * 3600, -60, -3600}[r.IntN(9)] * 1_000_000
			p := int32(len(e.Ent)+int(e.Ent[len(e.Ent)-1])) % 3
			put := func(value []byte) {
				batch = append(batch, &kgo.Record{Topic: "ev", Partition: p, Timestamp: at, Value: value})
			}
			put(e.Bytes())
			switch r.IntN(8) {
			case 0:
				put(e.Bytes())
			case 1:
				e.Ver, e.ET, e.Amt = 2, e.ET-r.Int64N(40*60*1_000_000), e.Amt/2
				put(e.Bytes())
			case 2:
				put([]byte("garbage"))
			}
		}
	}
	if err := g.producer.ProduceSync(g.Context(), batch...).FirstErr(); err != nil {
		g.Fatal(err)
	}
}

// date is a day of the history, from its end backwards.
func (g *dateRig) date(back int) string {
	return g.begin.AddDate(0, 0, g.next-back).Format(time.DateOnly)
}

// dates replays with flags and returns what it says.
func (g *dateRig) dates(out string, more ...string) replayedView {
	g.Helper()
	var r replayOutput
	said := g.run(exitOK, append([]string{"replay", "--json", "--gate", "report", "--out", filepath.Join(g.dir, out)}, more...)...)
	if err := json.NewDecoder(strings.NewReader(said)).Decode(&r); err != nil {
		g.Fatalf("%v: %s", err, said)
	}
	return r.Views[0]
}

// from leaves out files of dates before one; of tiles and of table open none that both
// have.
func from(files, other map[string]string, date string) map[string]string {
	out := maps.Clone(files)
	maps.DeleteFunc(out, func(name, _ string) bool {
		_, rest, dated := strings.Cut(name, "event_date=")
		if _, both := other[name]; both && strings.HasPrefix(name, "tiles/") {
			return false
		}
		return !dated || rest[:10] < date
	})
	return out
}

// short tells whether a replay began beyond the log's start, in every partition, and read
// less.
func (v *replayedView) short(of replayedView) bool {
	for _, p := range v.Partitions {
		if p.Start == 0 {
			return false
		}
	}
	return v.ValidFrom != nil && v.RecordsRead == v.Offsets && v.RecordsRead < of.RecordsRead*2/3
}

// goesOn goes on from tables, which leaves what a replay of all leaves.
func (g *dateRig) goesOn(out string) {
	g.Helper()
	on := g.dates(out, "--continue")
	g.dates("whole")
	if d := differing(g.live(out), g.live("whole")); len(d) > 0 || !on.Continued {
		g.Errorf("B5: gone on from %v, %v differ", on.Continued, d)
	}
}

// B1, K5, K8: a replay that writes the dates from one on, and reads what they need, leaves
// the files that one from the log's start leaves of them, table open with them; tables
// that begin so are gone on from.
func TestReplayFromDate(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 4)
	g.history(12)
	g.next = 16 // a gap, in which the lookup finds nothing
	g.history(4)
	whole := g.dates("whole")
	date := g.date(3)
	part := g.dates("part", "--from-date", date)
	if !part.short(whole) || part.Dates.From != date {
		t.Errorf("K5: it began at %+v, valid from %v, and read %d of %d", part.Partitions, part.ValidFrom, part.RecordsRead, whole.RecordsRead)
	}
	var e estimateOutput
	said := g.run(exitOK, "replay", "--estimate", "--json", "--out", filepath.Join(g.dir, "none"), "--from-date", date)
	if err := json.NewDecoder(strings.NewReader(said)).Decode(&e); err != nil || e.Views[0].Records != part.Offsets {
		t.Errorf("B3: the estimate is of %+v, %d offsets were read: %v", e, part.Offsets, err)
	}
	got, want := g.live("part"), g.live("whole")
	if d := differing(got, from(want, got, date)); len(d) > 0 || len(got) < 20 {
		t.Fatalf("B1: %d files, which differ in %v", len(got), d)
	}
	g.history(1)
	if on := g.dates("part", "--continue"); !on.Continued {
		t.Errorf("B5: it is not gone on from")
	}
	g.dates("whole")
	got, want = g.live("part"), g.live("whole")
	if d := differing(got, from(want, got, date)); len(d) > 0 {
		t.Errorf("B5: gone on from, they differ in %v", d)
	}
	g.equal("part")
}

// B1, B2: in tables that are there the dates from one on are replaced up to a later cut,
// the others stay, file by file; the dates between may not be left out.
func TestReplayFromDateUpon(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 5)
	g.history(16)
	g.dates("t")
	before := g.live("t")
	g.history(3)
	out := filepath.Join(g.dir, "t")
	if said := g.run(exitUsage, "replay", "--out", out, "--from-date", g.date(1)); !strings.Contains(said, "is the first date that is not final: name that or an earlier one") {
		t.Error(said)
	}
	date := g.date(5)
	part, whole := g.dates("t", "--from-date", date), g.dates("whole")
	if !part.short(whole) {
		t.Errorf("K5: it read %d of %d", part.RecordsRead, whole.RecordsRead)
	}
	got := g.live("t")
	if d := differing(got, g.live("whole")); len(d) > 0 {
		t.Errorf("B1: %v differ", d)
	}
	stay := 0
	for name, sum := range before {
		if _, rest, _ := strings.Cut(name, "event_date="); rest[:10] < date && got[name] == sum {
			stay++
		}
	}
	if p, _ := g.published("t"); stay < 20 || p.Info.Mode != offline.ReplaceDates || p.Info.ValidFrom == nil || p.Info.Cut.Partitions[0].Start == 0 {
		t.Errorf("%d files stay; %s, valid from %v", stay, p.Info.Mode, p.Info.ValidFrom)
	}
	g.history(1)
	g.goesOn("t")
}

// B2: dates that are final are written again up to the tables' own cut, which heals what
// is damaged, and changes nothing else.
func TestReplayDates(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 6)
	g.history(16)
	whole := g.dates("t")
	g.history(2) // the tables do not know of it
	was, _ := g.published("t")
	before := g.live("t")
	from, to := g.date(7), g.date(5)
	bytes, n := g.damage("t", before, from, to)
	part := g.dates("t", "--from-date", from, "--to-date", to)
	if n < 10 || !part.short(whole) {
		t.Errorf("%d files are damaged; it read %d of %d", n, part.RecordsRead, whole.RecordsRead)
	}
	if part.Changes != nil || !strings.Contains(part.Uncompared, "table v/features, file ") {
		t.Errorf("§7: what cannot be read was compared: %+v, %q", part.Changes, part.Uncompared)
	}
	for name, want := range bytes {
		if b, err := os.ReadFile(g.file("t", name)); err != nil || string(b) != string(want) {
			t.Errorf("B2: %s is not healed: %v", name, err)
		}
	}
	now, _ := g.published("t")
	if d := differing(g.live("t"), before); len(d) > 0 || now.Versions[offline.Features] != was.Versions[offline.Features]+1 || now.Info.Mode != offline.RepairDates {
		t.Errorf("%v differ; version %v", d, now.Versions)
	}
	if !maps.Equal(ledgersOf(was), ledgersOf(now)) || fmt.Sprint(was.Info.Cut.PartitionIDs()) != fmt.Sprint(now.Info.Cut.PartitionIDs()) || was.Info.Cut.Partitions[1].End != now.Info.Cut.Partitions[1].End || now.Info.Cut.Partitions[1].Start != 0 {
		t.Error("V8: the ledgers or the cut are others")
	}
	for name := range bytes { // what is damaged once more is healed once more
		if strings.HasPrefix(name, "tiles/event_date="+to) {
			if err := os.Truncate(g.file("t", name), 30); err != nil {
				t.Fatal(err)
			}
			again := g.dates("t", "--from-date", from, "--to-date", to)
			b, err := os.ReadFile(g.file("t", name))
			if err != nil || string(b) != string(bytes[name]) || again.Gate.Verdict != verdictStanding {
				t.Errorf("B2: %s is not healed again: %v, %s", name, err, again.Gate.Verdict)
			}
			if c := again.Changes; c == nil || len(c.Dates) == 0 || len(c.Examples) > 0 || again.Uncompared != "" {
				t.Errorf("§7: nothing has changed, and it says %+v, %q", c, again.Uncompared)
			}
			break
		}
	}
	g.goesOn("t")
}

// unknown appends records of the last day whose writer schema nobody knows.
func (g *dateRig) unknown(n int) {
	g.Helper()
	at := g.begin.AddDate(0, 0, g.next).Add(-2 * time.Minute)
	var batch []*kgo.Record
	for i := range n {
		b := testbed.Event{Ent: fmt.Sprint("e", i%20), ID: fmt.Sprint("new", i), Ver: 1, ET: at.UnixMicro(), Amt: 0.01}.Bytes()
		b[4] = 9
		batch = append(batch, &kgo.Record{Topic: "ev", Partition: 0, Timestamp: at, Value: b})
	}
	if err := g.producer.ProduceSync(g.Context(), batch...).FirstErr(); err != nil {
		g.Fatal(err)
	}
}

// known makes it known.
func (g *dateRig) known() {
	g.Helper()
	text, err := os.ReadFile(g.definition)
	if err == nil {
		err = os.WriteFile(g.definition, []byte(strings.Replace(string(text), "{1: ", "{9: ev.avsc, 1: ", 1)), 0o600)
	}
	if err != nil {
		g.Fatal(err)
	}
}

// B5: records whose writer schema has become known count, once their dates are written
// again; the states that are gone on from are not mixed with others.
func TestReplayDatesWithOtherSchemas(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 10)
	g.history(14)
	g.unknown(1)
	day, next := g.date(1), g.date(0)
	g.history(3)
	g.dates("t")
	before := g.live("t")
	g.known()
	anew := g.dates("t", "--from-date", day, "--to-date", next)
	if c := anew.Changes; c == nil || len(c.Dates) != 2 || c.Dates[0].Changed != 0 || c.Dates[1].Date != next || c.Dates[1].Changed != 1 || c.Dates[1].Rows < 2 {
		t.Errorf("§7: a record counts that did not; it says %+v", c)
	} else if e := c.Examples[0]; len(e.Events) != 1 || e.Events[0].Partition != 0 || e.Before == e.After || e.Key["ent"] != "e0" {
		t.Errorf("§7: the record that has changed it is not named: %+v", e)
	}
	g.dates("whole")
	got, want := g.live("t"), g.live("whole")
	changed := 0
	for name, sum := range got {
		_, rest, _ := strings.Cut(name, "event_date=")
		if written := rest[:10] == day || rest[:10] == next; written && want[name] != sum || !written && before[name] != sum {
			t.Errorf("B1: %s is another file", name)
		}
		if before[name] != sum {
			changed++
		}
	}
	if changed == 0 {
		t.Error("nothing has changed")
	}
	if on := g.dates("t", "--continue"); on.Continued {
		t.Error("B5: it is gone on from")
	}
}

// damage removes, cuts or changes the files of dates, and returns the bytes that all had,
// and how many it has damaged.
func (g *dateRig) damage(out string, files map[string]string, from, to string) (bytes map[string][]byte, n int) {
	g.Helper()
	bytes = map[string][]byte{}
	for name := range files {
		b, err := os.ReadFile(g.file(out, name))
		if err != nil {
			g.Fatal(err)
		}
		bytes[name] = b
		_, rest, _ := strings.Cut(name, "event_date=")
		if rest[:10] < from || rest[:10] > to {
			continue
		}
		switch n++; n % 3 {
		case 0:
			err = os.Remove(g.file(out, name))
		case 1:
			err = os.Truncate(g.file(out, name), 30)
		default:
			broken := append([]byte{}, b...)
			broken[len(b)/2] ^= 1
			err = os.WriteFile(g.file(out, name), broken, 0o600)
		}
		if err != nil {
			g.Fatal(err)
		}
	}
	return bytes, n
}

func (g *dateRig) file(out, name string) string {
	table, path, _ := strings.Cut(name, "/")
	return filepath.Join(g.dir, out, "v", table, filepath.FromSlash(path))
}

// K5: where reading cannot begin later than the log does, it is said why, and the dates
// are the same.
func TestReplayFromDateOfAll(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 7)
	g.history(10)
	g.dates("whole")
	want := g.live("whole")
	same := func(out, why string, more ...string) {
		t.Helper()
		date := g.date(2)
		said := g.run(exitOK, append([]string{"replay", "--out", filepath.Join(g.dir, out), "--from-date", date}, more...)...)
		got := g.live(out)
		if d := differing(got, from(want, got, date)); len(d) > 0 || !strings.Contains(said, why) || why == "" && strings.Contains(said, "from its start") {
			t.Errorf("%s: they differ in %v, it says %s", out, d, said)
		}
	}
	same("later", "")
	g.bound("9223372036854775807")
	same("unbounded", "the log is read from its start: the topic does not bound its timestamps")
	clock := g.begin.AddDate(0, 0, 1).Format(time.RFC3339)
	same("stated", "", "--start-clock", clock)
	late := g.begin.AddDate(0, 0, 6).Format(time.RFC3339)
	if said := g.run(exitUsage, "replay", "--out", filepath.Join(g.dir, "late"), "--from-date", g.date(2), "--start-clock", late); !strings.Contains(said, "the dates would lack records: name an instant before") {
		t.Error(said)
	}
	g.bound("3600000")
	begin := g.begin.AddDate(0, 0, 1).Format(time.DateOnly)
	if said := g.run(exitOK, "replay", "--out", filepath.Join(g.dir, "begin"), "--from-date", begin); !strings.Contains(said, "read from its start: they need its first records") {
		t.Error(said)
	}
	text, err := os.ReadFile(g.definition)
	if err != nil {
		t.Fatal(err)
	}
	define := func(text string) {
		if err := os.WriteFile(g.definition, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	define(strings.Replace(string(text), "over: {days: 2}", "over: lifetime", 1))
	was := want
	g.dates("whole")
	want = g.live("whole")
	same("lifetime", "read from its start: a lifetime window reaches back to it")
	define(string(text))
	want = was
	var gone kadm.Offsets
	for p := range int32(3) {
		gone.AddOffset("ev", p, 5, -1)
	}
	if _, err := kadm.NewClient(g.producer).DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	g.run(exitFailed, "replay", "--out", filepath.Join(g.dir, "lost"))
	same("truncated", "") // before what the dates need
}

// What dates cannot be is said in one sentence, and nothing is written.
func TestReplayDatesRefused(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 8)
	g.history(6)
	out := filepath.Join(g.dir, "t")
	refused := func(want string, more ...string) {
		t.Helper()
		said := g.run(exitUsage, append([]string{"replay", "--out", out}, more...)...)
		if strings.Count(strings.TrimSpace(said), "\n") > 0 || !strings.Contains(said, want) {
			t.Errorf("%v: %s, want %q", more, said, want)
		}
	}
	day := func(n int) string { return g.begin.AddDate(0, 0, n).Format(time.DateOnly) }
	refused("is no date: write it as in 2026-01-31", "--from-date", "2026-02-30")
	refused("is no date: write it as in 2026-01-31", "--from-date", "yesterday")
	refused("name the first date too", "--to-date", day(1))
	refused("lies before --from-date", "--from-date", day(3), "--to-date", day(2))
	refused("it goes without --continue", "--from-date", day(3), "--continue")
	refused("it goes without --every", "--from-date", day(3), "--every", "1h")
	refused("it goes without --quarantine", "--from-date", day(3), "--quarantine", filepath.Join(g.dir, "q"))
	refused("it goes without --cut", "--from-date", day(3), "--to-date", day(3), "--cut", "x.json")
	refused("it goes without --save-cut", "--from-date", day(3), "--to-date", day(3), "--save-cut", filepath.Join(g.dir, "x.json"))
	refused("nothing has been published in", "--from-date", day(3), "--to-date", day(3))
	refused("is the last date of which anything is closed: name that or an earlier one", "--from-date", day(40))
	if said := g.run(exitUsage, "replay", "--from-date", day(3)); !strings.Contains(said, "it is about the tables in --out") {
		t.Error(said)
	}
	if _, err := os.Stat(filepath.Join(out, "v", "features", "_delta_log")); err == nil {
		t.Error("what is refused writes")
	}
	cut := filepath.Join(g.dir, "cut.json")
	g.run(exitOK, "cut", "-o", cut)
	g.history(1)
	g.dates("t")
	before := g.live("t")
	refused("the tables begin at", "--from-date", day(-3), "--to-date", day(2))
	refused("is the last date that is final: name that or an earlier one", "--from-date", day(3), "--to-date", day(20))
	refused("the tables stand at a later cut than this one", "--from-date", day(3), "--cut", cut)
	text, err := os.ReadFile(g.definition)
	if err != nil {
		t.Fatal(err)
	}
	for change, want := range map[string]string{"n: {count": "the tables have other columns", "amt < 9.0": "the tables are of fingerprint"} {
		if err := os.WriteFile(g.definition, []byte(strings.Replace(string(text), change, strings.NewReplacer("n:", "m:", "9.0", "8.0").Replace(change), 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(want, "--from-date", day(3))
	}
	if d := differing(g.live("t"), before); len(d) > 0 {
		t.Errorf("what is refused changes %v", d)
	}
}
