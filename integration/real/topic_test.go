//go:build real

package real

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// admin returns a client that changes topics.
func (x *rig) admin() *kadm.Client {
	x.Helper()
	c, err := x.kafka.Client()
	x.must(err)
	x.Cleanup(c.Close)
	return kadm.NewClient(c)
}

// newProducer replaces the producer: one of before knows the topic as it was.
func (x *rig) newProducer() {
	x.Helper()
	var err error
	x.producer, err = x.kafka.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	x.must(err)
	x.Cleanup(x.producer.Close)
}

// K3: partitions that are added while a worker runs are adopted from offset 0.
func TestMorePartitions(t *testing.T) {
	x := newRig(t, setup{fault: "a topic grown from 4 to 8 partitions while a worker runs", records: 12_000})
	x.produce(4_000)
	protocol := "classic" // which looks for partitions once a minute
	if testing.Short() {
		protocol = "consumer" // where the brokers tell at once
	}
	w := x.start("--group-protocol", protocol)
	x.last()
	rs, err := x.admin().UpdatePartitions(x.ctx, 8, x.topic)
	x.must(err)
	x.must(rs[x.topic].Err)
	x.addPartitions(4, 8)
	for p := int32(4); p < 8; p++ {
		x.gens[p].now = x.gens[0].now // they begin today
	}
	x.newProducer()
	x.produce(8_000)
	x.last()
	w.stop()
	x.evidence("partitions adopted", w.said("a new partition is adopted from offset 0"))
	x.verdict()
}

// recreate deletes the topic and creates another one of its name.
func (x *rig) recreate() (was, is string) {
	x.Helper()
	was = x.topicID()
	rs, err := x.admin().DeleteTopics(x.ctx, x.topic)
	x.must(err)
	x.must(rs[x.topic].Err)
	x.until("the topic to be gone", func() bool {
		d, err := x.admin().ListTopics(x.ctx, x.topic)
		return err == nil && d[x.topic].Err != nil
	})
	x.must(x.log.EnsureTopic(x.ctx, x.topic, int32(len(x.gens)), createTime))
	for p := range x.gens {
		x.gens[p] = newGenerator(x.topic, p, x.seed+1, x.step)
	}
	x.newProducer()
	return was, x.topicID()
}

func (x *rig) topicID() string {
	x.Helper()
	d, err := x.log.Describe(x.ctx, x.topic)
	x.must(err)
	return d.ID
}

// drop removes all states, as messages say.
func (x *rig) drop() {
	x.Helper()
	for _, v := range x.views {
		x.ok(append([]string{"drop", v.Name, "--live"}, x.redis.Flags()...)...)
	}
}

// unchanged runs f, which must leave the markers as they are.
func (x *rig) unchanged(f func()) {
	x.Helper()
	before := x.folded()
	f()
	if after := x.folded(); after != before {
		x.Errorf("the markers went from %d to %d offsets in all", before, after)
	}
}

// K3: another topic under the old name is refused, by a worker that runs and by one
// that starts; dropping the states heals it.
func TestTopicRecreated(t *testing.T) {
	x := newRig(t, setup{fault: "a topic deleted and created again: refused, then dropped and folded anew"})
	x.produce(4_000)
	w := x.start("--view", "plain")
	x.until("the worker to follow", func() bool { return w.said("bootstrapped") == 4 })
	w2 := x.start("--view", "corrected")
	x.last()
	w2.stop()
	x.produce(400) // the stopped worker has not read these
	var unread int64
	for _, p := range x.partitions() {
		marks, err := x.online.Store(x.view("corrected")).Marks(x.ctx, p)
		x.must(err)
		unread += x.end(p) - marks[0].Next
	}
	was, is := x.recreate()
	x.produce(8_000)
	if code := w.wait(); code != 1 {
		x.Errorf("the worker that was running ended with %d: %s", code, w.errout.String())
	}
	gone := fmt.Sprintf("topic %s does not exist", x.topic)
	other := fmt.Sprintf("topic %s was deleted and created again, or is read from another cluster (its id was %s and is %s): all positions and unread records of the old topic are lost; "+
		"take a new cut with `tallystick cut` and begin where the log begins with `tallystick replay --adopt-start`", x.topic, was, is)
	if w.said(gone)+w.said(other) != 1 {
		x.Errorf("the worker that was running said\n%s\nwant\n%s\nor\n%s", w.errout.String(), gone, other)
	}
	x.unchanged(func() {
		x.refused(fmt.Sprintf(": the markers speak of topic id %s, the topic's is %s: it was deleted and created again (or the definition had another topic), and what was not yet read of the old one is lost; "+
			"the states cannot be continued: remove them with `tallystick drop`, then `tallystick stream` folds the view anew from a log that begins at offset 0", was, is),
			x.stream("--view", "corrected", "--until", "end")...)
	})
	x.drop()
	x.evidence("records of the old topic that were not yet read", unread)
	x.verdict()
}

