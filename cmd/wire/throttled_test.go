package wire

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
)

// logOf hands out records of 1,000 bytes.
type logOf int

func (n logOf) ReadCut(_ context.Context, _ string, _ schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	for range n {
		if err := fn(0, []schemas.Record{{Key: make([]byte, 100), Value: make([]byte, 900)}}); err != nil {
			return err
		}
	}
	return nil
}

// B3: no more than a second's burst beyond the rate is read, records greater than a
// second's worth too.
func TestThrottled(t *testing.T) {
	for _, c := range []struct {
		records logOf
		rate    int64
		least   time.Duration
	}{{30, 20_000, 500 * time.Millisecond}, {3, 2_000, 500 * time.Millisecond}, {2, 900, 1200 * time.Millisecond}, {1000, 0, 0}} {
		n, begin := 0, time.Now()
		err := Throttled(batch.Log(c.records), c.rate).ReadCut(t.Context(), "", schemas.TopicCut{}, 1, func(int32, []schemas.Record) error { n++; return nil })
		if took := time.Since(begin); err != nil || n != int(c.records) || took < c.least {
			t.Errorf("%d records at %d bytes a second: %d after %v, at least %v, %v", c.records, c.rate, n, took, c.least, err)
		}
	}
}

// B3: a wait ends with its context, not before, and says why.
func TestThrottledEnds(t *testing.T) {
	late := errors.New("late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, late)
	defer cancel()
	err := Throttled(batch.Log(logOf(100)), 1000).ReadCut(ctx, "", schemas.TopicCut{}, 1, func(int32, []schemas.Record) error { return nil })
	if !errors.Is(err, late) || ctx.Err() == nil {
		t.Errorf("%v, the context: %v", err, ctx.Err())
	}
}
