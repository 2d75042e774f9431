package stream

import (
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Guard sees what a worker folds, and may hold it back before it becomes visible (B6).
// Its methods may be called for different partitions at once.
type Guard interface {
	// Watch returns what sees the records of a partition, the same one again when the
	// partition comes back after Leave: whoever counts can tell a record that is folded
	// again by its offset. nil = the partition is not watched.
	Watch(partition int32) Watch
	// Leave says that another worker may have the partition from now on.
	Leave(partition int32)
}

// Watch sees one partition, for one goroutine at a time. It does no I/O.
type Watch interface {
	// Saw takes note of a record and its verdict, after it was folded. in is valid until
	// it returns.
	Saw(in *transforms.Input, v *transforms.Verdict)
	// Reached takes note of the log clock where no record tells it: where the partition
	// is read from, and at a tick.
	Reached(clock schemas.Micros)
	// Show takes note of a state that is to be written, before Hold is asked.
	Show(st *transforms.State)
	// Hold says why nothing of what was folded is to be written for now, "" = it may.
	Hold() string
}

// Of the states that a write changes so many are shown, spread over them, and no fewer
// than leastShown: to ask a state for its values costs about as much as some records.
const (
	shownOf    = 128
	leastShown = 2
)

// guarded asks the guard before a shard is written. An errAside says that it holds.
func (p *partition) guarded(s *shard) error {
	if p.watch == nil {
		return nil
	}
	if n := len(s.dirty); n > 0 {
		some := min(max(leastShown, n/shownOf), n)
		from := int(p.pos % int64(n)) // others each time
		for i := range some {
			p.watch.Show(s.dirty[(from+i*(n/some))%n].state)
		}
	}
	if why := p.watch.Hold(); why != "" {
		return p.hold(why)
	}
	return nil
}

// hold sets the partition to wait until the guard lets go: it is read no further, and
// keeps what it has folded.
func (p *partition) hold(why string) error {
	p.wake = p.w.o.Now().Add(p.w.o.HoldEvery)
	if p.phase == active {
		p.phase = waiting
	}
	p.why = why
	if !p.held {
		p.held = true
		p.w.notice(p.id, -1, nil, "held, and up to offset %d in the store: %s", p.written(), why)
	}
	return errAside
}

// release asks the guard of a held partition again. An errAside says that it holds.
func (p *partition) release() error {
	if !p.held {
		return nil
	}
	if why := p.watch.Hold(); why != "" {
		return p.hold(why)
	}
	p.held = false
	p.w.notice(p.id, -1, nil, "no longer held: going on")
	return nil
}

// heldEnd ends a run that is to reach a cut, as nobody waits for who holds it.
func (w *Worker) heldEnd() error {
	if w.until == nil || w.o.Guard == nil {
		return nil
	}
	for _, id := range w.order {
		if p := w.parts[id]; p.held {
			return &HeldError{id, p.written(), p.why}
		}
	}
	return nil
}
