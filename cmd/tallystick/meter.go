package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// serial is a writer that takes one write at a time and remembers its first failure.
type serial struct {
	mu     sync.Mutex
	w      io.Writer
	failed error
}

// Write implements io.Writer.
func (s *serial) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.w.Write(b)
	if s.failed == nil {
		s.failed = err
	}
	return n, err
}

// failure returns the error of the first write that failed, nil while none has.
func (s *serial) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// meter shows how far a command has come: a line that is redrawn on a terminal,
// a line now and then elsewhere. Phases that end at once show nothing.
type meter struct {
	w        io.Writer
	terminal bool
}

func newMeter(w io.Writer) *meter {
	under := w
	if s, ok := w.(*serial); ok {
		under = s.w
	}
	return &meter{w: w, terminal: isTerminal(under)}
}

// metered is one phase under way.
type metered struct {
	done  *atomic.Int64 // counts up to total
	name  string
	unit  string
	total int64
	begin time.Time
	stop  chan struct{}
	wg    sync.WaitGroup
	m     *meter
	shown bool
}

// phase begins a phase of about total records. A nil meter shows nothing.
func (m *meter) phase(name string, total int64) *metered { return m.phaseOf(name, "records", total) }

// phaseOf begins a phase of about total steps, 0 = not known.
func (m *meter) phaseOf(name, unit string, total int64) *metered {
	p := &metered{done: new(atomic.Int64), name: name, unit: unit, total: total, begin: time.Now(), stop: make(chan struct{}), m: m}
	if m == nil {
		return p
	}
	every := 2 * time.Second
	if m.terminal {
		every = 200 * time.Millisecond
	}
	p.wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-t.C:
				p.show()
			}
		}
	})
	return p
}

func (p *metered) show() {
	n, took := p.done.Load(), time.Since(p.begin)
	if took < time.Second {
		return
	}
	p.shown = true
	rate := float64(n) / took.Seconds()
	line := fmt.Sprintf("%s: %d %s, %.0f/s", p.name, n, p.unit, rate)
	if p.total > 0 && n > 0 {
		left := time.Duration(float64(max(0, p.total-n)) / rate * float64(time.Second))
		line += fmt.Sprintf(", %d %%, %s left", min(100, 100*n/p.total), left.Round(time.Second))
	}
	if p.m.terminal {
		fmt.Fprintf(p.m.w, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.m.w, line)
	}
}

// end ends the phase.
func (p *metered) end() {
	close(p.stop)
	p.wg.Wait()
	if p.shown && p.m.terminal {
		fmt.Fprint(p.m.w, "\r\x1b[K")
	}
}

// took returns how long the phase has lasted.
func (p *metered) took() time.Duration { return time.Since(p.begin) }
