package reconcile

import (
	"context"
	"errors"
	"slices"
	"testing"
)

type brokenReplayer struct{}

func (brokenReplayer) Replay(context.Context, int32, map[string]bool, bool) (*Replayed, error) {
	return nil, errors.New("broken")
}

// The notes on partitions that could not be replayed come in the partitions'
// order, so that reports of equal stores are equal.
func TestReplaysInOrder(t *testing.T) {
	for range 20 {
		r := &run{rep: &Report{}, replayer: brokenReplayer{}}
		for p := range int32(8) {
			r.add(&finding{ask: askLedger, place: place{0, p}})
		}
		if _, err := r.replays(context.Background()); err != nil {
			t.Fatal(err)
		}
		if len(r.rep.Notes) != 8 || !slices.IsSorted(r.rep.Notes) {
			t.Fatalf("notes %q", r.rep.Notes)
		}
	}
}
