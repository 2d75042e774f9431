package stream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

// V8, O2: what a worker tells of itself. The ledger is that of the markers, so a
// restart or a store that went back does not count twice; what happened is
// counted, and an opening partition says what it waits for.
func TestObserved(t *testing.T) {
	b := newBench(t, 2, 2)
	var flushed []Flushed
	b.opt.Flushed = func(f Flushed) { flushed = append(flushed, f) }
	b.start(nil)
	b.must(b.w.Check(b.Context()))
	if b.w.Status() != nil {
		t.Error("a status before the first round")
	}
	b.must(b.steps())
	want := b.sum()
	if len(flushed) == 0 || flushed[0].Err != nil {
		t.Errorf("writes seen: %+v", flushed)
	}
	old := *b.store.cells[1][0]
	b.cell(1, 0, func(c *cell) { // an older copy of the store, with everything of partition 0 still to come
		clear(c.states)
		c.mark.Next, c.mark.Clock, c.mark.Ledger, c.mark.Token = 0, old.mark.ValidFrom, transforms.Ledger{}, 1
		c.mark.Newest = old.mark.ValidFrom
	})
	p := b.w.parts[0]
	p.phase = active
	p.shards[1].since = b.now
	if err := p.flush(b.Context(), p.shards[1]); err != errAside {
		t.Fatalf("a write over a marker that went back: %v", err)
	}
	b.must(b.steps())
	if got := b.sum(); got != want {
		t.Errorf("after a rewind the ledger is %v, was %v", &got, &want)
	}
	if c := b.w.Counts(); c != (Counts{Lost: 1, Regressions: 1}) {
		t.Errorf("%+v", c)
	}
	for _, st := range b.w.Status() {
		if st.Written != st.Read || st.Stable != b.visible[st.Partition] || st.Newest < old.mark.Newest/2 || st.Why != "" || st.Phase != "done" {
			t.Errorf("%+v, stable %d", st, b.visible[st.Partition])
		}
	}
	b.start(nil) // again
	b.must(b.steps())
	if got := b.sum(); got != want {
		t.Errorf("after a restart the ledger is %v, was %v", &got, &want)
	}
}

// V8: the ledger that is told is that of what is written, not of what is read.
func TestLedgerIsOfWhatIsWritten(t *testing.T) {
	b := newBench(t, 2, 1)
	b.opt.UntilEnd, b.opt.FlushEvery, b.opt.CatchUpEvery, b.opt.IdleEvery = false, time.Hour, time.Hour, time.Hour
	b.start(nil)
	for len(b.w.Status()) == 0 || b.w.Status()[0].Read < b.visible[0] {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	if got := b.sum(); got != (transforms.Ledger{}) || b.w.Status()[0].Written != 0 {
		t.Errorf("nothing is written, and the ledger is %v, written up to %d", &got, b.w.Status()[0].Written)
	}
	b.must(b.w.Drain(b.Context()))
	var want transforms.Ledger
	for _, row := range b.store.cells {
		want.Merge(&row[0].mark.Ledger)
	}
	if got := b.sum(); got != want || got.Read() == 0 {
		t.Errorf("the ledger is %v, that of the markers %v", &got, &want)
	}
}

// sum adds up the ledgers of all partitions' status.
func (b *bench) sum() (sum transforms.Ledger) {
	for _, st := range b.w.Status() {
		sum.Merge(&st.Ledger)
	}
	return sum
}

// unmarked is a store whose markers cannot be read.
type unmarked struct{ port }

func (unmarked) Marks(context.Context, int32) ([]Mark, error) { return nil, marker.ErrUnavailable }

func TestOpeningSaysWhy(t *testing.T) {
	b := newBench(t, 2, 1)
	b.start(unmarked{b.port})
	begun := b.w.Progress()
	b.now = b.now.Add(time.Second)
	if _, err := b.w.Step(b.Context()); err != nil {
		t.Fatal(err)
	}
	st := b.w.Status()
	if len(st) != 1 || st[0].Phase != "opening" || st[0].Written != -1 || st[0].Why != "its markers cannot be read: the store is unavailable" {
		t.Errorf("%+v", st)
	}
	if c := b.w.Counts(); c != (Counts{Retries: 1}) {
		t.Errorf("%+v", c)
	}
	if !b.w.Progress().After(begun) {
		t.Error("a round is no progress")
	}
}

// What ends the worker and stands in the way of its last flush too is said once.
func TestRefusedWritesAreSaidOnce(t *testing.T) {
	b := newBench(t, 2, 2)
	b.start(&meddling{port: b.port, refuse: 1000, err: errors.New("no permission")})
	err := b.w.Run(b.Context())
	if err == nil {
		t.Fatal("it went on")
	}
	for _, p := range []string{"partition 0: ", "partition 1: "} {
		if n := strings.Count(err.Error(), p); n > 1 {
			t.Errorf("%s%d times in: %v", p, n, err)
		}
	}
}
