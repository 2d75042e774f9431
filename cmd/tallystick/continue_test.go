package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
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

// B1, B5: a replay that goes on day by day leaves the files of one from the beginning,
// to the byte, and reads no record twice; readers of the tables find one publication.
func TestReplayDayByDay(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	late := func(e *testbed.Event) int { // some are late, some of them by days
		if len(e.ID)%3 == 0 && e.Amt > 0.07 {
			e.ET -= 3 * 3600_000_000
		}
		return 1
	}
	g.days(3, late)
	g.replay(exitOK, "daily", "--continue") // says that it cannot, and does it all
	for day := range 6 {
		g.days(1+day%2, late)
		at := g.begin.AddDate(0, 0, g.next).Add(-time.Minute)
		if err := g.producer.ProduceSync(t.Context(), &kgo.Record{Topic: "ev", Partition: int32(day % 3), Timestamp: at, Key: []byte("k"), Value: []byte("garbage")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		said := g.run(exitOK, "replay", "--json", "--continue", "--out", filepath.Join(g.dir, "daily"))
		var r replayOutput
		if err := json.NewDecoder(strings.NewReader(said)).Decode(&r); err != nil {
			t.Fatal(err)
		}
		if v := r.Views[0]; !v.Continued || v.Offsets > 700 || v.RecordsRead != v.Offsets || v.Total.Read <= v.Offsets {
			t.Fatalf("B5: continued %v: %d records read, of %d offsets; %d in all", v.Continued, v.RecordsRead, v.Offsets, v.Total.Read)
		}
		before, _ := g.published("daily")
		commit, err := os.ReadFile(filepath.Join(g.dir, "daily", "v", "features", "_delta_log", fmt.Sprintf("%020d.json", before.Versions[offline.Features])))
		if err != nil || !bytes.Contains(commit, []byte(`"days_upon"`)) {
			t.Fatalf("B5: the commit of a day has all days there were: %v, %s", err, commit)
		}
		if again := g.replay(exitOK, "daily", "--continue"); again.Verdict != verdictStanding {
			t.Fatalf("nothing has come, and the gate says %s", again.Verdict)
		}
		if said := g.run(exitOK, "replay", "--continue", "--out", filepath.Join(g.dir, "daily")); !strings.Contains(said, "nothing has come since: the tables stay as they are\ntables in ") {
			t.Fatal(said)
		}
		if now, _ := g.published("daily"); !maps.Equal(now.Versions, before.Versions) {
			t.Fatal("nothing has come, and it is published")
		}
		whole := fmt.Sprint("whole-", day)
		g.run(exitOK, "replay", "--out", filepath.Join(g.dir, whole))
		got, want := g.live("daily"), g.live(whole)
		if d := differing(got, want); len(d) > 0 || len(want) < 10 {
			t.Fatalf("B5: day %d: %d files, from the beginning %d; they differ in %v", day, len(got), len(want), d)
		}
		a, _ := g.published("daily")
		b, _ := g.published(whole)
		if fmt.Sprint(a.Info.Ledgers) == "" || !maps.Equal(ledgersOf(a), ledgersOf(b)) {
			t.Fatalf("B5: day %d: the ledgers differ", day)
		}
	}
	g.equal("daily")
}

// K1: an earlier cut than that of the tables is published, and said to be one.
func TestReplayGoesBack(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	out, cut := filepath.Join(g.dir, "back"), filepath.Join(g.dir, "cut.json")
	each := func(*testbed.Event) int { return 1 }
	g.days(3, each)
	if said := g.run(exitOK, "replay", "--save-cut", cut, "--out", out); strings.Contains(said, "an earlier state") {
		t.Fatal(said)
	}
	g.days(1, each)
	g.run(exitOK, "replay", "--out", out)
	was, _ := g.published("back")
	said := g.run(exitOK, "replay", "--gate", "report", "--cut", cut, "--out", out)
	now, _ := g.published("back")
	for p, pc := range was.Info.Cut.Partitions {
		line := fmt.Sprintf("an earlier state than that of the tables, which had read partition %d up to offset %d\n", p, pc.End)
		if back := now.Info.Cut.Partitions[p].End < pc.End; strings.Contains(said, line) != back {
			t.Errorf("partition %d went back: %v; it says\n%s", p, back, said)
		}
	}
	if now.Info.Cut.Partitions[0].End >= was.Info.Cut.Partitions[0].End {
		t.Error("nothing went back")
	}
}

// B5, B6: what goes on from tables passes the gate as well, and is accepted upon them;
// what they cannot be gone on from is read from the log's start.
func TestContinuedGate(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(20, nil)
	g.replay(exitOK, "t")
	g.days(1, nil)
	if said := g.replay(exitOK, "t", "--continue"); said.Verdict != verdictPassed || said.Dates > 3 {
		t.Errorf("an honest day: %+v", said)
	}
	g.days(1, twice)
	g.days(2, nil)
	held := g.replay(exitHeld, "t", "--continue")
	before, _ := g.published("t")
	out := []string{"--out", filepath.Join(g.dir, "t")}
	if accepted := g.gateOf(g.run(exitOK, append([]string{"replay", "accept", "--json", "--reason", "a fair"}, out...)...)); accepted.Verdict != verdictAccepted || len(accepted.Breaches) != len(held.Breaches) {
		t.Errorf("%+v, held were %+v", accepted, held)
	}
	if now, _ := g.published("t"); now.Versions[offline.Features] != before.Versions[offline.Features]+1 || now.Info.Mode != offline.ReplaceDates {
		t.Errorf("versions %v, %s", now.Versions, now.Info.Mode)
	}
	g.days(2, nil)
	if said := g.replay(exitOK, "t", "--continue"); said.Verdict != verdictPassed {
		t.Errorf("days after what was accepted: %+v", said)
	}
	g.run(exitOK, "replay", "--out", filepath.Join(g.dir, "whole"), "--gate", "off")
	if d := differing(g.live("t"), g.live("whole")); len(d) > 0 {
		t.Errorf("B5: %v differ", d)
	}
	text, err := os.ReadFile(g.definition)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.definition, bytes.Replace(text, []byte("s: {sum: amt"), []byte("total: {sum: amt"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	g.days(1, nil)
	if said := g.run(exitOK, append([]string{"replay", "--continue"}, out...)...); !strings.Contains(said, "the log is read from its start: the tables have other columns") {
		t.Errorf("a feature has another name: %s", said)
	}
}

// §7: --publish final leaves out of features what can still change, and nothing else;
// to go on from such tables gives what was left out.
func TestPublishFinal(t *testing.T) {
	g := newGateRig(t)
	g.days(6, nil)
	for p := range int32(3) { // past midnight, which is not closed yet
		at := g.begin.AddDate(0, 0, 6).Add(30 * time.Minute)
		if err := g.producer.ProduceSync(t.Context(), &kgo.Record{Topic: "ev", Partition: p, Timestamp: at,
			Value: testbed.Event{Ent: fmt.Sprint("p", p), ID: "last", Ver: 1, ET: at.UnixMicro()}.Bytes()}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	g.replay(exitOK, "provisional")
	g.replay(exitOK, "final", "--publish", "final")
	all, final := g.live("provisional"), g.live("final")
	left := 0
	for name, sum := range all {
		if final[name] == sum {
			continue
		}
		if _, there := final[name]; there || !strings.HasPrefix(name, "features/event_date="+g.begin.AddDate(0, 0, 6).Format("2006-01")) {
			t.Errorf("%s differs, or is missing", name)
		}
		left++
	}
	if len(final) != len(all)-left || left == 0 {
		t.Errorf("%d files, %d of all, %d are left out", len(final), len(all), left)
	}
	g.replay(exitOK, "final", "--continue")
	late := g.begin.AddDate(0, 0, 6).Add(-time.Minute) // it comes past midnight
	e := testbed.Event{Ent: "late", ID: "late", Ver: 1, ET: late.UnixMicro(), Amt: 1}
	if err := g.producer.ProduceSync(t.Context(), &kgo.Record{Topic: "ev", Partition: 1, Timestamp: late.Add(32 * time.Minute), Value: e.Bytes()}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	said := g.run(exitOK, "replay", "--continue", "--json", "--out", filepath.Join(g.dir, "final"))
	var r replayOutput
	if err := json.NewDecoder(strings.NewReader(said)).Decode(&r); err != nil {
		t.Fatal(err)
	}
	c := r.Views[0].Changes
	if c == nil || len(c.Dates) != 1 || c.Dates[0].Changed != 1 || len(c.Examples) == 0 || c.Examples[0].Key["ent"] != "late" || c.Examples[0].Before != "ABSENT" || len(c.Examples[0].Events) != 1 || c.Examples[0].Events[0].Partition != 1 {
		t.Errorf("§7: a late event changes a row; it says %+v", c)
	}
	g.replay(exitOK, "again")
	all = g.live("again")
	if d := differing(g.live("final"), all); len(d) > 0 {
		t.Errorf("B5: %v differ", d)
	}
	g.run(exitUsage, "replay", "--out", filepath.Join(g.dir, "final"), "--publish", "all")
}

// B5, K3: tables are gone on from though the log has lost what they hold; without them
// the loss is told.
func TestContinueOnTruncatedLog(t *testing.T) {
	g := newGateRig(t)
	g.days(4, nil)
	g.replay(exitOK, "t")
	whole := g.begin.AddDate(0, 0, g.next)
	g.days(1, nil)
	g.replay(exitOK, "whole")
	admin := kadm.NewClient(g.producer)
	ends, err := admin.ListOffsetsAfterMilli(t.Context(), whole.Add(-time.Hour).UnixMilli(), "ev")
	if err == nil {
		_, err = admin.DeleteRecords(t.Context(), ends.Offsets())
	}
	if err != nil {
		t.Fatal(err)
	}
	g.run(exitFailed, "replay", "--out", filepath.Join(g.dir, "lost"))
	g.replay(exitOK, "t", "--continue")
	if d := differing(g.live("t"), g.live("whole")); len(d) > 0 {
		t.Errorf("B5: %v differ", d)
	}
}

func ledgersOf(p *offline.Published) map[string]string {
	out := map[string]string{}
	for _, l := range p.Info.Ledgers {
		out[fmt.Sprint(l.Shard, l.Partition)] = fmt.Sprintf("%+v %v", l.Ledger, *l.Newest)
	}
	for _, d := range p.Info.Days {
		out[fmt.Sprint(d.Partition, d.Day)] = fmt.Sprintf("%+v", d.Ledger)
	}
	return out
}

// live returns the files that the newest versions of tables name, with their digests.
func (g *gateRig) live(out string) map[string]string {
	g.Helper()
	files := map[string]string{}
	for _, table := range []string{"features", "tiles", "open", "quarantine"} {
		store, err := offline.NewLocal(filepath.Join(g.dir, out, "v", table))
		if err != nil {
			g.Fatal(err)
		}
		s, err := offline.NewTable(store, table).Snapshot(g.Context(), offline.Latest)
		if err != nil {
			g.Fatal(err)
		}
		for _, f := range s.Files {
			files[table+"/"+f.Path] = f.Tags["sha256"]
		}
	}
	return files
}