// K3, K8: records deleted before they were read are not passed over in silence. As
// the states cannot be continued, they are dropped, and the topic begins anew.
func TestLogTruncated(t *testing.T) {
	x := newRig(t, setup{fault: "records deleted before they were read: refused, then begun anew"})
	x.produce(4_000)
	x.ok(x.stream("--until", "end")...)
	mark := x.end(0)
	x.produce(4_000)
	start := mark + 100
	rs, err := x.admin().DeleteRecords(x.ctx, kadm.Offsets{x.topic: {0: {Topic: x.topic, Partition: 0, At: start}}})
	x.must(err)
	x.must(rs[x.topic][0].Err)
	restore := func(flag string) string {
		return "restore the states from the tables of `tallystick replay --out DIR` with `tallystick stream " + flag + "--from-tables DIR`; where the tables end before the log starts, let replay write them anew first, with --adopt-start"
	}
	x.unchanged(func() {
		x.refused(fmt.Sprintf("tallystick: view corrected: partition 0: offsets %d to %d are lost, the log now starts at %d; %s", mark, start-1, start, restore("--rebuild ")),
			x.stream("--view", "corrected")...)
	})
	x.drop()
	x.refused(fmt.Sprintf(" has no marker, and the log starts at offset %d: offsets 0 to %d are lost to the online store; %s", start, start-1, restore("")),
		x.stream("--view", "corrected", "--until", "end")...)
	x.evidence("records lost before they were read", start-mark)
	x.recreate()
	x.drop() // of the partitions that could be read
	x.produce(8_000)
	x.verdict()
}

// end returns the last stable offset of a partition.
func (x *rig) end(p int32) int64 {
	x.Helper()
	c, err := x.log.Cut(x.ctx, x.topic)
	x.must(err)
	return c.Topics[x.topic].Partitions[p].End
}

// K3: a log that lost its end, as after an unclean election or with a disk, is not
// taken for one that goes on. Dropping the states heals it.
func TestLogShrunk(t *testing.T) {
	x := newRig(t, setup{fault: "a broker that lost the records of a partition: refused, then dropped and folded anew"})
	x.produce(8_000)
	x.ok(x.stream("--until", "end")...)
	mark := x.end(0)
	x.kafka.Node(0).Kill()
	x.must(x.kafka.LoseLog(0, x.topic, 0))
	x.must(x.kafka.Start(x.ctx, 0))
	x.must(x.kafka.InSync(x.ctx, x.topic))
	x.until("the log to be readable", func() bool { _, err := x.log.Cut(x.ctx, x.topic); return err == nil })
	have := x.end(0)
	x.unchanged(func() {
		x.refused(fmt.Sprintf("tallystick: view plain: partition 0: the log ends at %d, but the online store holds what it had up to %d: records were lost (unclean leader election?) or this is another cluster; "+
			"the states cannot be continued: remove them with `tallystick drop`, then `tallystick stream` folds the view anew from a log that begins at offset 0", have, mark),
			x.stream("--view", "plain")...)
	})
	x.evidence("acknowledged records lost by Kafka", mark-have)
	x.drop()
	g := newGenerator(x.topic, 0, x.seed+1, x.step)
	g.now = x.gens[1].now // the others have come so far
	x.gens[0], x.rewritten = g, "0"
	x.newProducer()
	x.produce(8_000)
	x.verdict()
}
