package log

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tallystick/tallystick/schemas"
)

// TestReadKinds: data, null values, empty values, ticks and timestamps (K7, §3).
func TestReadKinds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.create("t", 1, nil)
	tick := []Header{{Key: schemas.TickHeader}}
	_, err := r.c.Produce(r.ctx, "t", 0,
		Message{Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(42)},
		Message{Key: []byte("k")},
		Message{Value: []byte{}},
		Message{Headers: tick},
		Message{Value: []byte("not null"), Headers: tick},
		Message{Value: []byte{}, Headers: tick},
	)
	r.must(err)
	var got []schemas.Record
	r.must(r.c.Read(r.ctx, Ref{Name: "t"}, 0, 0, 6, func(rs []schemas.Record) error {
		got = append(got, rs...)
		return nil
	}))
	var s []string
	for i := range got {
		s = append(s, show(&got[i]))
	}
	equal(t, s, []string{"0:v", "1:null", "2:", "3:tick", "4:not null", "5:"})
	equal(t, got[0].Timestamp, schemas.KafkaMillis(42))
	equal(t, string(got[0].Key), "k")
}

// TestReadEndsWhereNothingIsDelivered: ranges that end in control records,
// aborted records, or both, before and behind an open transaction (K1, K2).
func TestReadEndsWhereNothingIsDelivered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.create("t", 1, nil)
	rec := func(v string) *kgo.Record { return &kgo.Record{Topic: "t", Value: []byte(v)} }

	r.produce("t", 0, "a") // 0
	committed, aborted := r.txn("committed"), r.txn("aborted")
	r.send(committed, rec("b"))         // 1
	r.end(committed, kgo.TryCommit)     // 2 marker
	r.send(aborted, rec("x"), rec("y")) // 3, 4
	hanging := r.txn("hanging")
	r.send(hanging, rec("h")) // 5, open: the last stable offset is 3 now
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	equal(t, cut.Topics["t"].Partitions[0].End, 3)
	r.end(aborted, kgo.TryAbort) // 6 marker, unstable for ever
	cut, err = r.c.Cut(r.ctx, "t")
	r.must(err)
	equal(t, cut.Topics["t"].Partitions[0].End, 5)

	for _, c := range []struct {
		from, to int64
		want     []string
	}{
		{0, 5, []string{"0:a", "1:b"}}, // ends in aborted records without their marker
		{3, 5, nil},
		{4, 5, nil},
		{0, 3, []string{"0:a", "1:b"}}, // ends in a commit marker
		{2, 3, nil},
		{1, 2, []string{"1:b"}},
		{0, 0, nil},
		{5, 5, nil},
	} {
		got, err := r.read("t", 0, c.from, c.to)
		r.must(err)
		t.Log(c.from, c.to)
		equal(t, got, c.want)
	}
	r.end(hanging, kgo.TryAbort) // 7 marker: now both markers are stable
	got, err := r.read("t", 0, 3, 8)
	r.must(err)
	equal(t, got, []string(nil))
	r.produce("t", 0, "c")
	got, err = r.read("t", 0, 0, 9)
	r.must(err)
	equal(t, got, []string{"0:a", "1:b", "8:c"})
}

// TestReadCompactionHoles: a range whose end was compacted away still ends (K1).
func TestReadCompactionHoles(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, map[string]string{"cleanup.policy": "compact", "segment.bytes": "200"})
	for i := range 20 {
		key := fmt.Sprint(i % 2)
		if i == 0 || i == 7 {
			key = fmt.Sprint("kept ", i) // kfake moves the log's start up to the first record kept
		}
		_, err := r.c.Produce(r.ctx, "t", 0, Message{Key: []byte(key), Value: fmt.Append(nil, i)})
		r.must(err)
	}
	before, err := r.read("t", 0, 0, 20)
	r.must(err)
	r.k.Compact()
	after, err := r.read("t", 0, 0, 20)
	r.must(err)
	if len(after) >= len(before) {
		t.Fatalf("nothing was compacted: %d records before, %d after", len(before), len(after))
	}
	for to := range int64(21) { // every end, most of them in a hole
		got, err := r.read("t", 0, 0, to)
		r.must(err)
		if len(got) > len(after) {
			t.Errorf("to %d: %v", to, got)
		}
	}
}

