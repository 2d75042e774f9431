package stream

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// O3: a full store holds the stream up; nothing is lost and nothing forgotten.
func TestBackPressure(t *testing.T) {
	for _, err := range []error{marker.ErrFull, marker.ErrUnavailable} {
		b := newBench(t, 2, 1)
		b.opt.MaxDirty = 2
		b.start(&meddling{port: b.port, refuse: 40, err: err})
		b.must(b.steps())
		b.whole()
		if len(b.notices) < 40 || !errors.Is(b.notices[0].Err, err) && !errors.Is(b.notices[1].Err, err) {
			t.Errorf("%d notices", len(b.notices))
		}
	}
}

// V8: where nothing fails a record is put into quarantine once, though its shard is
// written many times, and after a write that was refused not again.
func TestQuarantinedOnce(t *testing.T) {
	for _, refuse := range []int{0, 20} {
		b := newBench(t, 2, 1)
		b.opt.MaxDirty = 2
		b.start(&meddling{port: b.port, refuse: refuse, err: marker.ErrFull})
		b.must(b.steps())
		if b.whole(); len(b.quarantined) < 3 || b.puts != len(b.quarantined) {
			t.Errorf("%d records, put %d times; %d writes were refused", len(b.quarantined), b.puts, refuse)
		}
	}
}

// steadyLog has an event of one entity every five minutes.
func steadyLog() (log []event) {
	for i := range int64(40) {
		at := 1_772_000_000_000 + i*300_000
		log = append(log, event{kind: 'd', offset: i, stamp: at, et: at * 1000, ent: "a", id: "i", ver: 1, amt: 1, ok: true})
	}
	return log
}

// An old part that the store has is not sent again: that is what it is for.
func TestOldPartIsSentOnce(t *testing.T) {
	b := newBenchOf(t, rand.New(rand.NewPCG(5, 5)), shape{shards: 1}, [][]event{steadyLog()})
	b.opt.MaxDirty = 1
	m := &meddling{port: b.port}
	var last []byte
	writes, olds := 0, 0
	m.each = func(_ int, _ int32, _ Mark, ws []Write) {
		for _, w := range ws {
			if writes++; w.Old == nil {
				continue
			}
			if olds++; bytes.Equal(w.Old, last) {
				t.Errorf("write %d sends the same old part again", writes)
			}
			last = bytes.Clone(w.Old)
		}
	}
	b.start(m)
	b.must(b.steps())
	if b.whole(); olds < 5 || writes < 2*olds {
		t.Errorf("%d of %d writes had an old part", olds, writes)
	}
}

// O1: an old part whose write was refused, or not heard of again, is sent again.
func TestRefusedOldPart(t *testing.T) {
	log := steadyLog()
	for _, err := range []error{marker.ErrFull, marker.ErrUnavailable, marker.ErrUnknown} {
		b := newBenchOf(t, rand.New(rand.NewPCG(5, 5)), shape{shards: 1}, [][]event{log})
		b.opt.MaxDirty = 1
		m := &meddling{port: b.port, err: err}
		refused := map[int64]bool{}
		m.each = func(_ int, _ int32, now Mark, ws []Write) {
			if len(ws) == 1 && ws[0].Old != nil && !refused[now.Next] {
				refused[now.Next], m.refuse = true, 1
			}
		}
		b.start(m)
		b.must(b.steps())
		if b.whole(); len(refused) < 5 {
			t.Errorf("%v: %d old parts were written", err, len(refused))
		}
	}
}

// O1: the cut is not reached by a write that nobody acknowledged, and one that was
// done is no marker beyond it.
func TestLostReplyAtTheEnd(t *testing.T) {
	for _, done := range []bool{false, true} {
		b := newBench(t, 1, 1)
		m := &meddling{port: b.port, err: marker.ErrUnknown, done: done}
		m.each = func(_ int, _ int32, now Mark, _ []Write) {
			if now.Next == b.visible[0] && m.calls < 1000 {
				m.refuse, m.calls = 1, 1000
			}
		}
		b.start(m)
		if err := b.steps(); err != nil {
			t.Fatalf("the write done %v: %v", done, err)
		}
		if b.whole(); m.calls < 1000 {
			t.Error("no reply was lost")
		}
	}
}

// O2: a store that goes back, again and again, to earlier writes of this worker is
// no other worker's: it is rewound to, and nobody stands by.
func TestOwnWritesComeBack(t *testing.T) {
	b := newBench(t, 1, 1)
	b.opt.MaxDirty = 2
	var before []*cell // each write makes a new one
	back := 0
	m := &meddling{port: b.port}
	m.each = func(shard int, p int32, _ Mark, _ []Write) {
		if before = append(before, b.store.cells[shard][p]); len(before) == 6 || len(before) == 7 {
			b.store.cells[shard][p] = before[8-len(before)] // another one each time
			back++
		}
	}
	b.start(m)
	begun := b.now
	b.must(b.steps())
	if b.whole(); back != 2 || b.w.Counts().Regressions != 2 {
		t.Errorf("the store went back %d times, the worker saw %d", back, b.w.Counts().Regressions)
	}
	if stood := b.now.Sub(begun); stood >= 30*time.Second {
		t.Errorf("it stood by: %v passed", stood)
	}
}

