//go:build real

package real

import (
	"testing"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
)

// Timestamps of producers that go back and forth move the log clock forward only:
// stream and replay agree on what is late (§3, V1).
func TestCreateTimeOutOfOrder(t *testing.T) {
	x := newRig(t, setup{fault: "timestamps of producers (CreateTime) up to 4 minutes out of order"})
	for _, g := range x.gens {
		g.jitter = 4 * time.Minute
	}
	x.produce(4_000)
	w := x.start()
	x.produce(4_000)
	x.last()
	w.stop()
	var back int64
	for _, g := range x.gens {
		back += g.back
	}
	x.evidence("timestamps behind an earlier record's", back)
	x.verdict()
}

// With LogAppendTime the brokers' stamps count, and the producers' do not. Windows
// of seconds close while the test looks on.
func TestLogAppendTime(t *testing.T) {
	x := newRig(t, setup{fault: "timestamps by the broker (LogAppendTime), those of producers 20 years off", periods: seconds, topic: map[string]string{"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}})
	for _, g := range x.gens {
		g.wall = true
	}
	w := x.start()
	begun := time.Now()
	events := x.live(300)
	x.until("windows to close", func() bool { return time.Since(begun) > 20*time.Second })
	events.end()
	x.last()
	w.stop()
	x.evidence("timestamps of producers overruled", x.overruled())
	// What a busy machine delays may come late: the producer cannot know.
	x.verdictBut(true)
}

// overruled counts the records in the log that do not have the generators' stamp.
func (x *rig) overruled() (n int64) {
	x.Helper()
	for _, p := range x.partitions() {
		x.must(x.log.Read(x.ctx, log.Ref{Name: x.topic}, p, 0, x.end(p), func(rs []schemas.Record) error {
			for i := range rs {
				if rs[i].Timestamp > schemas.Micros(nonsense.Add(time.Hour).UnixMicro()) {
					n++
				}
			}
			return nil
		}))
	}
	return n
}
