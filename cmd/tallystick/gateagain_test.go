package main

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/offline"
)

// out are the flags that name the tables.
func (g *gateRig) out(name string, more ...string) []string {
	return append(more, "--out", filepath.Join(g.dir, name))
}

// B4, B5: a replay that goes on, and is killed with some of the tables committed, is
// gone on from later, when more has come.
func TestContinueAfterTornPublication(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(10, nil)
	g.replay(exitOK, "t")
	g.days(1, nil)
	g.replay(exitOK, "t", "--continue")
	commits, _ := filepath.Glob(filepath.Join(g.dir, "t", "v", "features", "_delta_log", "*.json"))
	slices.Sort(commits)
	if len(commits) != 2 {
		t.Fatal(commits)
	}
	if err := os.Remove(commits[1]); err != nil { // it was never there
		t.Fatal(err)
	}
	g.days(1, nil)
	g.replay(exitOK, "t", "--continue")
	if p, _ := g.published("t"); p.Versions[offline.Tiles] != 2 || p.Info.Mode != offline.ReplaceDates {
		t.Errorf("%v, %s", p.Versions, p.Info.Mode)
	}
	g.replay(exitOK, "whole")
	if d := differing(g.live("t"), g.live("whole")); len(d) > 0 {
		t.Errorf("B5: %v differ", d)
	}
}

