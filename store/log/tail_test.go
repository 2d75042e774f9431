package log

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (r *rig) tail(topic string, at map[int32]int64) *Tailer {
	r.Helper()
	tl, err := r.c.Tail(r.ctx, Ref{Name: topic}, "",
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
	r.must(err)
	r.Cleanup(tl.Close)
	r.must(tl.Assign(r.ctx, at))
	return tl
}

// until polls until every partition stands at or beyond its end, and returns
// what came, per partition.
func (r *rig) until(tl *Tailer, ends map[int32]int64) map[int32][]string {
	r.Helper()
	got := map[int32][]string{}
	for {
		done := true
		for p, end := range ends {
			done = done && tl.Positions()[p] >= end
		}
		if done {
			return got
		}
		bs, err := tl.Poll(r.ctx, 100*time.Millisecond)
		r.must(err)
		for _, b := range bs {
			for i := range b.Records {
				got[b.Partition] = append(got[b.Partition], show(&b.Records[i]))
			}
			if b.Next != tl.Positions()[b.Partition] || len(b.Records) > 0 && b.Next <= b.Records[len(b.Records)-1].Offset {
				r.Fatalf("batch %+v, positions %v", b, tl.Positions())
			}
		}
	}
}

// fails polls until an error comes.
func (r *rig) fails(tl *Tailer) error {
	r.Helper()
	for {
		if _, err := tl.Poll(r.ctx, 100*time.Millisecond); err != nil {
			return err
		}
		r.must(r.ctx.Err())
	}
}

// TestTail: assigning, seeking back and forth, removing and adding.
func TestTail(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.create("t", 2, nil)
	for i := range 4 {
		r.produce("t", 0, fmt.Sprint(i))
		r.produce("t", 1, fmt.Sprint(i))
	}
	tl := r.tail("t", map[int32]int64{0: 0, 1: 2})
	equal(t, r.until(tl, map[int32]int64{0: 4, 1: 4}), map[int32][]string{0: {"0:0", "1:1", "2:2", "3:3"}, 1: {"2:2", "3:3"}})
	r.must(tl.Seek(r.ctx, 0, 3))
	equal(t, r.until(tl, map[int32]int64{0: 4}), map[int32][]string{0: {"3:3"}})
	r.must(tl.Seek(r.ctx, 0, 0))
	r.must(tl.Seek(r.ctx, 0, 1)) // at once, before the first took effect
	equal(t, r.until(tl, map[int32]int64{0: 4}), map[int32][]string{0: {"1:1", "2:2", "3:3"}})
	tl.Remove(1)
	r.produce("t", 1, "unseen")
	r.produce("t", 0, "seen")
	equal(t, r.until(tl, map[int32]int64{0: 5}), map[int32][]string{0: {"4:seen"}})
	equal(t, tl.Positions(), map[int32]int64{0: 5})
	if tl.Seek(r.ctx, 1, 0) == nil {
		t.Error("moved a partition that is not assigned")
	}
	r.must(tl.Assign(r.ctx, map[int32]int64{1: 4}))
	equal(t, r.until(tl, map[int32]int64{1: 5}), map[int32][]string{1: {"4:unseen"}})
	wantErr[*MissingPartitionError](t, tl.Assign(r.ctx, map[int32]int64{7: 0}))
	if tl.Assign(r.ctx, map[int32]int64{0: -1}) == nil {
		t.Error("assigned a negative offset")
	}
}

// TestTailPause: a paused partition is silent, the others go on.
func TestTailPause(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.create("t", 2, nil)
	tl := r.tail("t", map[int32]int64{0: 0, 1: 0})
	tl.Pause(0)
	r.produce("t", 0, "a")
	r.produce("t", 1, "b")
	equal(t, r.until(tl, map[int32]int64{1: 1}), map[int32][]string{1: {"0:b"}})
	tl.Resume(0)
	equal(t, r.until(tl, map[int32]int64{0: 1}), map[int32][]string{0: {"0:a"}})
}

// TestTailSettles: the position reaches a cut's end that lies behind aborted
// records whose marker stays unstable, also while another partition is busy
// (K1, K2).
func TestTailSettles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.create("t", 2, nil)
	rec := func(v string) *kgo.Record { return &kgo.Record{Topic: "t", Value: []byte(v)} }
	r.produce("t", 0, "a")
	aborted, hanging := r.txn("aborted"), r.txn("hanging")
	r.send(aborted, rec("x"), rec("y")) // 1, 2
	r.send(hanging, rec("h"))           // 3
	r.end(aborted, kgo.TryAbort)        // 4
	tl := r.tail("t", map[int32]int64{0: 0, 1: 0})
	for i := 0; tl.Positions()[0] < 3; i++ {
		r.produce("t", 1, "busy")
		_, err := tl.Poll(r.ctx, 100*time.Millisecond)
		r.must(err)
	}
	equal(t, tl.Positions()[0], 3)
	r.end(hanging, kgo.TryCommit) // 5
	r.produce("t", 0, "b")        // 6
	equal(t, r.until(tl, map[int32]int64{0: 7})[0], []string{"3:h", "6:b"})
}

