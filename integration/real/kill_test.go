//go:build real

package real

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/tallystick/tallystick/integration/servers"
)

// O1, O2: a worker that is killed again and again, at any moment and within a
// flush, before its EXEC and after, loses nothing and counts nothing twice. Beside
// that, replies are lost to a worker that lives on.
func TestWorkerKilled(t *testing.T) {
	kills, rate := 30, 10_000
	if testing.Short() {
		kills, rate = 9, 1_500
	}
	k, err := servers.StartKafka(t.Context(), servers.KafkaOptions{Nodes: 3})
	servers.Check(t, err)
	t.Cleanup(k.Close)
	x := newRig(t, setup{fault: "a worker killed -9 over and over, at any moment and within flushes; events produced live on three brokers", kafka: k, records: kills * rate / 2})
	p := x.proxy()
	events := x.live(rate)
	c := chaos{rig: x, proxy: p, flags: []string{"--redis", p.Addr, "--session-timeout", "1s"}, r: rand.New(rand.NewPCG(1, 2))}
	for i := range kills {
		c.life(i % 3)
	}
	x.figure(fmt.Sprintf("events a second (%d asked for)", rate), events.end())
	p.At(nil)
	w := x.start(c.flags...)
	x.last()
	w.stop()
	x.evidence("kills -9", c.kills)
	x.evidence("before the EXEC of a flush", c.before)
	x.evidence("after the EXEC, before its reply", c.after)
	x.evidence("EXECs of a living worker lost on their way", c.dropped.Load())
	x.evidence("replies lost to a living worker", c.lost.Load())
	x.verdict()
}

// proxy stands between workers and Redis.
func (x *rig) proxy() *servers.Proxy {
	x.Helper()
	p, err := servers.NewProxy(x.redis.Addrs[0])
	x.must(err)
	x.Cleanup(p.Close)
	return p
}

// chaos kills workers, one after the other.
type chaos struct {
	*rig
	proxy *servers.Proxy
	flags []string
	r     *rand.Rand

	kills, before, after int64
	lost, dropped        atomic.Int64
}

// life starts a worker and kills it: before an EXEC of its (0), after one (1), or
// at no special moment (2). Before that it loses two more: the reply to one, and one
// on its way to Redis.
func (c *chaos) life(how int) {
	c.Helper()
	w := c.start(c.flags...)
	at := int64(4 + c.r.IntN(24))
	loseAt, dropAt := 1+c.r.Int64N(at-3), at-1
	reached := make(chan struct{})
	c.proxy.At(func(point servers.Point, n int64) bool {
		switch {
		case point == servers.Done && n == loseAt:
			c.lost.Add(1)
			return true
		case point == servers.Sent && n == dropAt:
			c.dropped.Add(1)
			return true
		case n != at:
			return false
		case how == 2:
			if point == servers.Done {
				close(reached)
			}
			return false
		case how == int(point):
			w.kill()
			return true
		}
		return false
	})
	select {
	case <-w.exited:
	case <-reached:
		w.kill()
	case <-c.ctx.Done():
		c.Fatalf("no %dth EXEC of a worker: %s", at, w.errout.String())
	}
	c.kills++
	switch how {
	case 0:
		c.before++
	case 1:
		c.after++
	}
	if code := w.cmd.ProcessState.ExitCode(); code != -1 {
		c.Fatalf("the worker ended by itself, with %d: %s", code, w.errout.String())
	}
}
