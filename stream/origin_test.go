package stream

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/transforms/marker"
)

// based is an origin whose base is another than its states'.
type based struct {
	Origin
	change func(*Base)
	opened int
	closed int
}

func (o *based) Open(ctx context.Context, p int32) (Restore, error) {
	r, err := o.Origin.Open(ctx, p)
	o.opened++
	return &basedRestore{r, o}, err
}

type basedRestore struct {
	Restore
	o *based
}

func (r *basedRestore) Base() Base {
	b := r.Restore.Base()
	if r.o.change != nil {
		r.o.change(&b)
	}
	return b
}

func (r *basedRestore) Close() error {
	r.o.closed++
	return r.Restore.Close()
}

// newTables is a bench whose log begins, and whose tables end, at an offset.
func newTables(t *testing.T, at int64) (*bench, *based) {
	b := newBench(t, 2, 1)
	b.begin, b.tables = at, []int64{0}
	b.publishAt(0, at)
	o := &based{Origin: b.sim.origin(b.owners[0])}
	b.opt.Origin = o
	return b, o
}

// K3, O2: tables that the log does not go on from are refused before anything is
// written.
func TestOriginRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Base)
		says   string
	}{
		"another topic":     {func(b *Base) { b.TopicID = "topic-0" }, "they are of topic id topic-0, the topic's is topic-1"},
		"log truncated":     {func(b *Base) { b.Next = 9 }, "they end at offset 9, and the log now starts at 10: offsets 9 to 9 are lost"},
		"log shrunk":        {func(b *Base) { b.Next = 1000 }, "they end at offset 1000, and the log at "},
		"fewer partitions":  {func(b *Base) { b.Partitions = []int32{0, 1} }, "they have partition 1, which the topic lacks"},
		"beyond the cut":    {func(b *Base) { b.Next = 21 }, "they end at offset 21, beyond the cut's end 20"},
		"not of the tables": {func(b *Base) { *b = Base{} }, "has no marker, and the log starts at offset 10"},
	} {
		t.Run(name, func(t *testing.T) {
			b, o := newTables(t, 10)
			o.change = c.change
			if name == "beyond the cut" {
				b.opt.UntilEnd, b.opt.Until = false, b.cut(20)
			}
			b.start(nil)
			for _, err := range []error{b.w.Check(b.Context()), b.steps()} {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
			}
			if b.commits > 0 || b.store.cells[0][0].mark.Phase != marker.Missing {
				t.Error("something was written")
			}
			if o.opened == 0 || o.closed != o.opened {
				t.Errorf("opened %d times, closed %d times", o.opened, o.closed)
			}
		})
	}
}

// K3: a live marker that the log no longer goes on from stays where the tables do not
// reach the log either: what is lost is told of the marker, and nothing is written.
func TestTablesBehindTheLog(t *testing.T) {
	b, _ := newTables(t, 0)
	b.start(nil)
	b.must(b.steps())
	b.begin = b.visible[0] - 1
	for s := range 2 {
		b.cell(s, 0, func(c *cell) { c.mark.Next = b.begin - 1 })
	}
	b.publishAt(0, b.begin-2)
	b.opt.Rebuild = true
	b.start(nil)
	before := b.store.cells[0][0]
	for _, err := range []error{b.w.Check(b.Context()), b.steps()} {
		if _, ok := errors.AsType[*TruncatedError](err); !ok {
			t.Errorf("%v", err)
		}
	}
	if b.store.cells[0][0] != before {
		t.Error("something was written")
	}
}

// O2: what the tables do not reach back to is not asked of them: live markers that
// the log goes on from stay as they are.
func TestLiveIsNotRestored(t *testing.T) {
	b, o := newTables(t, 0)
	b.start(nil)
	b.must(b.w.Check(b.Context()))
	b.must(b.steps())
	opened := o.opened
	b.opt.Rebuild = true
	b.start(nil)
	b.must(b.w.Check(b.Context()))
	b.must(b.steps())
	if o.opened != opened {
		t.Error("the tables were opened though all markers are live")
	}
}

// O2: an origin that cannot be reached for the moment is waited for; one that is
// damaged stops the worker. Nothing is written meanwhile.
func TestOriginFails(t *testing.T) {
	b, o := newTables(t, 10)
	damaged := errors.New("damaged")
	b.opt.Origin = &failing{o, []error{marker.ErrUnavailable, marker.ErrUnavailable}}
	b.start(nil)
	b.must(b.steps())
	b.whole()
	b, o = newTables(t, 10)
	b.opt.Origin = &failing{o, []error{damaged}}
	b.start(nil)
	if err := b.steps(); !errors.Is(err, damaged) || b.commits > 0 {
		t.Errorf("%v, %d writes", err, b.commits)
	}
}

type failing struct {
	Origin
	errs []error
}

func (f *failing) Open(ctx context.Context, p int32) (Restore, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.Origin.Open(ctx, p)
}
