//go:build real

package real

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// live appends events at a rate while a test does what it does.
type live struct {
	x        *rig
	rate     int
	begun    time.Time
	took     time.Duration
	acked    atomic.Int64
	failed   atomic.Pointer[error]
	cancel   context.CancelFunc
	finished chan struct{}
}

// live starts to append so many events a second, round the partitions.
func (x *rig) live(rate int) *live {
	ctx, cancel := context.WithCancel(x.ctx)
	l := &live{x: x, rate: rate, begun: time.Now(), cancel: cancel, finished: make(chan struct{})}
	go l.run(ctx)
	x.Cleanup(func() { l.cancel(); <-l.finished })
	return l
}

// run appends what is due, every 10 ms. Where the brokers do not take it in time,
// it waits for them and makes up for it.
func (l *live) run(ctx context.Context) {
	defer close(l.finished)
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	ps, n := l.x.partitions(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for due := int(time.Since(l.begun).Seconds() * float64(l.rate)); n < due && ctx.Err() == nil; n++ {
			// Not with ctx: what the account has counted must be appended.
			l.x.producer.Produce(l.x.ctx, l.x.gens[ps[n%len(ps)]].next(), l.done)
		}
	}
}

func (l *live) done(_ *kgo.Record, err error) {
	if err != nil {
		l.failed.CompareAndSwap(nil, &err)
		return
	}
	l.acked.Add(1)
}

// end stops, waits until all is acknowledged, and returns how many events a second
// that were.
func (l *live) end() int64 {
	l.x.Helper()
	l.cancel()
	<-l.finished
	l.x.must(l.x.producer.Flush(l.x.ctx))
	l.took = time.Since(l.begun)
	if err := l.failed.Load(); err != nil {
		l.x.Fatal(errors.Join(errors.New("the producer failed"), *err))
	}
	return int64(float64(l.acked.Load()) / l.took.Seconds())
}
