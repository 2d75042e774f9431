//go:build real

package real

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// K1, K2: aborted records count nowhere. A transaction that hangs holds up what
// comes after it, in stream and replay alike, until it is aborted.
func TestTransactions(t *testing.T) {
	x := newRig(t, setup{fault: "30 % of all transactions aborted, and one that hangs until an operator aborts it"})
	txn := x.transactional("batches")
	ghosts := x.ghosts()
	w := x.start()
	var aborted int64
	for i := range 80 {
		if i == 40 {
			x.last()
		}
		aborted += x.transaction(txn, ghosts, i%10 < 3, 100)
	}
	x.evidence("records aborted", aborted)

	hanging := x.transactional("hanging")
	x.must(hanging.BeginTransaction())
	x.must(hanging.ProduceSync(x.ctx, ghosts[0].next(), ghosts[1].next()).FirstErr())
	stable := x.end(0)
	x.produce(800)
	x.ok(x.stream("--until", "end")...)
	behind := x.highWatermark(0) - stable
	if now := x.end(0); now != stable {
		x.Errorf("the log is stable up to %d, the transaction hangs at %d", now, stable)
	}
	x.until("the worker to follow as far as it can", func() bool { return x.reached(map[int32]int64{0: stable, 2: x.end(2)}) })
	for _, v := range x.views {
		marks, err := x.online.Store(v).Marks(x.ctx, 0)
		x.must(err)
		for _, m := range marks {
			if m.Next > stable {
				x.Errorf("view %s stands at %d, beyond the hanging transaction at %d", v.Name, m.Next, stable)
			}
		}
	}
	x.evidence("offsets behind the hanging transaction", behind)
	x.abort()
	x.last()
	w.stop()
	x.verdict()
}

func (x *rig) transactional(id string) *kgo.Client {
	x.Helper()
	c, err := x.kafka.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(x.topic+"."+id), kgo.TransactionTimeout(10*time.Minute))
	x.must(err)
	x.Cleanup(func() {
		// A hanging one cannot be left: Close waits for what it has begun.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.EndTransaction(ctx, kgo.TryAbort)
		c.Close()
	})
	return c
}

// ghosts are generators whose events are never committed: no account has them.
func (x *rig) ghosts() map[int32]*generator {
	out := map[int32]*generator{}
	for p, g := range x.gens {
		out[p] = newGenerator(x.topic, p, 7, x.step)
		out[p].now, out[p].serial = g.now, 1_000_000
	}
	return out
}

// transaction appends n records in one transaction, and returns how many were
// aborted.
func (x *rig) transaction(c *kgo.Client, ghosts map[int32]*generator, abort bool, n int) int64 {
	x.Helper()
	x.must(c.BeginTransaction())
	gens, how := x.gens, kgo.TryCommit
	if abort {
		gens, how = ghosts, kgo.TryAbort
	}
	ps := x.partitions()
	rs := make([]*kgo.Record, n)
	for i := range rs {
		p := ps[i%len(ps)]
		if abort {
			gens[p].now = x.gens[p].now.Add(30 * 24 * time.Hour) // it would move the clock
		}
		rs[i] = gens[p].next()
	}
	x.must(c.ProduceSync(x.ctx, rs...).FirstErr())
	x.must(c.EndTransaction(x.ctx, how))
	if abort {
		return int64(n)
	}
	return 0
}

func (x *rig) highWatermark(p int32) int64 {
	x.Helper()
	ls, err := x.admin().ListEndOffsets(x.ctx, x.topic)
	x.must(err)
	l, _ := ls.Lookup(x.topic, p)
	x.must(l.Err)
	return l.Offset
}

// abort ends what hangs in the topic, as kafka-transactions.sh does.
func (x *rig) abort() {
	x.Helper()
	adm := x.admin()
	set := kadm.TopicsSet{}
	set.Add(x.topic, x.partitions()...)
	ds, err := adm.DescribeProducers(x.ctx, set)
	x.must(err)
	n := 0
	ds.EachProducer(func(d kadm.DescribedProducer) {
		if d.CurrentTxnStartOffset < 0 {
			return
		}
		n++
		topics := kadm.TopicsSet{}
		topics.Add(d.Topic, d.Partition)
		rs, err := adm.WriteTxnMarkers(x.ctx, kadm.TxnMarkers{ProducerID: d.ProducerID, ProducerEpoch: d.ProducerEpoch, CoordinatorEpoch: d.CoordinatorEpoch, Topics: topics})
		x.must(err)
		for _, r := range rs {
			for _, ts := range r.Topics {
				for _, p := range ts.Partitions {
					x.must(p.Err)
				}
			}
		}
	})
	if n != 2 {
		x.Fatalf("%d partitions with a hanging transaction, want 2", n)
	}
	x.until("the log to be stable again", func() bool { return x.end(0) == x.highWatermark(0) })
}
