package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tallystick/tallystick/schemas"
)

func TestOptionsReportAllFaults(t *testing.T) {
	_, err := Open(context.Background(), Options{Brokers: []string{"here", "there:"}, RetryFor: -1})
	for _, want := range []string{`"here"`, `"there:"`, "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
	if _, err := Open(context.Background(), Options{}); err == nil || !strings.Contains(err.Error(), "--brokers") {
		t.Errorf("no brokers: %v", err)
	}
}

// TestOpenUnreachable: nobody listens, or somebody who never answers.
func TestOpenUnreachable(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, l := range []net.Listener{mute, gone} {
		begun := time.Now()
		_, err := Open(context.Background(), Options{Brokers: []string{l.Addr().String()}, ConnectTimeout: 300 * time.Millisecond})
		wantErr[*UnreachableError](t, err)
		if s := err.Error(); !strings.Contains(s, "cannot reach Kafka at "+l.Addr().String()) || !strings.Contains(s, "check --brokers") {
			t.Error(s)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("took %s", d)
		}
	}
}

// What a broker turns down is told apart, and names the flag to look at.
func TestUnreachableSays(t *testing.T) {
	alert, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer alert.Close()
	go func() {
		for {
			c, err := alert.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) // what a TLS listener says to what is no ClientHello
			_, _ = c.Read(make([]byte, 1<<10))
			c.Close()
		}
	}()
	_, err = Open(context.Background(), Options{Brokers: []string{alert.Addr().String()}, ConnectTimeout: 5 * time.Second})
	for want, err := range map[string]error{
		"it speaks TLS, and this client does not; check --kafka-tls":                                   err,
		"it asks for no SASL there; leave --kafka-sasl out":                                            &UnreachableError{Err: kerr.IllegalSaslState},
		"it does not take this SASL mechanism; check --kafka-sasl":                                     &UnreachableError{Err: kerr.UnsupportedSaslMechanism},
		"it does not accept this user and password; check --kafka-sasl, --kafka-user and the password": &UnreachableError{Err: kerr.SaslAuthenticationFailed},
	} {
		if _, ok := errors.AsType[*UnreachableError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	r := newRig(t)
	r.create("orders", 3, map[string]string{"retention.ms": "12345", "message.timestamp.type": "LogAppendTime"})
	r.create("payments", 1, nil)
	r.create("payment.quarantine", 1, nil)
	d, err := r.c.Describe(r.ctx, "orders")
	r.must(err)
	m := meta{topicID: r.rawID("orders")}
	if d.ID != m.id() || len(d.ID) != 22 {
		t.Errorf("id %q, want %q", d.ID, m.id())
	}
	d.ID = ""
	equal(t, *d, Topic{Name: "orders", Partitions: []int32{0, 1, 2}, TimestampType: LogAppendTime, CleanupPolicy: "delete",
		RetentionMs: 12345, TimestampBeforeMaxMs: Unknown, TimestampAfterMaxMs: Unknown})

	_, err = r.c.Describe(r.ctx, "order")
	equal(t, wantErr[*MissingTopicError](t, err).Similar, []string{"orders"})
	_, err = r.c.Describe(r.ctx, "payment") // whose quarantine was left behind
	equal(t, wantErr[*MissingTopicError](t, err).Similar, []string{"payments"})
	_, err = r.c.Describe(r.ctx, "zzz")
	equal(t, wantErr[*MissingTopicError](t, err).Similar, []string(nil))
	if r.k.TopicInfo("order") != nil {
		t.Error("asking for a topic created it")
	}

	r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "orders", Err: kerr.TopicAuthorizationFailed})
	_, err = r.c.Describe(r.ctx, "orders")
	wantErr[*UnauthorisedError](t, err)

	h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: "orders", Err: kerr.TopicAuthorizationFailed})
	d, err = r.c.Describe(r.ctx, "orders")
	r.must(err)
	if h.Hits() != 1 || len(d.Warnings) != 1 || d.CleanupPolicy != "" || len(d.Partitions) != 3 {
		t.Errorf("%d refusals, %+v", h.Hits(), d)
	}
}

