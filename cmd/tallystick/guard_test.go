package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/transforms/definition"
)

// states returns what Redis has of states, by key and field.
func (g *gateRig) states(m *miniredis.Miniredis) map[string]string {
	g.Helper()
	out := map[string]string{}
	for _, k := range m.Keys() {
		if kind := m.Type(k); kind == "hash" {
			fields, err := m.HKeys(k)
			if err != nil {
				g.Fatal(err)
			}
			for _, f := range fields {
				out[k+" "+f] = m.HGet(k, f)
			}
		}
	}
	return out
}

// streamed returns how many records are in Redis.
func (g *gateRig) streamed(m *miniredis.Miniredis) int64 {
	g.Helper()
	def, err := definition.Load(g.definition)
	if err != nil {
		g.Fatal(err)
	}
	redis, err := online.Open(g.Context(), online.Options{Addrs: []string{m.Addr()}, AllowUnknownPolicy: true})
	if err != nil {
		g.Fatal(err)
	}
	defer redis.Close()
	v, err := streamed(g.Context(), redis, def.Views[0])
	if err != nil {
		g.Fatal(err)
	}
	return v.Total.Read
}

// stream runs a stream to the log's end.
func (g *gateRig) stream(code int, m *miniredis.Miniredis, more ...string) string {
	g.Helper()
	return g.run(code, append([]string{"stream", "--until", "end", "--redis", m.Addr()}, more...)...)
}

// guardedStream starts an always-on stream that looks for publications so often.
func (g *gateRig) guardedStream(m *miniredis.Miniredis, every time.Duration, more ...string) (said *testbed.Heard, end func()) {
	g.Helper()
	s := &streamFlags{guard: guardFlags{every: every}, pollWait: 20 * time.Millisecond}
	cmd, said := s.command(), &testbed.Heard{}
	ctx, cancel := context.WithCancel(g.Context())
	cmd.SetArgs(slices.Concat([]string{"--redis", m.Addr(), "--guard", filepath.Join(g.dir, "t")}, more, g.common))
	cmd.SetOut(said)
	cmd.SetErr(said)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	g.Cleanup(cancel)
	return said, func() {
		g.Helper()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				g.Errorf("the stream ends with %v", err)
			}
		case <-time.After(time.Minute):
			g.Fatal("the stream does not end")
		}
	}
}

func (g *gateRig) until(what string, said *testbed.Heard, ok func() bool) {
	g.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			g.Fatalf("never comes: %s: %s", what, said)
		}
	}
}

// B6: a day that comes twice is held: what goes beyond the accepted days is not in Redis,
// for a run that is to end (exit code 5), for the one after it, which has not counted
// what the first did, and for a stream that stays. Once the figures are accepted it goes
// on by itself, and Redis is then that of a stream without a guard, byte for byte.
func TestGuardHolds(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(20, nil)
	g.replay(exitOK, "t")
	held, free := testbed.Redis(t), testbed.Redis(t)
	guard := []string{"--guard", filepath.Join(g.dir, "t"), "--guard-mode", "hold"}
	if said := g.stream(exitOK, held, guard...); !strings.Contains(said, "guarded by the figures of 20 dates") || strings.Contains(said, "the guard: ") {
		t.Fatalf("an honest log: %s", said)
	}
	honest := g.streamed(held)
	g.days(1, twice)
	day := g.begin.AddDate(0, 0, 20).Format("2006-01-02")
	g.days(3, nil)
	said := g.stream(exitHeld, held, guard...)
	if !strings.Contains(said, "ledger, "+day+": records read") || !strings.Contains(said, "replay accept") || strings.Count(said, "is held at offset") != 1 {
		t.Fatalf("a day that came twice: %s", said)
	}
	read := g.streamed(held)
	if least := honest + 100; read < honest || read > least+420 {
		t.Errorf("B6: %d records are in Redis, %d before the day, which has about 600 in the place of 300", read, honest)
	}
	was := g.states(held)
	if said := g.stream(exitHeld, held, guard...); g.streamed(held) != read || !maps.Equal(g.states(held), was) {
		t.Errorf("B6: a run after one that was held lets %d records through: %s", g.streamed(held)-read, said)
	}
	heard, end := g.guardedStream(held, 10*time.Millisecond, "--guard-mode", "hold", "--listen", "127.0.0.1:0")
	g.until("it is held", heard, func() bool { return strings.Contains(heard.String(), "held, and up to offset") })
	g.replay(exitHeld, "t")
	if g.streamed(held) != read || !maps.Equal(g.states(held), was) {
		t.Error("B6: what is held is visible")
	}
	g.run(exitOK, "replay", "accept", "--reason", "a fair", "--out", filepath.Join(g.dir, "t"))
	all := honest + int64(g.total(20))
	g.until("all is in Redis", heard, func() bool { return g.streamed(held) == all })
	end()
	if !strings.Contains(heard.String(), "no longer held") {
		t.Error(heard.String())
	}
	g.stream(exitOK, free)
	if a, b := g.states(held), g.states(free); len(a) < 60 || !maps.Equal(a, b) || g.streamed(free) != all {
		t.Errorf("B6: %d fields of %d and %d are alike", same(a, b), len(a), len(b))
	}
	if heldKeyOf(held) != "none" {
		t.Error("what held it is still in Redis")
	}
}

