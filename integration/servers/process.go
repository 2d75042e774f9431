//go:build real

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a server that this test started: a process group of its own, which
// signals go to.
type Process struct {
	name   string
	argv   []string
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// newProcess prepares a server; its output goes to a file in dir.
func newProcess(dir, name string, argv ...string) *Process {
	return &Process{name: name, argv: argv, dir: dir}
}

// start starts the server. It may be started again once it has ended.
func (p *Process) start() error {
	out, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = p.dir, out, out, attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended, its log tells
		close(exited)
	}()
	p.cmd, p.exited = cmd, exited
	return nil
}

func (p *Process) logFile() string { return filepath.Join(p.dir, p.name+".log") }

// running tells whether the server has not ended.
func (p *Process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Kill ends the server at once (SIGKILL) and waits until it is gone.
func (p *Process) Kill() {
	if p.running() {
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
}

// Pause stops the server where it is (SIGSTOP): its connections stay open and
// nothing answers. Continue undoes it.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Continue lets a paused server go on (SIGCONT).
func (p *Process) Continue() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	if p.running() {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// ready waits until check succeeds. A server that ends meanwhile, or that is not
// ready in time, is an error that shows the end of its log.
func (p *Process) ready(ctx context.Context, check func(context.Context) error) error {
	err := wait(ctx, func() error {
		if !p.running() {
			return errEnded
		}
		return check(ctx)
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.tail())
}

var errEnded = errors.New("it has ended")

// tail returns the last lines of the log.
func (p *Process) tail() string {
	b, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// wait calls check every few ms until it succeeds, the context ends, or it says
// that the server has ended.
func wait(ctx context.Context, check func() error) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		err := check()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-t.C:
		}
	}
}