// TestReadTruncated: retention passed what is needed (K3).
func TestReadTruncated(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, nil)
	for i := range 10 {
		r.produce("t", 0, fmt.Sprint(i))
	}
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	r.must(r.k.DeleteRecords("t", 0, 4))
	_, err = r.read("t", 0, 0, 10)
	e := wantErr[*TruncatedError](t, err)
	equal(t, *e, TruncatedError{"t", 0, 0, 4})
	if !strings.Contains(err.Error(), "--adopt-start") || !strings.Contains(err.Error(), "0 to 3") {
		t.Errorf("the message names neither loss nor command: %v", err)
	}
	err = r.c.ReadCut(r.ctx, "t", cut.Topics["t"], 2, func(int32, []schemas.Record) error { return nil })
	wantErr[*TruncatedError](t, err)
	got, err := r.read("t", 0, 4, 10)
	r.must(err)
	equal(t, len(got), 6)
	got, err = r.read("t", 0, 2, 2) // nothing needed, nothing lost
	r.must(err)
	equal(t, len(got), 0)
}

// TestReadTruncatedMidway: retention overtakes a reader between two pages (K3).
func TestReadTruncatedMidway(t *testing.T) {
	r := newRig(t)
	r.c = r.open(Options{FetchBytes: 1, RetryFor: 5 * time.Second}) // one batch per fetch
	r.create("t", 1, nil)
	for i := range 10 {
		r.produce("t", 0, fmt.Sprint(i))
	}
	var got int
	err := r.c.Read(r.ctx, Ref{Name: "t"}, 0, 0, 10, func(rs []schemas.Record) error {
		if got == 0 {
			r.must(r.k.DeleteRecords("t", 0, 9))
		}
		got += len(rs)
		return nil
	})
	e := wantErr[*TruncatedError](t, err)
	if got == 0 || int64(got) > e.Needed {
		t.Errorf("%d records delivered, %v", got, e)
	}
}

// TestReadShrunk: the log ends below the cut (K3).
func TestReadShrunk(t *testing.T) {
	r := newRig(t)
	r.c = r.open(Options{RetryFor: 200 * time.Millisecond})
	r.create("t", 1, nil)
	r.produce("t", 0, "a")
	got, err := r.read("t", 0, 0, 5)
	equal(t, *wantErr[*ShrunkError](t, err), ShrunkError{"t", 0, 5, 1})
	equal(t, got, []string{"0:a"})
	_, err = r.read("t", 0, 7, 9) // out of range altogether
	equal(t, *wantErr[*ShrunkError](t, err), ShrunkError{"t", 0, 7, 1})
}

// TestReadRecreated: another topic under the same name, before and during a read (K3).
func TestReadRecreated(t *testing.T) {
	r := newRig(t)
	r.c = r.open(Options{FetchBytes: 1, RetryFor: 5 * time.Second})
	r.create("t", 1, nil)
	fill := func() {
		for i := range 10 {
			r.produce("t", 0, fmt.Sprint(i))
		}
	}
	fill()
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	old := cut.Topics["t"].TopicID
	recreate := func() {
		r.must(r.k.DeleteTopic("t"))
		r.create("t", 1, nil)
	}
	var calls int
	err = r.c.ReadCut(r.ctx, "t", cut.Topics["t"], 1, func(int32, []schemas.Record) error {
		if calls++; calls == 1 {
			recreate()
		}
		return nil
	})
	// What was fetched ahead may have met the moment without any topic.
	if !isType[*RecreatedError](err) && !isType[*MissingTopicError](err) || calls == 10 {
		t.Errorf("%v after %d calls", err, calls)
	}
	err = r.c.ReadCut(r.ctx, "t", cut.Topics["t"], 1, func(int32, []schemas.Record) error {
		t.Error("a record of the new topic was delivered")
		return nil
	})
	e := wantErr[*RecreatedError](t, err)
	if e.Expected != old || e.Have == old {
		t.Error(e)
	}
	r.must(r.k.DeleteTopic("t"))
	wantErr[*MissingTopicError](t, r.c.ReadCut(r.ctx, "t", cut.Topics["t"], 1, nil))
}

