//go:build real

package real

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
)

// entities is how many entities the events are of.
const entities = 300

// account is what a producer of events knows of them without any engine: what each
// view has to count. The events are drawn so that no verdict is in doubt.
type account struct {
	records    int64 // ticks aside
	ticks      int64
	ids        int64 // different ones, on time
	copies     int64 // of an event in force, as it was
	superseded int64 // corrections, and older versions
	late       int64
	future     int64
	invalid    int64
	plain      map[string]int64 // on time, copies and versions included, by entity
}

func (a *account) add(b *account) {
	a.records += b.records
	a.ticks += b.ticks
	a.ids += b.ids
	a.copies += b.copies
	a.superseded += b.superseded
	a.late += b.late
	a.future += b.future
	a.invalid += b.invalid
	for e, n := range b.plain {
		a.plain[e] += n
	}
}

// generator draws the records of one partition, the same ones for the same seed.
type generator struct {
	account
	r         *rand.Rand
	topic     string
	partition int32
	now       time.Time     // the timestamp of the next record
	step      time.Duration // from one record to the next, on average
	jitter    time.Duration // by how much a timestamp may lie behind
	wall      bool          // now is the machine's time, and timestamps are nonsense
	back      int64         // timestamps behind an earlier one
	newest    time.Time
	serial    int
	recent    []recent
}

// recent is an event, its version in force, that may be copied or corrected: it was
// new a short while ago, so that its id is remembered and it is not late.
type recent struct {
	testbed.Event
	since time.Time
}

const recently = 15 * time.Minute

func newGenerator(topic string, partition int32, seed uint64, step time.Duration) *generator {
	return &generator{account: account{plain: map[string]int64{}}, r: rand.New(rand.NewPCG(seed, uint64(partition))), topic: topic,
		partition: partition, now: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), step: step}
}

// nonsense is the timestamp that brokers are to overrule.
var nonsense = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// lateness is that of the sources in definition.
const lateness = time.Hour

// next draws a record: new events, copies, corrections, older versions, late and
// future ones, garbage and ticks.
func (g *generator) next() *kgo.Record {
	if g.now = g.now.Add(time.Duration(g.r.Int64N(int64(2*g.step) + 1))); g.wall {
		g.now = time.Now()
	}
	x := g.r.IntN(100)
	if x == 0 {
		g.ticks++
		return &kgo.Record{Topic: g.topic, Partition: g.partition, Timestamp: g.now, Headers: []kgo.RecordHeader{{Key: schemas.TickHeader}}}
	}
	g.records++
	for len(g.recent) > 64 || len(g.recent) > 0 && g.now.Sub(g.recent[0].since) > recently {
		g.recent = g.recent[1:]
	}
	old := len(g.recent) > 0
	switch {
	case x < 3:
		g.invalid++
		return g.record([]byte("garbage"))
	case x < 6:
		g.late++
		e := g.fresh()
		e.ET = g.now.Add(-lateness - 10*time.Minute).UnixMicro()
		return g.record(e.Bytes())
	case x < 8:
		g.future++
		e := g.fresh()
		e.ET = g.now.Add(10 * time.Minute).UnixMicro()
		return g.record(e.Bytes())
	case old && x < 14:
		g.copies++
		e := g.recent[g.r.IntN(len(g.recent))].Event
		return g.counted(&e)
	case old && x < 20:
		g.superseded++
		i := g.r.IntN(len(g.recent))
		e := &g.recent[i].Event
		e.Ver, e.ET, e.Amt = e.Ver+1, g.onTime(), float64(g.r.IntN(40))/4
		return g.counted(e)
	case old && x < 23:
		g.superseded++
		e := g.recent[g.r.IntN(len(g.recent))].Event
		e.Ver, e.Amt = e.Ver-1, 1e6
		return g.counted(&e)
	}
	return g.event()
}

// event draws a new event that is on time.
func (g *generator) event() *kgo.Record {
	g.ids++
	e := g.fresh()
	g.recent = append(g.recent, recent{e, g.now})
	return g.counted(&e)
}

// counted is a record of an event that the view without ids counts.
func (g *generator) counted(e *testbed.Event) *kgo.Record {
	g.plain[e.Ent]++
	return g.record(e.Bytes())
}

func (g *generator) fresh() testbed.Event {
	g.serial++
	return testbed.Event{Ent: fmt.Sprintf("e%d", g.r.IntN(entities)), ID: fmt.Sprintf("p%d-%d", g.partition, g.serial), Ver: 5, ET: g.onTime(), Amt: float64(g.r.IntN(40)) / 4}
}

// onTime is an event time that no clock of the partition makes late or future.
func (g *generator) onTime() int64 {
	if g.wall {
		return g.now.Add(-time.Duration(g.r.Int64N(int64(3 * time.Second)))).UnixMicro()
	}
	if g.jitter == 0 && g.r.IntN(20) == 0 {
		return g.now.Add(time.Duration(g.r.Int64N(int64(4 * time.Minute)))).UnixMicro()
	}
	return g.now.Add(-time.Duration(g.r.Int64N(int64(20 * time.Minute)))).UnixMicro()
}

func (g *generator) record(value []byte) *kgo.Record {
	at := g.now
	if g.jitter > 0 {
		at = at.Add(-time.Duration(g.r.Int64N(int64(g.jitter))))
	}
	if g.wall {
		at = nonsense
	}
	if at.Before(g.newest) {
		g.back++
	} else {
		g.newest = at
	}
	return &kgo.Record{Topic: g.topic, Partition: g.partition, Timestamp: at, Value: value}
}
