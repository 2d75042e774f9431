package stream

import (
	"errors"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// K3, O2: what cannot be continued is refused, by type, with what heals it.
func TestRefusals(t *testing.T) {
	is := func(want any) func(error) bool { return func(err error) bool { return errors.As(err, want) } }
	for name, c := range map[string]struct {
		spoil func(*bench)
		want  func(error) bool
		says  string
	}{
		"marker missing beside live ones": {func(b *bench) { b.cell(1, 0, func(c *cell) { c.mark = Mark{} }) }, is(new(*MissingMarkerError)), "--rebuild"},
		"no marker, log truncated": {func(b *bench) {
			b.begin = 3
			for s := range 2 {
				b.cell(s, 0, func(c *cell) { c.mark = Mark{} })
			}
		}, is(new(*MissingMarkerError)), "`tallystick stream --from-tables DIR`"},
		"one marker missing, log truncated": {func(b *bench) {
			b.begin = 3
			b.cell(1, 0, func(c *cell) { c.mark = Mark{} })
		}, is(new(*MissingMarkerError)), "`tallystick stream --rebuild --from-tables DIR`"},
		"topic recreated": {func(b *bench) { b.topicID = "topic-2" }, is(new(*TopicChangedError)), "tallystick drop"},
		"log truncated": {func(b *bench) {
			b.begin = b.visible[0] - 1
			b.cell(1, 0, func(c *cell) { c.mark.Next = b.begin - 1 })
		}, is(new(*TruncatedError)), "--rebuild --from-tables"},
		"log shrunk":        {func(b *bench) { b.visible[0] -= 9 }, is(new(*ShrunkError)), "unclean"},
		"beyond the cut":    {func(b *bench) { b.opt.UntilEnd, b.opt.Until = false, b.cut(9) }, is(new(*PastCutError)), "tallystick cut"},
		"another cut":       {func(b *bench) { b.opt.UntilEnd, b.opt.Until = false, &schemas.TopicCut{TopicID: "x"} }, is(new(*CutTopicError)), "tallystick cut"},
		"no such partition": {func(b *bench) { b.opt.Partitions = []int32{7} }, is(new(*MissingPartitionError)), ""},
		"another clock": {func(b *bench) {
			b.cell(1, 0, func(c *cell) { clear(c.states); c.mark.Next, c.mark.Clock = 9, c.mark.Clock+1 })
		}, is(new(*ClockError)), "tallystick drop"},
		"corrupt state": {func(b *bench) {
			for s := range 2 {
				b.cell(s, 0, func(c *cell) {
					c.mark = Mark{Phase: marker.Live, TopicID: "topic-1", Clock: schemas.Never, Newest: schemas.Never, ValidFrom: schemas.Never, Token: 1}
				})
			}
		}, is(new(*CorruptStateError)), "beyond its marker; remove the view's states with `tallystick drop`"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2, 1)
			b.start(nil)
			b.must(b.steps())
			c.spoil(b)
			b.start(nil)
			if err := b.w.Check(b.Context()); name != "another clock" && name != "corrupt state" && (err == nil || !c.want(err)) {
				t.Errorf("found only when it is written: %v", err)
			}
			err := b.steps()
			if err == nil || !c.want(err) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%T %v", err, err)
			}
			if _, shrunk := errors.AsType[*ShrunkError](err); !shrunk { // the simulated log cannot be read without its end
				b.heal(err.Error())
			}
		})
	}
}

// heal does what a message says, which must then work.
func (b *bench) heal(says string) {
	b.Helper()
	tables := strings.Contains(says, "--from-tables")
	if tables {
		b.tables = []int64{b.begin}
		b.opt.Origin = b.sim.origin(b.owners[0])
	}
	switch {
	case strings.Contains(says, "--rebuild"):
		b.opt.Rebuild = true
	case tables:
	case strings.Contains(says, "tallystick drop") && b.begin == 0:
		for s := range 2 {
			b.cell(s, 0, func(c *cell) { clear(c.states); c.mark = Mark{} })
		}
	default:
		return
	}
	b.start(nil)
	if err := b.steps(); err != nil {
		b.Errorf("the message says %q; having done so: %v", says, err)
	}
	if tables != (b.restored > 0) {
		b.Errorf("the message says %q; %d shards were restored from tables", says, b.restored)
	}
	if tables {
		b.publishAt(0, b.begin)
		b.whole()
	}
}