// K7, O1: a shard without changes writes its marker, and with it the clock,
// every IdleEvery; one with changes after FlushEvery, or early.
func TestWhenItFlushes(t *testing.T) {
	b := newBench(t, 2, 1)
	b.logs[0] = []event{{kind: 'd', stamp: 1000, ent: "a", id: "i", ver: 1, et: 1_000_000, ok: true}}
	for i := range int64(50) {
		b.logs[0] = append(b.logs[0], event{kind: 't', stamp: 2000 + i, offset: 1 + i})
	}
	b.visible[0] = 2
	wrote := map[int][]time.Duration{}
	begun := b.now
	b.opt.UntilEnd = false
	b.start(&meddling{port: b.port, each: func(shard int, _ int32, _ Mark, _ []Write) {
		wrote[shard] = append(wrote[shard], b.now.Sub(begun))
	}})
	for b.now.Sub(begun) < 25*time.Second {
		_, err := b.w.Step(b.Context())
		b.must(err)
		b.visible[0] = min(51, 2+int64(b.now.Sub(begun)/time.Second)*2)
	}
	changed := 0
	if len(wrote[1]) > 0 && wrote[1][0] < time.Second {
		changed = 1
	}
	first, idle := wrote[changed], wrote[1-changed]
	if len(first) == 0 || first[0] < 500*time.Millisecond || first[0] > 1100*time.Millisecond || len(first) > 4 {
		t.Errorf("the changed shard wrote at %v", first)
	}
	if len(idle) < 2 || idle[0] < 10*time.Second || idle[0] > 11*time.Second || idle[1] < 20*time.Second {
		t.Errorf("the idle shard wrote at %v", idle)
	}
	if m := b.store.cells[1-changed][0].mark; m.Clock < schemas.KafkaMillis(2010) {
		t.Errorf("the idle shard's clock is %v", m.Clock)
	}
}

// O1: an entity that is larger than a whole flush is to be is not written anew
// with each of its records.
func TestLargeEntity(t *testing.T) {
	b := newBench(t, 1, 1)
	b.logs[0] = nil
	for i := range int64(400) {
		b.logs[0] = append(b.logs[0], event{kind: 'd', stamp: 1000 + i, ent: "a", id: fmt.Sprint(i), ver: 1, et: 1_000_000 + i*1000, ok: true, offset: i})
	}
	b.visible[0] = 400
	commits, largest := 0, 0
	b.opt.MaxBytes, b.opt.FlushEvery = 2000, time.Hour
	b.start(&meddling{port: b.port, each: func(_ int, _ int32, _ Mark, ws []Write) {
		commits++
		for i := range ws {
			largest = max(largest, ws[i].Size())
		}
	}})
	b.must(b.steps())
	b.whole()
	if largest < 2*b.opt.MaxBytes || commits > 40 {
		t.Errorf("%d writes of up to %d bytes", commits, largest)
	}
}

// O1: of the open part only the hours are written that have changed since they were
// last acknowledged; those of a write that failed are written again.
func TestOpenHoursAreWrittenOnce(t *testing.T) {
	for _, fails := range []bool{false, true} {
		b := newBenchOf(t, rand.New(rand.NewPCG(5, 5)), shape{identity: "id", maxOpen: 65536, shards: 1}, [][]event{nil})
		const hour = 3_600_000_000
		for i, at := range []int64{100*hour + hour/2, 100*hour + hour*3/5, 100*hour + hour*4/5, 101*hour + hour/5} { // within lateness, so that none is forgotten
			b.logs[0] = append(b.logs[0], event{kind: 'd', stamp: at/1000 + 1, ent: "a", id: fmt.Sprint(i), ver: 1, et: at, ok: true, offset: int64(i)})
		}
		b.keyed()
		var hours [][]int64
		m := &meddling{port: b.port, each: func(_ int, _ int32, _ Mark, ws []Write) {
			for i := range ws {
				var list []int64
				for _, o := range ws[i].Open {
					list = append(list, o.Hour)
				}
				hours = append(hours, list)
			}
		}}
		b.opt.UntilEnd, b.opt.FlushEvery = false, time.Nanosecond
		b.start(m)
		for visible := range int64(5) {
			b.visible[0] = visible
			if m.err = marker.ErrUnavailable; fails && visible == 2 {
				m.refuse = 1
			}
			for range 20 {
				_, err := b.w.Step(b.Context())
				b.must(err)
				b.now = b.now.Add(time.Second)
			}
		}
		b.whole()
		want := [][]int64{{100}, {100}, {100}, {101}}
		if fails {
			want = [][]int64{{100}, {100}, {100}, {100}, {101}}
		}
		if !slices.EqualFunc(hours, want, slices.Equal[[]int64]) {
			t.Errorf("a write fails: %t: hours %v are written, want %v", fails, hours, want)
		}
	}
}