// TestCheckEventSource: K6 and the timestamp bounds of §3. kfake does not know
// those, so the topic is made up.
func TestCheckEventSource(t *testing.T) {
	for _, c := range []struct {
		name    string
		t       Topic
		refusal string // part of it, "" = accepted
		warning string // part of it, "" = none
	}{
		{name: "compacted", t: Topic{CleanupPolicy: "compact", TimestampType: LogAppendTime}, refusal: "declare the source with `kind: table`"},
		{name: "both", t: Topic{CleanupPolicy: "compact,delete", TimestampType: LogAppendTime}, refusal: "declare the source with `kind: table`"},
		{name: "appended", t: Topic{CleanupPolicy: "delete", TimestampType: LogAppendTime, TimestampAfterMaxMs: Unlimited}},
		{name: "unlimited", t: Topic{TimestampType: CreateTime, TimestampAfterMaxMs: Unlimited},
			refusal: "--alter --entity-type topics --entity-name t --add-config message.timestamp.after.max.ms=3600000"},
		{name: "unknown", t: Topic{TimestampType: CreateTime, TimestampAfterMaxMs: Unknown}, warning: "does not report"},
		{name: "two hours", t: Topic{TimestampType: CreateTime, TimestampAfterMaxMs: 7_200_000}, warning: "2h0m0s in the future"},
		{name: "one hour", t: Topic{TimestampType: CreateTime, TimestampAfterMaxMs: 3_600_000}, warning: "LogAppendTime is recommended"},
	} {
		c.t.Name = "t"
		ws, err := c.t.CheckEventSource()
		if c.refusal == "" && err != nil || c.refusal != "" && (!isType[*SourceError](err) || !strings.Contains(err.Error(), c.refusal)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if all := strings.Join(ws, "\n"); c.warning == "" && all != "" || !strings.Contains(all, c.warning) {
			t.Errorf("%s: warnings %q", c.name, all)
		}
	}
}

// TestCheckTableSource: a table takes what keeps the newest record of each key (K6).
func TestCheckTableSource(t *testing.T) {
	for policy, refusal := range map[string]string{"compact": "", "delete": "", "": "",
		"compact,delete": "topic t cannot be a table: its cleanup.policy is compact,delete, so Kafka deletes old records, also the newest one of a key that has not changed since: for a table set cleanup.policy=compact", "delete, compact": "for a table set cleanup.policy=compact"} {
		topic := Topic{Name: "t", CleanupPolicy: policy, TimestampType: LogAppendTime}
		_, err := topic.CheckTableSource()
		if refusal == "" && err != nil || refusal != "" && (!isType[*SourceError](err) || !strings.Contains(err.Error(), refusal)) {
			t.Errorf("%q: %v", policy, err)
		}
	}
	topic := Topic{Name: "t", CleanupPolicy: "compact", TimestampType: CreateTime, TimestampAfterMaxMs: Unlimited}
	if _, err := topic.CheckTableSource(); !isType[*SourceError](err) {
		t.Errorf("timestamps without a bound: %v", err)
	}
}

func TestTopicConfig(t *testing.T) {
	var d Topic
	for k, v := range map[string]string{"message.timestamp.after.max.ms": "9223372036854775807", "message.timestamp.before.max.ms": "60000", "retention.ms": "-1", "other": "x"} {
		d.set(k, &v)
	}
	d.set("cleanup.policy", nil)
	equal(t, d, Topic{TimestampAfterMaxMs: Unlimited, TimestampBeforeMaxMs: 60000, RetentionMs: -1})
}

// TestCut: the last stable offset, not the log's end; starts and identity (K1, K2).
func TestCut(t *testing.T) {
	r := newRig(t)
	r.create("a", 2, nil)
	r.create("b", 1, nil)
	r.produce("a", 0, "x")
	r.produce("a", 0, "y")
	r.must(r.k.DeleteRecords("a", 0, 1))
	hanging := r.txn("hanging")
	r.send(hanging, &kgo.Record{Topic: "a", Value: []byte("h")})
	r.produce("a", 0, "z")
	cut, err := r.c.Cut(r.ctx, "a", "b")
	r.must(err)
	r.end(hanging, kgo.TryAbort)
	equal(t, *cut, schemas.Cut{Topics: map[string]schemas.TopicCut{
		"a": {TopicID: r.id("a"), TimestampType: CreateTime, Partitions: map[int32]schemas.PartitionCut{0: {Start: 1, End: 2}, 1: {}}},
		"b": {TopicID: r.id("b"), TimestampType: CreateTime, Partitions: map[int32]schemas.PartitionCut{0: {}}},
	}})
	_, err = r.c.Cut(r.ctx, "a", "c")
	wantErr[*MissingTopicError](t, err)
	h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "a", Err: kerr.TopicAuthorizationFailed})
	_, err = r.c.Cut(r.ctx, "a")
	wantErr[*UnauthorisedError](t, err)
	equal(t, h.Hits(), 1)
}

// TestOffsetsAfter: a hint by Kafka's timestamps, where ms m counts as m*1000+999 (K5, §3).
func TestOffsetsAfter(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, nil)
	for _, ms := range []int64{10, 20, 30} {
		_, err := r.c.Produce(r.ctx, "t", 0, Message{Value: []byte("v"), Timestamp: time.UnixMilli(ms)})
		r.must(err)
	}
	for at, want := range map[schemas.Micros]int64{-5: 0, 10_999: 0, 11_000: 1, 20_000: 1, 20_999: 1, 21_000: 2, 31_000: 3} {
		got, err := r.c.OffsetsAfter(r.ctx, "t", at)
		r.must(err)
		if got[0] != want {
			t.Errorf("after %d: offset %d, want %d", at, got[0], want)
		}
	}
	_, err := r.c.OffsetsAfter(r.ctx, "missing", 0)
	wantErr[*MissingTopicError](t, err)
}

