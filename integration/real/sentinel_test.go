//go:build real

package real

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/integration/servers"
	"github.com/tallystick/tallystick/transforms/marker"
)

// O2: a primary that dies with acknowledged writes which its replica lacks takes
// their markers with it: the worker reads the log again from there.
func TestSentinelFailover(t *testing.T) {
	r, err := servers.StartSentinel(t.Context())
	servers.Check(t, err)
	t.Cleanup(r.Close)
	x := newRig(t, setup{fault: "a primary killed -9 with writes that its replica lacks; Sentinel fails over", redis: r})
	x.produce(4_000)
	w := x.start()
	x.last()
	x.failover(w, r.Nodes()[0], r.Nodes()[1])
}

// failover kills a master with acknowledged writes that its replica lacks, and
// waits until the worker has read them again.
func (x *rig) failover(w *worker, master, replica *servers.RedisNode) {
	x.Helper()
	x.isolate(x.node(replica))
	events := x.live(500)
	acked := x.ahead(x.node(master), x.node(replica))
	master.Kill()
	x.until("the replica to be promoted", func() bool {
		role, err := x.node(replica).Do(x.ctx, "ROLE").Slice()
		return err == nil && role[0] == "master"
	})
	x.until("the worker to see the regress", func() bool { return w.said("the store went back from offset") > 0 })
	events.end()
	x.last()
	w.stop()
	x.evidence("offsets of acknowledged writes lost", acked)
	x.evidence("shards that went back", w.said("the store went back from offset"))
	x.verdict()
}

// isolate cuts a replica off its master for good: it has another password now. It
// stays reachable for everybody else.
func (x *rig) isolate(replica *redis.Client) {
	x.Helper()
	x.must(replica.ConfigSet(x.ctx, "masteruser", "nobody").Err())
	x.must(replica.ConfigSet(x.ctx, "masterauth", "wrong").Err())
	x.must(replica.Do(x.ctx, "CLIENT", "KILL", "TYPE", "master").Err())
}

// ahead waits until every shard of a view and partition has acknowledged a write
// which the replica lacks, and returns how many offsets they are ahead in all.
func (x *rig) ahead(master, replica *redis.Client) (n int64) {
	x.Helper()
	x.until("writes that are not replicated", func() bool {
		n = 0
		for _, key := range x.markKeys(master) {
			m, r := x.markOf(master, key), x.markOf(replica, key)
			if m.Next <= r.Next {
				return false
			}
			n += m.Next - r.Next
		}
		return true
	})
	return n
}

func (x *rig) markKeys(c *redis.Client) []string {
	x.Helper()
	keys, err := c.Keys(x.ctx, "*:m:*").Result()
	x.must(err)
	return keys
}

func (x *rig) markOf(c *redis.Client, key string) marker.Mark {
	x.Helper()
	var get *redis.StringCmd
	_, _ = c.Pipelined(x.ctx, func(p redis.Pipeliner) error {
		p.Do(x.ctx, "READONLY") // a Cluster's replica answers only then; others do not know it
		get = p.Get(x.ctx, key)
		return nil
	})
	b, err := get.Bytes()
	x.must(err)
	m, err := marker.Parse(b)
	x.must(err)
	return m
}
