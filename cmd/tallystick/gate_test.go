package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// gateRig is a log of days, and replays of it.
type gateRig struct {
	*testing.T
	definition string
	common     []string
	producer   *kgo.Client
	begin      time.Time // of day 0
	next       int       // the day that comes
	sent       []int     // records, by day
	dir        string
}

func newGateRig(t *testing.T) *gateRig {
	t.Helper()
	return newGateRigOf(t, testbed.EventDefinition)
}

func newGateRigOf(t *testing.T, text string) *gateRig {
	t.Helper()
	g := &gateRig{T: t, dir: t.TempDir(), begin: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -60)}
	definition, brokers := logProject(t, text, 3, func(producer *kgo.Client) { g.producer = producer })
	g.definition, g.common = definition, []string{"-f", definition, "--brokers", brokers}
	return g
}

// days appends days of about 300 events of 60 entities, each as often and with as many
// times its amount as fault says.
func (g *gateRig) days(n int, fault func(e *testbed.Event) (times int)) {
	g.Helper()
	var batch []*kgo.Record
	for ; n > 0; n, g.next = n-1, g.next+1 {
		rnd, before := rand.New(rand.NewPCG(uint64(g.next), 3)), len(batch)
		events := 280 + rnd.IntN(40)
		for i := range events {
			at := g.begin.AddDate(0, 0, g.next).Add(time.Duration(i) * 24 * time.Hour / time.Duration(events))
			e := testbed.Event{Ent: fmt.Sprint("e", rnd.IntN(60)), ID: fmt.Sprint(g.next, "-", i), Ver: 1, ET: at.UnixMicro(), Amt: float64(rnd.IntN(9)) / 100}
			times := 1
			if fault != nil {
				times = fault(&e)
			}
			for copy := range times {
				e.ID = fmt.Sprint(g.next, "-", i, "-", copy)
				batch = append(batch, &kgo.Record{Topic: "ev", Partition: int32(len(e.Ent)+int(e.Ent[len(e.Ent)-1])) % 3, Timestamp: at, Value: e.Bytes()})
			}
		}
		g.sent = append(g.sent, len(batch)-before)
	}
	if err := g.producer.ProduceSync(g.Context(), batch...).FirstErr(); err != nil {
		g.Fatal(err)
	}
}

func twice(*testbed.Event) int { return 2 }

// equal streams the log and holds what is in Redis against tables (R1).
func (g *gateRig) equal(out string) {
	g.Helper()
	redis := testbed.Redis(g.T).Addr()
	g.run(exitOK, "stream", "--until", "end", "--redis", redis)
	if said := g.run(exitOK, "reconcile", "--out", filepath.Join(g.dir, out), "--redis", redis); !strings.Contains(said, "equal, to the bit: ") {
		g.Errorf("R1: %s", said)
	}
}

// run runs the program, whose exit code must be this one.
func (g *gateRig) run(code int, args ...string) (said string) {
	g.Helper()
	var out, errs bytes.Buffer
	if got := run(g.Context(), append(args, g.common...), &out, &errs); got != code {
		g.Fatalf("tallystick %s: exit code %d, want %d: %s%s", strings.Join(args, " "), got, code, out.String(), errs.String())
	}
	return out.String() + errs.String()
}

// replay replays into a directory and returns what the gate said.
func (g *gateRig) replay(code int, out string, more ...string) *gateOutput {
	g.Helper()
	return g.gateOf(g.run(code, append([]string{"replay", "--json", "--out", filepath.Join(g.dir, out)}, more...)...))
}

func (g *gateRig) gateOf(said string) *gateOutput {
	g.Helper()
	var r replayOutput
	if err := json.NewDecoder(strings.NewReader(said)).Decode(&r); err != nil || len(r.Views) != 1 || r.Views[0].Gate == nil {
		g.Fatalf("%v: %s", err, said)
	}
	return r.Views[0].Gate
}