// TestReadPartitions: fewer partitions are refused, more are told of (K3).
func TestReadPartitions(t *testing.T) {
	r := newRig(t)
	r.create("t", 3, nil)
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	tc := cut.Topics["t"]
	delete(tc.Partitions, 1)
	added, err := r.c.CheckIdentity(r.ctx, "t", tc)
	r.must(err)
	equal(t, added, []int32{1})
	tc.Partitions[7] = schemas.PartitionCut{End: 5}
	e := wantErr[*FewerPartitionsError](t, r.c.ReadCut(r.ctx, "t", tc, 1, nil))
	equal(t, e.Missing, []int32{7})
	_, err = r.read("t", 9, 0, 1)
	wantErr[*MissingPartitionError](t, err)
	if _, err := r.read("t", 0, 3, 1); err == nil {
		t.Error("a range that ends before it begins was accepted")
	}
}

// TestReadTimestampType: CreateTime records followed by LogAppendTime (K3).
func TestReadTimestampType(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, nil)
	r.mixStamps("t")
	got, err := r.read("t", 0, 0, 3)
	equal(t, *wantErr[*TimestampTypeError](t, err), TimestampTypeError{"t", 0, 2, CreateTime, LogAppendTime})
	for _, g := range got {
		if strings.HasPrefix(g, "2") {
			t.Errorf("delivered: %v", got)
		}
	}
	got, err = r.read("t", 0, 2, 3) // uniform from here on
	r.must(err)
	equal(t, len(got), 1)
	tc := schemas.TopicCut{TopicID: r.id("t"), TimestampType: LogAppendTime, Partitions: map[int32]schemas.PartitionCut{0: {End: 1}}}
	err = r.c.ReadCut(r.ctx, "t", tc, 1, func(int32, []schemas.Record) error { return nil })
	equal(t, wantErr[*TimestampTypeError](t, err).Offset, 0)
}

func (r *rig) id(topic string) string {
	r.Helper()
	d, err := r.c.Describe(r.ctx, topic)
	r.must(err)
	return d.ID
}

// TestReadRetries: what a broker answers in passing is retried, what it means
// is not (K3).
func TestReadRetries(t *testing.T) {
	t.Parallel()
	r := newRig(t, kfake.NumBrokers(3))
	r.create("t", 1, nil)
	r.produce("t", 0, "a")
	h := r.k.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownTopicID},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.OffsetOutOfRange},
	)
	got, err := r.read("t", 0, 0, 1)
	r.must(err)
	equal(t, got, []string{"0:a"})
	equal(t, h.Hits(), 3)
	h = r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError})
	if _, err = r.read("t", 0, 0, 1); !errors.Is(err, kerr.UnknownServerError) || h.Hits() != 1 {
		t.Errorf("%v after %d faults", err, h.Hits())
	}
	r.must(r.k.MoveTopicPartition("t", 0, (r.k.LeaderFor("t", 0)+1)%3))
	got, err = r.read("t", 0, 0, 1)
	r.must(err)
	equal(t, got, []string{"0:a"})
}

