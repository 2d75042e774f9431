//go:build real

package real

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tallystick/tallystick/integration/servers"
)

// K1: a Kafka that is out of reach for half a minute is waited for.
func TestKafkaUnreachable(t *testing.T) {
	x := newRig(t, setup{fault: "a broker paused (SIGSTOP)"})
	x.produce(4_000)
	w := x.start()
	events := x.live(500)
	x.following()
	broker, begun := x.kafka.Node(0), time.Now()
	broker.Pause()
	t.Cleanup(broker.Continue) // it is shared
	at, moved := x.folded(), time.Now()
	x.until("the outage to last", func() bool {
		if now := x.folded(); now != at {
			at, moved = now, time.Now()
		}
		return time.Since(begun) > outage()
	})
	x.evidence("seconds in which nothing was folded", int64(time.Since(moved).Seconds()))
	broker.Continue()
	events.end()
	x.last()
	if !w.running() {
		x.Errorf("the worker has ended: %s", w.errout.String())
	}
	w.stop()
	x.verdict()
}

// Brokers are killed one after the other, each while it leads, under load; what was
// acknowledged stays, and is folded once.
func TestBrokerKilled(t *testing.T) {
	rounds, rate := 3, 3_000
	if testing.Short() {
		rounds, rate = 1, 500
	}
	k, err := servers.StartKafka(t.Context(), servers.KafkaOptions{Nodes: 3})
	servers.Check(t, err)
	t.Cleanup(k.Close)
	x := newRig(t, setup{fault: "one broker of three after the other killed -9 while it led, under load", kafka: k, records: rate * rounds * 15})
	x.produce(1_000)
	w := x.start()
	events := x.live(rate)
	x.following()
	var moved int64
	for range rounds {
		before := x.leaders()
		victim := int(before[0]) - 1
		k.Node(victim).Kill()
		x.until("another leader", func() bool { l := x.leaders(); return l[0] >= 0 && l[0] != before[0] })
		x.following() // with one broker less
		for p, l := range x.leaders() {
			if l != before[p] {
				moved++
			}
		}
		x.must(k.Start(x.ctx, victim))
		x.must(k.InSync(x.ctx, x.topic))
	}
	x.figure("events a second", events.end())
	x.last()
	w.stop()
	x.evidence("brokers killed -9", int64(rounds))
	x.evidence("partitions that got another leader", moved)
	x.verdict()
}

// leaders returns the leader of each partition, -1 for none; broker i of the
// cluster has node id i+1.
func (x *rig) leaders() map[int32]int32 {
	x.Helper()
	c, err := x.kafka.Client()
	x.must(err)
	defer c.Close()
	list, err := kadm.NewClient(c).ListTopics(x.ctx, x.topic)
	x.must(err)
	out := map[int32]int32{}
	for _, p := range list[x.topic].Partitions {
		out[p.Partition] = p.Leader
	}
	return out
}
