package log

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tallystick/tallystick/integration/testbed"
)

// K4: the committed offsets are there for Kafka's own tools to see.
func TestCommitOffsets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	k := testbed.Kafka(t, kfake.SeedTopics(2, "t"))
	c, err := Open(ctx, Options{Brokers: k.ListenAddrs(), Extra: testbed.KafkaOptions()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []map[int32]int64{{0: 3, 1: 5}, {0: 7}} {
		if err := c.CommitOffsets(ctx, "g", "t", want); err != nil {
			t.Fatal(err)
		}
		got, err := c.adm.FetchOffsets(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		for p, at := range want {
			if o, ok := got.Lookup("t", p); !ok || o.At != at {
				t.Errorf("partition %d: committed %v, want %d", p, o.At, at)
			}
		}
	}
}