// B6: what is held is accepted with the limits that held it, once, and not lost by a
// rerun of what is published already.
func TestHeldIsKept(t *testing.T) {
	g := newGateRig(t)
	g.days(20, nil)
	limits, cut := filepath.Join(g.dir, "limits.yaml"), filepath.Join(g.dir, "cut.json")
	if err := os.WriteFile(limits, []byte("limits: {surplus: {alone: 0.05, lasting: 0.03}}\nsigmas: 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.run(exitOK, "cut", "-o", cut)
	g.replay(exitOK, "t", "--gate-limits", limits, "--cut", cut)
	n := 0
	g.days(1, func(*testbed.Event) int { n++; return 1 + n%5/4 })
	g.days(2, nil)
	held := g.replay(exitHeld, "t", "--gate-limits", limits)
	if said := g.replay(exitOK, "t", "--cut", cut); said.Verdict != verdictStanding {
		t.Errorf("what is published, again: %+v", said)
	}
	if list := g.run(exitOK, g.out("t", "replay", "held")...); !strings.Contains(list, held.HeldAs) {
		t.Errorf("B6: it is not held any more: %s", list)
	}
	work, kept := filepath.Join(g.dir, "t", "_replay"), filepath.Join(g.dir, "kept")
	if err := os.CopyFS(kept, os.DirFS(work)); err != nil {
		t.Fatal(err)
	}
	accepted := g.gateOf(g.run(exitOK, g.out("t", "replay", "accept", "--json", "--reason", "fine")...))
	_, rec := g.published("t")
	if accepted.Verdict != verdictAccepted || !slices.Equal(accepted.Breaches, held.Breaches) || rec.Accepted == nil || rec.Options.Sigmas != 0 {
		t.Errorf("%+v, held were %+v", accepted, held)
	}
	if err := os.CopyFS(work, os.DirFS(kept)); err != nil { // as if it had been killed before it removed that
		t.Fatal(err)
	}
	if said := g.run(exitFailed, g.out("t", "replay", "accept", "--reason", "fine")...); !strings.Contains(said, "has been published already") {
		t.Errorf("accepted again: %s", said)
	}
	if list := g.run(exitOK, g.out("t", "replay", "held")...); !strings.Contains(list, "nothing is held") {
		t.Errorf("it is still held: %s", list)
	}
}

// atOnce runs the same twice at once on the tables as they are, round by round, and
// returns what was said, by exit code.
func (g *gateRig) atOnce(name string, args ...string) iter.Seq2[int, map[int]string] {
	g.Helper()
	tables, kept := filepath.Join(g.dir, name), filepath.Join(g.dir, name+"-kept")
	if err := os.Rename(tables, kept); err != nil {
		g.Fatal(err)
	}
	return func(yield func(int, map[int]string) bool) {
		for round := range 16 {
			if err := errors.Join(os.RemoveAll(tables), os.CopyFS(tables, os.DirFS(kept))); err != nil {
				g.Fatal(err)
			}
			codes, said := [2]int{}, [2]bytes.Buffer{}
			var both sync.WaitGroup
			for i := range codes {
				both.Go(func() { codes[i] = run(g.Context(), append(g.out(name, args...), g.common...), &said[i], &said[i]) })
			}
			both.Wait()
			by := map[int]string{codes[0]: said[0].String()}
			by[codes[1]] += said[1].String()
			if !yield(round, by) {
				return
			}
		}
	}
}

// B6: of two who accept the same at once one publishes it, and the other is told that
// it is published.
func TestAcceptedTwiceAtOnce(t *testing.T) {
	g := newGateRig(t)
	g.days(20, nil)
	g.replay(exitOK, "t")
	g.days(1, twice)
	g.days(2, nil)
	g.replay(exitHeld, "t")
	for round, said := range g.atOnce("t", "replay", "accept", "--reason", "fine") {
		late := said[exitFailed]
		if _, ok := said[exitOK]; !ok || late != "" && !strings.Contains(late, "has been published already") && !strings.Contains(late, "there is nothing to accept") {
			t.Errorf("round %d: %v", round, said)
		}
		if _, rec := g.published("t"); rec.Accepted == nil {
			t.Errorf("round %d: nobody has accepted it", round)
		}
	}
}

// B4: a plan that is published twice at once is published.
func TestPublishedTwiceAtOnce(t *testing.T) {
	g := newGateRig(t)
	g.days(10, nil)
	plan := filepath.Join(g.dir, "plan.json")
	g.run(exitOK, g.out("t", "replay", "plan", "-o", plan)...)
	g.run(exitOK, g.out("t", "replay", "run", "--unit", "0/1", "--plan", plan)...)
	for round, said := range g.atOnce("t", "replay", "publish", "--plan", plan) {
		if len(said) != 1 || !strings.Contains(said[exitOK], "feature rows") {
			t.Errorf("round %d: %v", round, said)
		}
		g.published("t")
	}
}

// B6: days that were published without asking the gate are known to it.
func TestGateAfterOff(t *testing.T) {
	g := newGateRig(t)
	g.days(20, nil)
	g.replay(exitOK, "t")
	g.days(4, nil)
	g.replay(exitOK, "t", "--continue", "--gate", "off")
	g.days(1, nil)
	if said := g.replay(exitOK, "t", "--continue"); said.Verdict != verdictPassed {
		t.Errorf("%+v", said)
	}
}

// B6: a day that is sent again is seen however often replays go on in between, and what
// was reported alone is no baseline.
func TestGateOfManyRuns(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(20, nil)
	g.replay(exitOK, "t")
	var batch []*kgo.Record
	at := g.begin.AddDate(0, 0, g.next).Add(time.Minute)
	for i := range 300 {
		e := testbed.Event{Ent: fmt.Sprint("e", i%60), ID: fmt.Sprint("again", i), Ver: 1, ET: g.begin.AddDate(0, 0, 12).UnixMicro() + int64(i)*1_000_000, Amt: 0.01}
		batch = append(batch, &kgo.Record{Topic: "ev", Partition: int32(i % 3), Timestamp: at, Value: e.Bytes()})
	}
	if err := g.producer.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	g.replay(exitOK, "t", "--continue") // its day is not closed yet
	g.days(2, nil)
	if said := g.replay(exitHeld, "t", "--continue"); !strings.Contains(strings.Join(said.Breaches, "\n"), "late of the records") {
		t.Errorf("%+v", said)
	}
	g.replay(exitOK, "t", "--continue", "--gate", "report")
	g.days(4, nil)
	g.replay(exitOK, "t", "--continue")
	g.days(1, twice)
	g.days(2, nil)
	g.replay(exitOK, "t", "--continue", "--gate", "report")
	g.days(1, nil)
	g.days(1, twice)
	g.days(2, nil)
	g.replay(exitHeld, "t", "--continue")
}

// B5: records that would be read otherwise now are read again.
func TestContinueWithOtherSchemas(t *testing.T) {
	g := newGateRig(t)
	g.days(3, nil)
	at := g.begin.AddDate(0, 0, g.next).Add(-2 * time.Minute)
	b := testbed.Event{Ent: "e1", ID: "new", Ver: 1, ET: at.UnixMicro(), Amt: 0.01}.Bytes()
	b[4] = 9
	if err := g.producer.ProduceSync(t.Context(), &kgo.Record{Topic: "ev", Partition: 0, Timestamp: at, Value: b}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	g.replay(exitOK, "t")
	text, err := os.ReadFile(g.definition)
	if err == nil {
		err = os.WriteFile(g.definition, []byte(strings.Replace(string(text), "{1: ", "{9: ev.avsc, 1: ", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.days(1, nil)
	if said := g.run(exitOK, g.out("t", "replay", "--continue")...); !strings.Contains(said, "they were read with other names, writer schemas") {
		t.Error(said)
	}
	g.replay(exitOK, "whole")
	if d := differing(g.live("t"), g.live("whole")); len(d) > 0 {
		t.Errorf("B5: %v differ", d)
	}
}
