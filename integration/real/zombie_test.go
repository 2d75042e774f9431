//go:build real

package real

import (
	"syscall"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/servers"
)

// O1: a worker that is stopped within a flush, its EXEC on the way, past its session
// timeout, while another takes its partitions over, and that wakes up later: its
// write is refused.
func TestOwnerStopped(t *testing.T) {
	x := newRig(t, setup{fault: "an owner stopped (SIGSTOP) within a flush and past its session; another takes over; then SIGCONT"})
	x.produce(4_000)
	p := x.proxy()
	owner := x.start("--redis", p.Addr, "--session-timeout", "3s")
	events := x.live(500)
	x.following()
	held, release := make(chan struct{}), make(chan struct{})
	p.At(func(point servers.Point, n int64) bool {
		if point == servers.Sent && n == 10 {
			owner.signal(syscall.SIGSTOP)
			close(held)
			<-release
		}
		return false
	})
	select {
	case <-held:
	case <-x.ctx.Done():
		t.Fatal("the owner wrote nothing")
	}
	stopped := time.Now()
	other := x.start("--session-timeout", "3s")
	before := x.folded()
	x.until("another worker to go on", func() bool { return time.Since(stopped) > asleep() && x.folded() > before+4_000 })
	x.figure("seconds stopped", int64(time.Since(stopped).Seconds()))
	close(release) // what was on its way arrives
	x.until("Redis to refuse it", func() bool { return p.Refused.Load() > 0 })
	owner.signal(syscall.SIGCONT)
	x.until("the owner to hear of it", func() bool { return owner.said("dropping what is in memory and reading the marker again") > 0 })
	events.end()
	x.last()
	owner.stop()
	other.stop()
	x.evidence("EXECs of the owner that Redis refused", p.Refused.Load())
	x.verdict()
}

// asleep is how long the owner is stopped at least: longer than its session.
func asleep() time.Duration {
	if testing.Short() {
		return 4 * time.Second
	}
	return 15 * time.Second
}
