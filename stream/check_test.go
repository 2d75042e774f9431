package stream

import (
	"context"
	"testing"
	"time"

	"github.com/tallystick/tallystick/transforms/marker"
)

// overtaking is a store in which another worker writes what has just been appended,
// whenever it is asked.
type overtaking struct {
	port
	parts []int32
	adopt func() // before partitions are told
	write func() // before markers are
}

func (o *overtaking) Partitions(context.Context) ([]int32, error) {
	o.adopt()
	return o.parts, nil
}

func (o *overtaking) Marks(ctx context.Context, partition int32) ([]Mark, error) {
	o.write()
	return o.port.Marks(ctx, partition)
}

// K3: a worker that begins while others of its group write finds no log that has
// shrunk: markers may lie beyond an end that was asked for before they were read.
func TestBeginsWhileOthersWrite(t *testing.T) {
	b := newBench(t, 2, 3)
	ends := b.visible
	b.visible = []int64{ends[0] / 2, ends[1]}
	other := b.member(1)
	other.o.say(Change{Assigned: []int32{0, 1, 2}})
	other.runs(10 * time.Second)
	m := b.member(0)
	sink := &overtaking{b.port, []int32{0, 1, 2}, func() { b.visible = []int64{ends[0] / 2, ends[1], ends[2]} }, func() {
		b.visible = ends
		other.runs(20 * time.Second)
	}}
	m.w.sink = sink
	b.must(m.w.Check(b.Context()))
	b.visible, sink.write = ends[:2], func() {}
	m.runs(time.Second)
}

// What Check finds names the shard that it is about.
func TestCheckNamesTheShard(t *testing.T) {
	b := newBench(t, 2, 1)
	b.start(nil)
	b.must(b.steps())
	b.cell(0, 0, func(c *cell) { c.mark = Mark{Phase: marker.Bootstrapping} })
	cut, err := b.source.Cut(b.Context())
	b.must(err)
	bounds := cut.Partitions[0]
	bounds.End--
	cut.Partitions[0] = bounds
	b.opt.UntilEnd, b.opt.Until = false, &cut
	b.start(nil)
	if err, want := b.w.Check(b.Context()), (&PastCutError{1, 0, bounds.End + 1, bounds.End}).Error(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// slow is a store of which each page of a walk takes a while.
type slow struct{ port }

func (s slow) Walk(ctx context.Context, shard int, partition int32, cursor string) (marker.Page, error) {
	s.now = s.now.Add(10 * time.Second)
	return s.port.Walk(ctx, shard, partition, cursor)
}

// A bootstrap that has much to remove gets ahead with every page: nobody may take
// the worker for stuck and end it.
func TestBootstrapIsProgress(t *testing.T) {
	b := newBench(t, 2, 1)
	b.start(nil)
	b.must(b.steps())
	for s := range 2 {
		b.cell(s, 0, func(c *cell) { c.mark = Mark{} })
	}
	longest := time.Duration(0)
	b.opt.Token = func() uint64 {
		longest = max(longest, b.now.Sub(b.w.Progress()))
		return b.newToken()
	}
	b.start(slow{b.port})
	b.must(b.steps())
	b.whole()
	if longest > 10*time.Second {
		t.Errorf("no progress for %v", longest)
	}
}
