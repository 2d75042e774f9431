package log

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// K4: the committed offsets are there for Kafka's own tools to see.
func TestCommitOffsets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	c, err := Open(ctx, Options{Brokers: k.ListenAddrs()})
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