// TestTick: one tick in each partition, read back as such (K7).
func TestTick(t *testing.T) {
	r := newRig(t)
	r.create("t", 3, nil)
	r.produce("t", 1, "v")
	at, err := r.c.Tick(r.ctx, "t")
	r.must(err)
	id := r.id("t")
	equal(t, at, []schemas.Position{{TopicID: id, Partition: 0}, {TopicID: id, Partition: 1, Offset: 1}, {TopicID: id, Partition: 2}})
	at, err = r.c.Tick(r.ctx, "t", 2)
	r.must(err)
	equal(t, at, []schemas.Position{{TopicID: id, Partition: 2, Offset: 1}})
	got, err := r.read("t", 1, 0, 2)
	r.must(err)
	equal(t, got, []string{"0:v", "1:tick"})
	_, err = r.c.Tick(r.ctx, "missing")
	wantErr[*MissingTopicError](t, err)
}

// TestTickCompacted: a compacted topic takes no record without a key (K7).
func TestTickCompacted(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, map[string]string{"cleanup.policy": "compact"})
	_, err := r.c.Tick(r.ctx, "t")
	r.must(err)
	r.must(r.c.Read(r.ctx, Ref{Name: "t"}, 0, 0, 1, func(rs []schemas.Record) error {
		if len(rs) != 1 || !rs[0].Tick || string(rs[0].Key) != schemas.TickHeader {
			t.Errorf("%+v", rs)
		}
		return nil
	}))
}

// TestProduce: an offset is returned only for what was acknowledged.
func TestProduce(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, nil)
	h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.NotEnoughReplicas})
	at, err := r.c.Produce(r.ctx, "t", 0, Message{Value: []byte("a")}, Message{Value: []byte("b")})
	r.must(err)
	equal(t, at, []int64{0, 1})
	equal(t, h.Hits(), 1)
	h = r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, TopicID: r.rawID("t"), Err: kerr.TopicAuthorizationFailed, Count: -1})
	at, err = r.c.Produce(r.ctx, "t", 0, Message{Value: []byte("c")})
	wantErr[*UnauthorisedError](t, err)
	equal(t, at, []int64{-1})
	h.Remove()
	if _, err = r.c.Produce(r.ctx, "t", 5, Message{}); err == nil {
		t.Error("produced to a partition that does not exist")
	}
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	if _, err = r.c.Produce(ctx, "t", 0, Message{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEnsureTopic(t *testing.T) {
	r := newRig(t)
	r.create("t", 2, nil)
	r.create("t", 2, nil)
	if err := r.c.EnsureTopic(r.ctx, "t", 3, nil); err == nil {
		t.Error("a topic of 2 partitions passed for one of 3")
	}
	h := r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "new", Err: kerr.TopicAuthorizationFailed})
	wantErr[*UnauthorisedError](t, r.c.EnsureTopic(r.ctx, "new", 1, nil))
	equal(t, h.Hits(), 1)
	h = r.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "t", Err: kerr.TopicAuthorizationFailed})
	r.create("t", 2, nil) // who may not create topics may use one that is there
	equal(t, h.Hits(), 0)
}

// The ends are the stable ones: what an open transaction holds back is no lag.
func TestEnds(t *testing.T) {
	r := newRig(t)
	r.create("t", 2, nil)
	r.produce("t", 1, "a")
	r.produce("t", 1, "b")
	kc := r.txn("x")
	r.must(kc.ProduceSync(r.ctx, &kgo.Record{Topic: "t", Partition: 1, Value: []byte("c")}).FirstErr())
	ends, err := r.c.Ends(r.ctx, "t")
	r.must(err)
	equal(t, fmt.Sprint(ends), "map[0:0 1:2]")
	r.end(kc, kgo.TryAbort)
}

// BufferBytes bound what lies fetched and not polled: a reader that stands still
// is not sent the log.
func TestBufferBytes(t *testing.T) {
	r := newRig(t)
	r.create("t", 4, nil)
	random := make([]byte, 10_000) // not to be compressed
	source := rand.NewChaCha8([32]byte{})
	for p := range int32(4) {
		for range 100 {
			_, _ = source.Read(random)
			r.produce("t", p, string(random))
		}
	}
	fetched := func(o Options) (bytes int64) {
		c := r.open(o)
		tail, err := c.Tail(r.ctx, Ref{Name: "t"}, "", kgo.FetchMaxWait(10*time.Millisecond))
		r.must(err)
		defer tail.Close()
		r.must(tail.Assign(r.ctx, map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0}))
		var bs []Batch
		for len(bs) == 0 {
			bs, err = tail.Poll(r.ctx, time.Second)
			r.must(err)
		}
		for _, b := range bs {
			for i := range b.Records {
				bytes += int64(len(b.Records[i].Value))
			}
		}
		return bytes
	}
	const limit = 128 << 10
	small, large := fetched(Options{BufferBytes: limit}), fetched(Options{})
	if small > 2*limit || large < 4*limit {
		t.Errorf("%d bytes with a limit of %d, %d without", small, limit, large)
	}
}
