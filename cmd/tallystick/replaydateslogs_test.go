package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
)

// datesLog is a log in which dates are looked for.
type datesLog struct {
	name, source, features string
	jitter                 time.Duration // of timestamps
	lag                    bool          // a partition ends two days before the others
	idle                   bool          // a partition ends after a week
	stated                 int           // the day that --start-clock says; 0 = the topic bounds its timestamps
	days, back             int
}

// rig produces the log, with events that are late, sent again, corrected and moved.
func (l *datesLog) rig(t *testing.T) *dateRig {
	g := newDateRig(t, 4)
	text := testbed.EventDefinition
	text = text[:strings.Index(text, "    features:\n")] + "    features:\n" + l.features
	text = strings.Replace(text, "    lateness: 1h\n", l.source, 1)
	definition, brokers := logProject(t, text, 3, func(p *kgo.Client) { g.producer = p })
	g.definition, g.common = definition, []string{"-f", definition, "--brokers", brokers}
	if g.bound("3600000"); l.stated > 0 {
		g.bound("9223372036854775807")
	}
	r := rand.New(rand.NewPCG(9, 9))
	var batch []*kgo.Record
	for ; g.next < l.days; g.next++ {
		for i := range 40 {
			at := g.begin.AddDate(0, 0, g.next).Add(time.Duration(i) * 24 * time.Hour / 40)
			e := testbed.Event{Ent: fmt.Sprint("e", r.IntN(12)), ID: fmt.Sprint(g.next, "-", i), Ver: 1, ET: at.UnixMicro(), Amt: float64(r.IntN(95)) / 10}
			e.ET -= []int64{0, 0, 0, 0, 50 * 60, 3 * 3600, 50 * 3600, -60, -3600}[r.IntN(9)] * 1_000_000
			p := int32(len(e.Ent)+int(e.Ent[len(e.Ent)-1])) % 3
			if l.lag && p == 2 && g.next >= l.days-2 || l.idle && p == 1 && g.next > 6 {
				continue
			}
			for range 1 + r.IntN(2) {
				stamp := at.Add(-time.Duration(r.Int64N(int64(l.jitter) + 1)))
				batch = append(batch, &kgo.Record{Topic: "ev", Partition: p, Timestamp: stamp, Value: e.Bytes()})
				if r.IntN(2) == 0 {
					e.Ver, e.ET, e.Amt = 2, e.ET+r.Int64N(44*60*1_000_000)-40*60*1_000_000, e.Amt/2
				}
			}
		}
	}
	if err := g.producer.ProduceSync(g.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return g
}

const (
	datesSource   = "    lateness: 1h\n"
	idleSource    = "    lateness: 1h\n    close_idle: 1h\n"
	datesFeatures = "      n: {count: \"*\", over: [30m, 24h]}\n      l: {last: amt, over: {days: 2}}\n      x: {max: amt, over: {days: 1, exclude_current: true}}\n"
)

// B1, K5, K7, K8: whatever the log is like, the files of dates are those of a replay from
// its start, with the same clocks, and dates of tables that are there are put back as they
// were, also where close_idle has closed a partition beyond its records.
func TestReplayDatesOfAnyLog(t *testing.T) {
	t.Parallel()
	for _, l := range []datesLog{
		{name: "timestamps lie apart", source: datesSource, features: datesFeatures, jitter: 50 * time.Minute, days: 14, back: 3},
		{name: "a partition ends early", source: datesSource, features: datesFeatures, lag: true, jitter: 20 * time.Minute, days: 16, back: 5},
		{name: "lateness beyond windows", source: "    lateness: 72h\n", features: "      n: {count: \"*\", over: [30m]}\n", jitter: 30 * time.Minute, days: 22, back: 5},
		{name: "weeks", source: "    lateness: 6h\n", features: "      n: {count: \"*\", over: [{weeks: 1, exclude_current: true}, 3h]}\n      m: {sum: amt, over: 13d}\n", lag: true, jitter: 30 * time.Minute, days: 50, back: 4},
		{name: "an idle partition", source: idleSource, features: datesFeatures, idle: true, jitter: 30 * time.Minute, days: 16, back: 3},
		{name: "an idle partition before the clock that is stated", source: idleSource, features: datesFeatures, idle: true, stated: 9, days: 16, back: 3},
	} {
		t.Run(l.name, func(t *testing.T) {
			g := l.rig(t)
			cut := filepath.Join(g.dir, "cut.json")
			g.run(exitOK, "cut", "-o", cut)
			whole := g.dates("whole", "--cut", cut)
			more := []string{"--cut", cut, "--from-date", g.date(l.back)}
			if l.stated > 0 {
				more = append(more, "--start-clock", g.begin.AddDate(0, 0, l.stated).Format(time.RFC3339))
			}
			part := g.dates("part", more...)
			got, want := g.live("part"), g.live("whole")
			if d := differing(got, from(want, got, g.date(l.back))); len(d) > 0 || part.RecordsRead >= whole.RecordsRead {
				t.Errorf("%d of %d records were read; these differ: %v", part.RecordsRead, whole.RecordsRead, d)
			}
			p, _ := g.published("part")
			w, _ := g.published("whole")
			for id, pc := range w.Info.Cut.Partitions {
				if c := p.Info.Cut.Partitions[id].Clock; c == nil || *c != *pc.Clock {
					t.Errorf("K8: the clock of partition %d is %v, not %v", id, c, *pc.Clock)
				}
			}
			if l.stated > 0 {
				return
			}
			g.dates("whole", "--from-date", g.date(l.back+2), "--to-date", g.date(l.back))
			if d := differing(g.live("whole"), want); len(d) > 0 {
				t.Errorf("put back, these differ: %v", d)
			}
		})
	}
}

// K8: of a log that has been truncated to where a replay of dates would begin to read, they
// lack nothing.
func TestReplayDatesOfATruncatedLog(t *testing.T) {
	t.Parallel()
	g := newDateRig(t, 4)
	g.history(14)
	part := g.dates("a", "--from-date", g.date(3))
	var gone kadm.Offsets
	for _, p := range part.Partitions {
		if p.Start == 0 {
			t.Fatalf("partition %d is read from its start", p.Partition)
		}
		gone.AddOffset("ev", p.Partition, p.Start, -1)
	}
	if _, err := kadm.NewClient(g.producer).DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	g.dates("b", "--from-date", g.date(3))
	if d := differing(g.live("a"), g.live("b")); len(d) > 0 {
		t.Errorf("these differ: %v", d)
	}
}