// B6: days that are all alike, with a rush at noon, raise no alarm, though what a feature
// over half an hour is at noon it is at no midnight, of which the tables' rows are.
func TestGuardHonestNoon(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	days := func(n, from, to int) {
		var batch []*kgo.Record
		for ; n > 0; n, g.next = n-1, g.next+1 {
			for minute := from; minute < to; minute++ {
				noon := minute >= 12*60 && minute < 14*60
				if minute%30 != 5 && !(noon && minute%3 == 0) {
					continue
				}
				at := g.begin.AddDate(0, 0, g.next).Add(time.Duration(minute) * time.Minute)
				for k := range 20 {
					e := testbed.Event{Ent: fmt.Sprint("e", k), ID: fmt.Sprint(g.next, "-", minute, "-", k), Ver: 1, ET: at.UnixMicro(), Amt: 1}
					batch = append(batch, &kgo.Record{Topic: "ev", Partition: int32(k % 3), Timestamp: at, Value: e.Bytes()})
				}
			}
		}
		if err := g.producer.ProduceSync(g.Context(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	days(20, 5, 1440)
	g.replay(exitOK, "t")
	m := testbed.Redis(t)
	guard := []string{"--guard", filepath.Join(g.dir, "t"), "--guard-mode", "alarm"}
	said := g.stream(exitOK, m, guard...)
	for range 3 {
		days(1, 5, 13*60) // a stream that is there at one o'clock
		said += g.stream(exitOK, m, guard...)
		g.next--
		days(1, 13*60, 1440)
		said += g.stream(exitOK, m, guard...)
	}
	if strings.Contains(said, "the guard: ") || strings.Count(said, "guarded by the figures of 20 dates") != 7 {
		t.Error(said)
	}
	g.replay(exitOK, "t") // nor has the gate anything against them
}

// newHoldRig has published 20 days, and returns the flags of a guard that holds where
// the number of records alone tells.
func newHoldRig(t *testing.T) (g *gateRig, flags []string) {
	g = newGateRig(t)
	g.days(20, nil)
	g.replay(exitOK, "t")
	limits := filepath.Join(g.dir, "limits.yaml")
	if err := os.WriteFile(limits, []byte("limits: {outcome: {alone: 0, lasting: 0}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return g, []string{"--gate-limits", limits, "--guard-mode", "hold"}
}

// B6: what one process holds, another one that joins holds too, whether it is asked for
// no partition and ends again, or takes over when the first one ends.
func TestGuardHoldsForOthers(t *testing.T) {
	t.Parallel()
	g, guard := newHoldRig(t)
	m := testbed.Redis(t)
	g.days(1, nil)
	once := int64(g.total(0))
	a, endA := g.guardedStream(m, time.Hour, guard...)
	g.until("all is in Redis", a, func() bool { return g.streamed(m) == once })
	joined := func(s *testbed.Heard) func() bool {
		return func() bool { return strings.Contains(s.String(), "the group's partitions that this process has") }
	}
	b, endB := g.guardedStream(m, time.Hour, guard...)
	g.until("b joins", b, joined(b))
	g.next--
	g.days(1, nil) // the same records again
	all := once + int64(g.sent[len(g.sent)-1])
	holds := func(s *testbed.Heard) func() bool {
		return func() bool { return strings.Contains(s.String(), "held, and up to offset") }
	}
	g.until("one is held", a, func() bool { return (holds(a)() || holds(b)()) && heldKeyOf(m) != "none" })
	c, endC := g.guardedStream(m, time.Hour, guard...)
	g.until("c joins", c, joined(c))
	endC()
	if heldKeyOf(m) == "none" {
		t.Error("who joined and ended has let it go")
	}
	if holds(a)() {
		endA()
		g.until("b takes over", b, func() bool { return strings.Count(b.String(), "the group's partitions that this process has") > 1 })
		g.until("b is held too", b, holds(b))
		endB()
	} else {
		endB()
		g.until("a is held too", a, holds(a))
		endA()
	}
	if n := g.streamed(m); n < once || n >= all {
		t.Errorf("%d records are in Redis, of %d and as many again as the last day has, %d in all", n, once, all)
	}
}

// total is how many records the days from one on have.
func (g *gateRig) total(from int) (n int) {
	g.Helper()
	for day := from; day < g.next; day++ {
		n += g.sent[day]
	}
	return n
}

func same(a, b map[string]string) (n int) {
	for k, v := range a {
		if b[k] == v {
			n++
		}
	}
	return n
}

func heldKeyOf(m *miniredis.Miniredis) string {
	for _, k := range m.Keys() {
		if strings.HasSuffix(k, ":held") {
			return k
		}
	}
	return "none"
}

// B6: an alarm tells of each figure once and holds nothing, what was held before is let
// go; without a publication, or with too few dates, it says that nothing is guarded;
// figures of another definition are refused.
func TestGuardAlarms(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	dir := filepath.Join(g.dir, "t")
	g.run(exitUsage, "stream", "--redis", "127.0.0.1:1", "--guard", dir)
	g.run(exitUsage, "stream", "--redis", "127.0.0.1:1", "--guard-mode", "hold")
	g.run(exitUsage, "stream", "--redis", "127.0.0.1:1", "--guard", g.dir, "--guard-mode", "stop")
	m := testbed.Redis(t)
	g.days(4, nil)
	if said := g.stream(exitOK, m, "--guard", g.dir); !strings.Contains(said, "the guard guards nothing: nothing has been published in "+g.dir+" yet") {
		t.Error(said)
	}
	g.replay(exitOK, "t")
	if said := g.stream(exitOK, m, "--guard", dir); !strings.Contains(said, "has the figures of 4 dates, and it needs 7") {
		t.Error(said)
	}
	g.days(16, nil)
	g.replay(exitOK, "t")
	g.days(1, func(e *testbed.Event) int { e.Amt *= 60; return 1 })
	g.stream(exitHeld, m, "--guard", dir, "--guard-mode", "hold")
	said := g.stream(exitOK, m, "--guard", dir)
	if strings.Count(said, "the guard: features, ") == 0 || strings.Count(said, "s_24h: greatest value") != 1 || heldKeyOf(m) != "none" {
		t.Errorf("amounts 60 times: %s", said)
	}
	if all := int64(g.total(0)); g.streamed(m) != all {
		t.Errorf("an alarm holds: %d of %d", g.streamed(m), all)
	}
	commits, _ := filepath.Glob(filepath.Join(dir, "v", "features", "_delta_log", "*.json"))
	for _, c := range commits { // tables that cannot be read
		if err := os.WriteFile(c, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said := g.stream(exitOK, m, "--guard", dir); !strings.Contains(said, "the guard guards nothing yet, and looks again: ") {
		t.Errorf("an alarm without its tables: %s", said)
	}
	g.stream(exitFailed, m, "--guard", dir, "--guard-mode", "hold")
}

// B6: a run that begins after what was counted before it holds what the run before it
// held, though what is left would pass: it stands in Redis.
func TestGuardRestarts(t *testing.T) {
	t.Parallel()
	g, guard := newHoldRig(t)
	m := testbed.Redis(t)
	g.days(1, nil)
	once := int64(g.total(0))
	heard, end := g.guardedStream(m, time.Hour, guard...)
	g.until("all is in Redis", heard, func() bool { return g.streamed(m) == once })
	g.next--
	g.days(1, nil) // the same records again
	again := int64(g.sent[len(g.sent)-1])
	g.until("it is held", heard, func() bool { return strings.Contains(heard.String(), "held, and up to offset") })
	g.until("it stands in Redis, also for who is killed now", heard, func() bool { return heldKeyOf(m) != "none" })
	end()
	read := g.streamed(m)
	guard = append(guard, "--guard", filepath.Join(g.dir, "t"))
	if said := g.stream(exitHeld, m, guard...); g.streamed(m) != read || read >= once+again || !strings.Contains(said, ": records read") {
		t.Errorf("%d records and %d again, %d are in Redis, then %d: %s", once, again, read, g.streamed(m), said)
	}
	if said := g.stream(exitOK, m, append(guard, "--guard-mode", "alarm")...); g.streamed(m) != once+again {
		t.Errorf("an alarm holds: %s", said)
	}
	if said := g.stream(exitOK, m, guard...); heldKeyOf(m) != "none" {
		t.Errorf("what an alarm has let go holds again: %s", said)
	}
}
