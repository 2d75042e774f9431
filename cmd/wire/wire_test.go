package wire

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
)

// V8: a record as large as a topic takes is quarantined too, else the stream
// would stand before it for good; what does not fit into a message is left in
// the log.
func TestQuarantineOfLargeRecords(t *testing.T) {
	kafka := testbed.Kafka(t)
	client, err := log.Open(t.Context(), log.Options{Brokers: kafka.ListenAddrs(), RetryFor: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.EnsureTopic(t.Context(), "q", 1, nil); err != nil {
		t.Fatal(err)
	}
	q := &Quarantine{Client: client, Topic: "q", View: "v"}
	var qs []stream.Quarantined
	sizes := []int{10, maxQuarantined - 1, maxQuarantined, 1_048_500, 8 << 20}
	for i, n := range sizes {
		qs = append(qs, stream.Quarantined{At: schemas.Position{TopicID: "id", Offset: int64(i)}, EventTime: schemas.Never,
			Outcome: transforms.Invalid, Stage: schemas.StageDecode, Reason: "garbage", Key: []byte("k"), Value: bytes.Repeat([]byte{7}, n)})
	}
	if err := q.Put(t.Context(), qs); err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(append(testbed.KafkaOptions(), kgo.SeedBrokers(kafka.ListenAddrs()...), kgo.ConsumeTopics("q"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for got := 0; got < len(qs); {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fs.Records() {
			headers := map[string]string{}
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			wantValue, wantOut := sizes[got], ""
			if wantValue+1 > maxQuarantined {
				wantValue, wantOut = 0, fmt.Sprint(wantValue+1)
			}
			if string(r.Key) != fmt.Sprintf("id/0/%d", got) || r.Value == nil || len(r.Value) != wantValue || headers[HeaderLeftOut] != wantOut || headers[HeaderReason] != "garbage" {
				t.Errorf("record %d: key %s, a value of %d bytes, headers %v", got, r.Key, len(r.Value), headers)
			}
			got++
		}
	}
}