// TestReadLeaderMoves: each page comes from another broker.
func TestReadLeaderMoves(t *testing.T) {
	r := newRig(t, kfake.NumBrokers(3))
	r.c = r.open(Options{FetchBytes: 1, RetryFor: 5 * time.Second})
	r.create("t", 1, nil)
	for i := range 6 {
		r.produce("t", 0, fmt.Sprint(i))
	}
	var got int
	r.must(r.c.Read(r.ctx, Ref{Name: "t"}, 0, 0, 6, func(rs []schemas.Record) error {
		got += len(rs)
		return r.k.MoveTopicPartition("t", 0, (r.k.LeaderFor("t", 0)+1)%3)
	}))
	equal(t, got, 6)
}

// TestReadStalls: a fault that stays ends the read after RetryFor.
func TestReadStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c = r.open(Options{RetryFor: 150 * time.Millisecond})
	r.create("t", 1, nil)
	r.produce("t", 0, "a")
	h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: -1})
	defer h.Remove()
	_, err := r.read("t", 0, 0, 1)
	e := wantErr[*StalledError](t, err)
	if !errors.Is(e, kerr.NotLeaderForPartition) || h.Hits() < 2 {
		t.Errorf("%v after %d faults", e, h.Hits())
	}
}

// TestReadUnreachable: the broker goes away before and while reading.
func TestReadUnreachable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c = r.open(Options{FetchBytes: 1, RetryFor: 150 * time.Millisecond})
	r.create("t", 1, nil)
	for i := range 5 {
		r.produce("t", 0, fmt.Sprint(i))
	}
	err := r.c.Read(r.ctx, Ref{Name: "t"}, 0, 0, 5, func([]schemas.Record) error {
		r.k.Close()
		return nil
	})
	wantErr[*StalledError](t, err)
	if _, err = r.read("t", 0, 0, 5); err == nil {
		t.Error("read from a closed cluster")
	}
}

// TestReadUnauthorised: a refusal is final and names the missing right.
func TestReadUnauthorised(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, nil)
	r.produce("t", 0, "a")
	for _, key := range []kmsg.Key{kmsg.Fetch, kmsg.Metadata} {
		h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Topic: "t", Err: kerr.TopicAuthorizationFailed, Count: -1})
		h2 := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{key}, TopicID: r.rawID("t"), Err: kerr.TopicAuthorizationFailed, Count: -1})
		_, err := r.read("t", 0, 0, 1)
		wantErr[*UnauthorisedError](t, err)
		if h.Hits()+h2.Hits() != 1 {
			t.Errorf("%s: %d refusals", key.Name(), h.Hits()+h2.Hits())
		}
		h.Remove()
		h2.Remove()
	}
}

func (r *rig) rawID(topic string) [16]byte { return r.k.TopicInfo(topic).TopicID }

// TestReadCancelled: ctx and fn's errors end a read at once.
func TestReadCancelled(t *testing.T) {
	r := newRig(t)
	r.create("t", 4, nil)
	for p := range int32(4) {
		r.produce("t", p, "a")
	}
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	boom := errors.New("boom")
	err = r.c.ReadCut(r.ctx, "t", cut.Topics["t"], 2, func(int32, []schemas.Record) error { return boom })
	if err != boom {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	var once sync.Once
	err = r.c.ReadCut(ctx, "t", cut.Topics["t"], 2, func(int32, []schemas.Record) error {
		once.Do(cancel)
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestReadCorrupt: bytes that fail their checksum are a typed error.
func TestReadCorrupt(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, nil)
	r.produce("t", 0, "a")
	r.k.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		rt := kmsg.NewFetchResponseTopic()
		rt.TopicID = req.(*kmsg.FetchRequest).Topics[0].TopicID
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.LastStableOffset = 1
		rp.RecordBatches = make([]byte, 80)
		rp.RecordBatches[11], rp.RecordBatches[16] = 68, 2 // length, magic
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	_, err := r.read("t", 0, 0, 1)
	wantErr[*CorruptError](t, err)
}
