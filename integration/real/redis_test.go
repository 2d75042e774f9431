//go:build real

package real

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/integration/servers"
)

// outage is how long a server is out of reach.
func outage() time.Duration {
	if testing.Short() {
		return 8 * time.Second
	}
	return 30 * time.Second
}

// node returns a client of one Redis server.
func (x *rig) node(n *servers.RedisNode) *redis.Client {
	c := servers.Client(n.Addr)
	x.Cleanup(func() { c.Close() })
	return c
}

// info returns a number of INFO.
func (x *rig) info(c *redis.Client, section, key string) int64 {
	x.Helper()
	text, err := c.Info(x.ctx, section).Result()
	x.must(err)
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
			n, err := strconv.ParseInt(strings.TrimPrefix(v[1:], "count="), 10, 64)
			x.must(err)
			return n
		}
	}
	return 0
}

// O2: a Redis that comes back empty is filled from the log again, by the worker that
// runs, without anybody asking; readers find their view as before.
func TestRedisRestartedEmpty(t *testing.T) {
	x := newRig(t, setup{fault: "Redis killed -9 and started again empty"})
	x.produce(4_000)
	w := x.start()
	events := x.live(200)
	x.following()
	node := x.redis.Nodes()[0]
	lost, err := x.node(node).DBSize(x.ctx).Result()
	x.must(err)
	node.Kill()
	x.must(node.Start(x.ctx))
	x.until("the worker to fill Redis anew", func() bool { return w.said("bootstrapped 4 shards, from offset 0") >= 16 })
	events.end()
	x.last()
	for _, v := range x.views {
		live, err := x.online.Live(x.ctx, v.Name)
		x.must(err)
		if live != v.Fingerprint {
			x.Errorf("view %s: readers use %q, the fingerprint is %s", v.Name, live, v.Fingerprint)
		}
	}
	w.stop()
	for _, v := range x.views {
		x.ok(append([]string{"get", v.Name, "ent=e1"}, x.redis.Flags()...)...)
	}
	x.evidence("acknowledged keys lost", lost)
	x.verdict()
}

// O3: where memory is full, nothing is written and nothing lost: the worker waits
// until there is more.
func TestRedisFull(t *testing.T) {
	x := newRig(t, setup{fault: "Redis at its maxmemory, then given more"})
	x.produce(4_000)
	w := x.start()
	x.last()
	c := x.node(x.redis.Nodes()[0])
	x.must(c.ConfigSet(x.ctx, "maxmemory", "1mb").Err()) // what is held takes more
	before := x.folded()
	events := x.live(500)
	x.until("Redis to refuse writes", func() bool { return w.said("the store is full") > 8 })
	if now := x.folded(); now != before {
		x.Errorf("the markers moved from %d to %d offsets while Redis was full", before, now)
	}
	refused := x.info(c, "errorstats", "errorstat_OOM")
	x.must(c.ConfigSet(x.ctx, "maxmemory", "0").Err())
	events.end()
	x.last()
	w.stop()
	x.evidence("commands that Redis refused for want of memory", refused)
	x.verdict()
}

// O1: a Redis that is out of reach for half a minute, with its connections open and
// silent, is waited for; what was on its way counts once.
func TestRedisUnreachable(t *testing.T) {
	x := newRig(t, setup{fault: "Redis paused (SIGSTOP)"})
	x.produce(4_000)
	w := x.start()
	events := x.live(500)
	x.until("the worker to follow", func() bool { return x.folded() > 4_000 })
	node, begun := x.redis.Nodes()[0], time.Now()
	node.Pause()
	x.until("the outage to last", func() bool { return time.Since(begun) > outage() && w.said("trying again in") > 0 })
	node.Continue()
	x.figure("seconds out of reach", int64(time.Since(begun).Seconds()))
	x.evidence("times the worker could not reach it", w.said("trying again in"))
	events.end()
	x.last()
	w.stop()
	x.verdict()
}

// folded is the sum of all markers' positions.
func (x *rig) folded() (sum int64) {
	x.Helper()
	for _, v := range x.views {
		for _, p := range x.partitions() {
			marks, err := x.online.Store(v).Marks(x.ctx, p)
			x.must(err)
			for _, m := range marks {
				sum += m.Next
			}
		}
	}
	return sum
}

// following waits until a worker has folded what was appended so far, about, while
// more is being appended.
func (x *rig) following() {
	x.Helper()
	c, err := x.log.Cut(x.ctx, x.topic)
	x.must(err)
	ends := map[int32]int64{}
	for p, pc := range c.Topics[x.topic].Partitions {
		ends[p] = pc.End
	}
	x.until("the worker to follow", func() bool { return x.reached(ends) })
}