// TestTailFaults: what stops a partition, and that it stays stopped (K3).
func TestTailFaults(t *testing.T) {
	t.Parallel()
	t.Run("truncated", func(t *testing.T) {
		r := newRig(t)
		r.create("t", 1, nil)
		r.produce("t", 0, "a")
		r.produce("t", 0, "b")
		r.must(r.k.DeleteRecords("t", 0, 1))
		tl := r.tail("t", map[int32]int64{0: 0})
		equal(t, *wantErr[*TruncatedError](t, r.fails(tl)), TruncatedError{"t", 0, 0, 1})
		wantErr[*TruncatedError](t, r.fails(tl))
		r.must(tl.Seek(r.ctx, 0, 1))
		equal(t, r.until(tl, map[int32]int64{0: 2}), map[int32][]string{0: {"1:b"}})
	})
	t.Run("shrunk", func(t *testing.T) {
		r := newRig(t)
		r.create("t", 1, nil)
		tl := r.tail("t", map[int32]int64{0: 5})
		equal(t, *wantErr[*ShrunkError](t, r.fails(tl)), ShrunkError{"t", 0, 5, 0})
	})
	t.Run("recreated", func(t *testing.T) {
		r := newRig(t)
		r.create("t", 1, nil)
		r.produce("t", 0, "a")
		tl := r.tail("t", map[int32]int64{0: 0})
		r.until(tl, map[int32]int64{0: 1})
		old := tl.TopicID()
		r.must(r.k.DeleteTopic("t"))
		r.create("t", 1, nil)
		r.c = r.open(Options{RetryFor: 5 * time.Second}) // the old one's producer is pinned to the old topic
		r.produce("t", 0, "other")
		r.produce("t", 0, "other")
		equal(t, wantErr[*RecreatedError](t, r.fails(tl)).Expected, old)
		wantErr[*RecreatedError](t, tl.Assign(r.ctx, map[int32]int64{0: 0}))
		_, err := r.c.Tail(r.ctx, Ref{Name: "t", ID: old}, "")
		wantErr[*RecreatedError](t, err)
	})
	t.Run("deleted", func(t *testing.T) {
		r := newRig(t)
		r.create("t", 1, nil)
		r.produce("t", 0, "a")
		tl := r.tail("t", map[int32]int64{0: 0})
		r.until(tl, map[int32]int64{0: 1})
		r.must(r.k.DeleteTopic("t"))
		wantErr[*MissingTopicError](t, r.fails(tl))
	})
	t.Run("timestamp type", func(t *testing.T) {
		r := newRig(t)
		r.create("t", 1, nil)
		r.mixStamps("t")
		tl := r.tail("t", map[int32]int64{0: 0})
		equal(t, wantErr[*TimestampTypeError](t, r.fails(tl)).Offset, 2)
		wantErr[*TimestampTypeError](t, tl.failed[0])
		equal(t, tl.Positions()[0], 2)
	})
	t.Run("unauthorised", func(t *testing.T) {
		r := newRig(t)
		r.create("t", 1, nil)
		r.produce("t", 0, "a")
		h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		tl := r.tail("t", map[int32]int64{0: 0})
		wantErr[*UnauthorisedError](t, r.fails(tl))
		if h.Hits() == 0 {
			t.Error("no refusal happened")
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		r := newRig(t)
		r.create("t", 1, nil)
		tl := r.tail("t", map[int32]int64{0: 0})
		bs, err := tl.Poll(r.ctx, time.Millisecond)
		if len(bs) != 0 || err != nil {
			t.Errorf("an idle poll gave %v, %v", bs, err)
		}
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		if _, err := tl.Poll(ctx, time.Minute); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		tl.Close()
		if _, err := tl.Poll(r.ctx, time.Minute); err == nil {
			t.Error("polled a closed Tailer")
		}
	})
}

// TestTailRidesOut: leaders move and brokers err in passing; nothing is lost or repeated.
func TestTailRidesOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, kfake.NumBrokers(3))
	r.create("t", 1, nil)
	tl := r.tail("t", map[int32]int64{0: 0})
	var got, want []string
	for i := range 6 {
		at := r.produce("t", 0, fmt.Sprint(i))
		want = append(want, fmt.Sprintf("%d:%d", at, i))
		h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition})
		r.must(r.k.MoveTopicPartition("t", 0, (r.k.LeaderFor("t", 0)+1)%3))
		got = append(got, r.until(tl, map[int32]int64{0: at + 1})[0]...)
		h.Remove()
	}
	equal(t, got, want)
}
