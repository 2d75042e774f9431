//go:build real

package real

import (
	"os/exec"
	"strings"
	"syscall"

	"github.com/tallystick/tallystick/integration/testbed"
)

// worker is a running `tallystick stream`.
type worker struct {
	x      *rig
	cmd    *exec.Cmd
	errout testbed.Heard
	exited chan struct{}
}

// start starts a worker; more are further flags. It is killed at the end of the
// test at the latest.
func (x *rig) start(more ...string) *worker {
	x.Helper()
	w := &worker{x: x, cmd: x.command(x.ctx, x.stream(more...)...), exited: make(chan struct{})}
	w.cmd.Stderr = &w.errout
	x.must(w.cmd.Start())
	go func() {
		_ = w.cmd.Wait() // its exit code tells
		close(w.exited)
	}()
	x.Cleanup(func() {
		w.kill()
		if text := w.errout.String(); x.Failed() {
			x.Logf("a worker said: …%s", text[max(0, len(text)-4000):])
		}
	})
	return w
}

// kill ends the worker as kill -9 does.
func (w *worker) kill() {
	w.signal(syscall.SIGKILL)
	<-w.exited
}

func (w *worker) signal(s syscall.Signal) { _ = w.cmd.Process.Signal(s) }

// stop ends the worker as its operator does; it has to have nothing to complain of.
func (w *worker) stop() {
	w.x.Helper()
	w.signal(syscall.SIGTERM)
	if code := w.wait(); code != 0 {
		w.x.Fatalf("the worker ended with %d: %s", code, w.errout.String())
	}
}

// wait waits for the end of a worker and returns its exit code.
func (w *worker) wait() int {
	<-w.exited
	return w.cmd.ProcessState.ExitCode()
}

// running tells whether the worker has not ended.
func (w *worker) running() bool {
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

// said counts the lines in which the worker said something.
func (w *worker) said(what string) (n int64) {
	for line := range strings.Lines(w.errout.String()) {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}
