package wire

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
)

// Throttled bounds how much is read of a log: bytes of keys and values a second,
// over all partitions. 0 = no limit.
func Throttled(log batch.Log, perSecond int64) batch.Log {
	if perSecond <= 0 {
		return log
	}
	return &throttled{log, rate.NewLimiter(rate.Limit(perSecond), int(perSecond))}
}

type throttled struct {
	batch.Log
	limit *rate.Limiter
}

// ReadCut implements batch.Log.
func (t *throttled) ReadCut(ctx context.Context, topic string, cut schemas.TopicCut, parallel int, fn func(int32, []schemas.Record) error) error {
	return t.Log.ReadCut(ctx, topic, cut, parallel, func(p int32, rs []schemas.Record) error {
		n := 0
		for i := range rs {
			n += len(rs[i].Key) + len(rs[i].Value)
		}
		for burst := t.limit.Burst(); n > 0; n -= burst { // a wait may be for no more than a second's worth
			if err := t.wait(ctx, min(n, burst)); err != nil {
				return err
			}
		}
		return fn(p, rs)
	})
}

// wait waits for n bytes. Unlike the limiter's own it says why ctx has ended, and not
// before it has.
func (t *throttled) wait(ctx context.Context, n int) error {
	r := t.limit.ReserveN(time.Now(), n)
	timer := time.NewTimer(r.Delay())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return context.Cause(ctx)
	}
}