// published returns what the tables in a directory stand at, and its record of the gate.
func (g *gateRig) published(out string) (*offline.Published, *gate.Record) {
	g.Helper()
	def, err := definition.Load(g.definition)
	if err != nil {
		g.Fatal(err)
	}
	tables, err := offline.OpenTables(filepath.Join(g.dir, out), def.Views[0])
	if err != nil {
		g.Fatal(err)
	}
	p, err := tables.Published(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	rec, err := gate.Decode(p.Info.Gate)
	if err != nil {
		g.Fatal(err)
	}
	return p, rec
}

// parquet returns the digests of the Parquet files of tables.
func (g *gateRig) parquet(out string) map[string]string {
	g.Helper()
	files := (&killed{T: g.T, root: filepath.Join(g.dir, out)}).files()
	maps.DeleteFunc(files, func(name, _ string) bool {
		return !strings.HasSuffix(name, ".parquet") || strings.Contains(name, "_staging")
	})
	return files
}

// B6: a publication with a day that was sent twice is held back, again at the next
// attempt, whoever runs it; nothing of it is visible. Once somebody accepts it, it is
// published, as the files of a replay that asks no gate, with who did it and why, and
// later days pass.
func TestGateHolds(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(20, nil)
	first := g.replay(exitOK, "t")
	if first.Verdict != verdictFirst || first.Checks < 100 || first.Unchecked == 0 || len(first.Breaches) > 0 {
		t.Fatalf("an honest log: %+v", first)
	}
	before, _ := g.published("t")
	g.days(1, twice)
	g.days(3, nil)
	said := g.replay(exitHeld, "t")
	day := g.begin.AddDate(0, 0, 20).Format("2006-01-02")
	if said.Verdict != verdictHeld || said.HeldAs == "" || !strings.Contains(strings.Join(said.Breaches, "\n"), "tiles, "+day+": events") && !strings.Contains(strings.Join(said.Breaches, "\n"), "ledger, "+day+": events") {
		t.Fatalf("a day that was sent twice: %+v", said)
	}
	if now, _ := g.published("t"); !maps.Equal(now.Versions, before.Versions) {
		t.Fatal("B6: what is held is visible")
	}
	if again := g.replay(exitHeld, "t"); again.HeldAs != said.HeldAs {
		t.Errorf("the second attempt is held as %s, the first as %s", again.HeldAs, said.HeldAs)
	}
	out := []string{"--out", filepath.Join(g.dir, "t")}
	if list := g.run(exitOK, append([]string{"replay", "held"}, out...)...); !strings.Contains(list, said.HeldAs) || !strings.Contains(list, said.Breaches[0]) {
		t.Errorf("replay held: %s", list)
	}
	g.run(exitUsage, append([]string{"replay", "accept", "--reason", " "}, out...)...)
	g.run(exitUsage, append([]string{"replay", "accept", "--reason", "a fair", "--id", "other"}, out...)...)
	accepted := g.gateOf(g.run(exitOK, append([]string{"replay", "accept", "--json", "--reason", "a fair", "--by", "Ada"}, out...)...))
	if accepted.Verdict != verdictAccepted || len(accepted.Breaches) != len(said.Breaches) {
		t.Errorf("%+v", accepted)
	}
	now, rec := g.published("t")
	if now.Versions[offline.Features] != before.Versions[offline.Features]+1 || rec.Accepted == nil || rec.Accepted.Reason != "a fair" || rec.Accepted.By != "Ada" || len(rec.Report.Breaches) == 0 {
		t.Errorf("versions %v, %+v", now.Versions, rec.Accepted)
	}
	g.run(exitFailed, append([]string{"replay", "accept", "--reason", "again"}, out...)...)
	if list := g.run(exitOK, append([]string{"replay", "held"}, out...)...); !strings.Contains(list, "nothing is held") {
		t.Errorf("replay held: %s", list)
	}
	if unasked := g.replay(exitOK, "other", "--gate", "off"); unasked.Verdict != verdictUnasked {
		t.Errorf("%+v", unasked)
	}
	got, want := g.parquet("t"), g.parquet("other")
	for name, sum := range want {
		if got[name] != sum {
			t.Errorf("B1: %s differs from the file of a replay that asked no gate", name)
		}
	}
	if again := g.replay(exitOK, "t"); again.Verdict != verdictStanding {
		t.Errorf("the same replay again: %+v", again)
	}
	g.days(4, nil)
	if later := g.replay(exitOK, "t"); later.Verdict != verdictPassed || later.Settled == 0 {
		t.Errorf("days after what was accepted: %+v", later)
	}
}

// B6: --gate report publishes and says what is wrong; limits are declared; what is
// held by processes that share a plan is accepted the same.
func TestGateModes(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(20, nil)
	honest := filepath.Join(g.dir, "cut.json")
	g.run(exitOK, "cut", "-o", honest)
	g.days(1, func(e *testbed.Event) int { e.Amt *= 60; return 1 })
	g.days(3, nil)
	limits := filepath.Join(g.dir, "limits.yaml")
	write := func(text string) {
		if err := os.WriteFile(limits, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for bad, what := range map[string]string{
		"least: 1": "at least 2", "snapshots: 1": "the view's own", "- 1": "line 1: what stands here is no mapping",
		"least: 9\nlimits: {speed: {alone: 1}}": "line 2: unknown key `speed`", "days: x": "line 1: `x` is no whole number", "days: 28.5": "28.5 is no whole number",
		"limits: {rows: {alone: y}}": "`y` is no number", "limits: {rows: {alone: -1}}": "the limit of rows, {alone: -1, lasting: 0.3}, must be numbers from 0 on", "limits: {tail: {alone: .inf}}": "the limit of tail", "sigmas: .nan": "NaN",
		"least: 9\n---\nleast: 8": "follows", "least: 9\nleast: 8": "line 2: ", "least: [": "line 1: ",
	} {
		write(bad)
		if said := g.run(exitUsage, "replay", "--out", filepath.Join(g.dir, "t"), "--gate-limits", limits); !strings.Contains(said, limits+" holds no limits: ") || !strings.Contains(said, what) {
			t.Errorf("%s: %s", bad, said)
		}
	}
	write("limits: {rows: {alone: 0.5}}")
	if o, err := (&gateFlags{limits: limits}).options(); err != nil || o.Limits.Rows != (gate.Margin{Alone: 0.5, Lasting: 0.3}) || o.Days != 28 || o.Limits.Nulls.Alone != 0.1 {
		t.Errorf("what limits do not name keeps its default: %+v, %v", o, err)
	}
	g.run(exitUsage, "replay", "--out", filepath.Join(g.dir, "t"), "--gate", "open")
	if _, err := os.Stat(filepath.Join(g.dir, "t")); err == nil {
		t.Error("what was refused has left something")
	}
	for _, out := range []string{"t", "r", "l"} {
		g.replay(exitOK, out, "--cut", honest)
	}
	if first := g.replay(exitOK, "first"); first.Verdict != verdictFirst || len(first.Breaches) == 0 {
		t.Errorf("the same log at once: %+v", first)
	}
	plan, out := filepath.Join(g.dir, "plan.json"), []string{"--out", filepath.Join(g.dir, "t")}
	g.run(exitOK, append([]string{"replay", "plan", "-o", plan}, out...)...)
	g.run(exitOK, append([]string{"replay", "run", "--unit", "0/1", "--plan", plan}, out...)...)
	said := g.gateOf(g.run(exitHeld, append([]string{"replay", "publish", "--json", "--plan", plan}, out...)...))
	if said.Verdict != verdictHeld || !strings.Contains(strings.Join(said.Breaches, "\n"), ", s_24h: ") {
		t.Errorf("amounts 60 times: %+v", said)
	}
	if r := g.replay(exitOK, "r", "--gate", "report"); r.Verdict != verdictReported || len(r.Breaches) != len(said.Breaches) {
		t.Errorf("%+v, held were %+v", r, said)
	}
	write("limits: {extreme: {alone: 1000}, middle: {alone: 1000}, tail: {alone: 1000}, quartile: {alone: 1000}}\n")
	if r := g.replay(exitOK, "l", "--gate-limits", limits); r.Verdict != verdictPassed {
		t.Errorf("with wide limits: %+v", r)
	}
	if r := g.gateOf(g.run(exitOK, append([]string{"replay", "accept", "--json", "--reason", "a sale"}, out...)...)); r.Verdict != verdictAccepted {
		t.Errorf("%+v", r)
	}
	g.run(exitOK, append([]string{"replay", "publish", "--plan", plan}, out...)...) // finds it published
}

// B6: of a view the newest publication that is held waits alone; where another one
// comes in between, it cannot be accepted any more.
func TestGateHoldsTheNewest(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(20, nil)
	g.replay(exitOK, "t")
	g.days(1, twice)
	g.days(3, nil)
	old := g.replay(exitHeld, "t")
	g.days(1, nil)
	now := g.replay(exitHeld, "t")
	out := []string{"--out", filepath.Join(g.dir, "t")}
	list := g.run(exitOK, append([]string{"replay", "held"}, out...)...)
	if old.HeldAs == now.HeldAs || strings.Contains(list, old.HeldAs) || !strings.Contains(list, now.HeldAs) {
		t.Errorf("held were %s and %s: %s", old.HeldAs, now.HeldAs, list)
	}
	areas, _ := filepath.Glob(filepath.Join(g.dir, "t", "_replay", "v", "*"))
	staged, _ := filepath.Glob(filepath.Join(g.dir, "t", "v", "features", "_staging", "*"))
	if len(areas) != 1 || len(staged) != 1 {
		t.Errorf("what is not held any more stays: %v %v", areas, staged)
	}
	all, kept := filepath.Join(g.dir, "t"), filepath.Join(g.dir, "kept")
	if err := os.CopyFS(kept, os.DirFS(all)); err != nil {
		t.Fatal(err)
	}
	g.days(1, nil)
	g.replay(exitOK, "t", "--gate", "report")
	left := append([]string{areas[0]}, staged...)
	for _, table := range []string{"tiles", "open", "quarantine"} {
		left = append(left, filepath.Join(all, "v", table, "_staging", filepath.Base(areas[0])))
	}
	for _, dir := range left { // as if that one had not seen it
		below, _ := filepath.Rel(all, dir)
		from := filepath.Join(kept, below)
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := g.published("t")
	if said := g.run(exitFailed, append([]string{"replay", "accept", "--reason", "late"}, out...)...); !strings.Contains(said, "replaced by another publication since: plan, or replay, anew") {
		t.Errorf("accepted after another publication: %s", said)
	}
	if after, _ := g.published("t"); !maps.Equal(before.Versions, after.Versions) {
		t.Error("an older cut took the place of a newer one")
	}
}
