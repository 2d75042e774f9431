package stream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// simGuard holds and lets go as chance has it (B6).
type simGuard struct {
	s    *sim
	o    *owner
	held map[int32]bool
}

// Watch implements Guard.
func (g *simGuard) Watch(p int32) Watch { return &simWatch{g, p} }

// Leave implements Guard.
func (g *simGuard) Leave(p int32) { delete(g.held, p) }

type simWatch struct {
	g *simGuard
	p int32
}

// Saw implements Watch: what is held is read no further.
func (w *simWatch) Saw(in *transforms.Input, v *transforms.Verdict) {
	if w.g.held[w.p] {
		w.g.s.fail("B6: partition %d is held, and offset %d is folded", w.p, in.Offset)
	}
}

// Reached implements Watch.
func (w *simWatch) Reached(schemas.Micros) {}

// Show implements Watch.
func (w *simWatch) Show(*transforms.State) { w.g.s.shown++ }

// Hold implements Watch.
func (w *simWatch) Hold() string {
	switch x := w.g.s.chance(); {
	case w.g.held[w.p] && x < 600:
		return "it is held"
	case !w.g.held[w.p] && x < 40:
		w.g.held[w.p] = true
		w.g.s.holds++
		return "it is held"
	}
	delete(w.g.held, w.p)
	return ""
}

// guard gives a worker a guard, in two worlds of three.
func (s *sim) guard(o *owner) Guard {
	o.guard = nil
	if !s.guarded {
		return nil
	}
	o.guard = &simGuard{s: s, o: o, held: map[int32]bool{}}
	return o.guard
}

// unheld: a write of what was folded while the guard holds it is one too many.
func (p port) unheld(partition int32) {
	if g := p.owner.guard; g != nil && g.held[partition] {
		p.fail("B6: partition %d is held, and written", partition)
	}
}

// counting counts the writes of a partition and holds from a record on.
type counting struct {
	saw     []int64
	reached []schemas.Micros
	shown   int
	hold    bool
	from    int64
	why     string
}

// Watch implements Guard.
func (c *counting) Watch(int32) Watch { return c }

// Leave implements Guard.
func (c *counting) Leave(int32) {}

// Saw implements Watch.
func (c *counting) Saw(in *transforms.Input, _ *transforms.Verdict) {
	c.saw = append(c.saw, in.Offset)
	c.hold = c.hold || in.Offset >= c.from
}

// Reached implements Watch.
func (c *counting) Reached(clock schemas.Micros) { c.reached = append(c.reached, clock) }

// Show implements Watch.
func (c *counting) Show(*transforms.State) { c.shown++ }

// Hold implements Watch.
func (c *counting) Hold() string {
	if c.hold {
		return c.why
	}
	return ""
}

// B6: what holds the breach is not written, nor is anything else of its partition; the
// worker reads no further, says so once and keeps its state. When the guard lets go it
// goes on, and the store is that of an unguarded worker.
func TestHoldAndRelease(t *testing.T) {
	b := newBench(t, 3, 1)
	c := &counting{from: b.logs[0][40].offset, why: "too many"}
	b.opt.UntilEnd, b.opt.Partitions, b.opt.Guard, b.opt.MaxDirty = false, []int32{0}, c, 2
	b.start(nil)
	for range 60 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	st := b.w.Status()[0]
	if st.Phase != "held" || st.Why != "too many" || st.Stored < 1 || st.Written > c.from || st.Read <= c.from {
		t.Fatalf("not held before offset %d: %+v", c.from, st)
	}
	for shard := range b.store.cells {
		if m := b.store.cells[shard][0].mark; m.Next > c.from {
			t.Errorf("B6: shard %d stands at %d, the breach is at %d", shard, m.Next, c.from)
		}
		b.verify(shard, 0)
	}
	read, told := len(c.saw), 0
	for range 20 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	for _, n := range b.notices {
		if strings.Contains(n.Text, "held, and") {
			told++
		}
	}
	if len(c.saw) != read || told != 1 || len(b.source.o.pos) != 0 {
		t.Errorf("while held %d records are read, it is told %d times, and the source has %v", len(c.saw)-read, told, b.source.o.pos)
	}
	b.must(b.w.Drain(b.Context()))
	if m := b.w.Status()[0]; m.Written != st.Written {
		t.Errorf("B6: a drain writes what is held, up to %d", m.Written)
	}
	c.from, c.hold = 1<<60, false
	for range 300 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	b.whole()
	if !slices.IsSorted(c.saw) || c.shown == 0 {
		t.Errorf("%d states were shown; records were folded twice: %v", c.shown, c.saw)
	}
	ticks := 0
	for _, e := range b.logs[0] {
		if e.kind == 't' {
			ticks++
		}
	}
	if ticks == 0 || len(c.reached) <= ticks || !slices.IsSorted(c.reached) {
		t.Errorf("K7: of %d ticks and a beginning the guard heard %v", ticks, c.reached)
	}
}

// B6: a run that is to reach a cut ends where it is held, and says why.
func TestHeldRunEnds(t *testing.T) {
	b := newBench(t, 2, 1)
	b.opt.Guard = &counting{from: b.logs[0][30].offset, why: "too many"}
	b.opt.Sleep = nil // a wait would be one for ever
	b.start(nil)
	ended := make(chan error, 1)
	go func() { ended <- b.w.Run(t.Context()) }()
	select {
	case err := <-ended:
		held, ok := errors.AsType[*HeldError](err)
		if !ok || held.Why != "too many" || strings.Count(err.Error(), "too many") != 1 {
			t.Errorf("the run ends with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the run does not end")
	}
	for shard := range b.store.cells {
		if m := b.store.cells[shard][0].mark; m.Next > b.logs[0][30].offset {
			t.Errorf("B6: shard %d stands at %d", shard, m.Next)
		}
	}
}
