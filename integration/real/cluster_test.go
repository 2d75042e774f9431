//go:build real

package real

import (
	"fmt"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/servers"
)

// O1: slots that move from node to node, with their keys, while a worker writes
// them, lose nothing.
func TestClusterResharding(t *testing.T) {
	r, err := servers.StartCluster(t.Context())
	servers.Check(t, err)
	t.Cleanup(r.Close)
	x := newRig(t, setup{fault: "all slots with states moved between the masters of a Cluster, under load", redis: r, records: 16_000})
	x.produce(4_000)
	w := x.start()
	events := x.live(1_000)
	x.following()
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	moved, keys := x.reshard(rounds)
	x.figure("slots moved", moved)
	x.figure("keys moved", keys)
	events.end()
	begun := time.Now()
	x.last()
	// A client that looks up the slots once a minute only would need that long.
	if took := time.Since(begun); took > 45*time.Second {
		t.Errorf("the worker needed %v to catch up", took)
	}
	w.stop()
	var redirected int64
	for _, n := range r.Nodes() {
		c := x.node(n)
		redirected += x.info(c, "errorstats", "errorstat_MOVED") + x.info(c, "errorstats", "errorstat_ASK")
	}
	x.evidence("MOVED and ASK replies", redirected)
	x.verdict()
}

// reshard moves every slot that holds states to the next master, some times round.
func (x *rig) reshard(rounds int) (moved, keys int64) {
	x.Helper()
	c := x.node(x.redis.Nodes()[0])
	masters := x.redis.Nodes()[:3]
	for range rounds {
		for _, v := range x.views {
			for shard := range v.Spec.Shards {
				slot, err := c.ClusterKeySlot(x.ctx, x.shardKey(v.Name, v.Fingerprint, shard)).Result()
				x.must(err)
				from, err := x.redis.Owner(x.ctx, int(slot))
				x.must(err)
				to := masters[0]
				for i, m := range masters {
					if m == from {
						to = masters[(i+1)%len(masters)]
					}
				}
				n, err := x.redis.MoveSlot(x.ctx, int(slot), from, to)
				x.must(err)
				moved, keys = moved+1, keys+int64(n)
			}
		}
	}
	return moved, keys
}

// O2: a master that is killed is replaced by its replica; what it had acknowledged
// and not replicated is read from the log again.
func TestClusterFailover(t *testing.T) {
	r, err := servers.StartCluster(t.Context())
	servers.Check(t, err)
	t.Cleanup(r.Close)
	x := newRig(t, setup{fault: "a master of a Cluster killed -9 with writes that its replica lacks", redis: r})
	x.produce(4_000)
	w := x.start()
	x.last()
	v := x.view("plain")
	slot, err := x.node(r.Nodes()[0]).ClusterKeySlot(x.ctx, x.shardKey(v.Name, v.Fingerprint, 0)).Result()
	x.must(err)
	master, err := r.Owner(x.ctx, int(slot))
	x.must(err)
	x.failover(w, master, x.replicaOf(master))
}

// replicaOf returns the replica that began beside a master.
func (x *rig) replicaOf(master *servers.RedisNode) *servers.RedisNode {
	x.Helper()
	for i, n := range x.redis.Nodes() {
		if n == master {
			return x.redis.Nodes()[i+3]
		}
	}
	x.Fatal("no such master")
	return nil
}

func (x *rig) shardKey(view, fingerprint string, shard int) string {
	return fmt.Sprintf("{%s:%s:%d}:m:0", view, fingerprint, shard)
}
