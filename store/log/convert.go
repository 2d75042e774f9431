package log

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/schemas"
)

// appendRecord appends r to dst unless it is a control record, which only
// moves the position. Key and Value alias r's memory, which is never reused.
func appendRecord(dst []schemas.Record, r *kgo.Record) []schemas.Record {
	if r.Attrs.IsControl() {
		return dst
	}
	return append(dst, schemas.Record{
		Partition: r.Partition,
		Offset:    r.Offset,
		Timestamp: schemas.KafkaMillis(r.Timestamp.UnixMilli()),
		Tick:      isTick(r),
		Key:       r.Key,
		Value:     r.Value,
	})
}

// recordPool keeps the slices of records that a consumer fetches into. What the
// records point to is not pooled.
type recordPool struct{ p sync.Pool }

// GetRecords implements kgo.PoolRecords.
func (rp *recordPool) GetRecords(n int) []kgo.Record {
	if s, ok := rp.p.Get().(*[]kgo.Record); ok && cap(*s) >= n {
		return (*s)[:0]
	}
	return make([]kgo.Record, 0, n)
}

// PutRecords implements kgo.PoolRecords.
func (rp *recordPool) PutRecords(s []kgo.Record) { rp.p.Put(&s) }

// isTick tells whether r is a tick: null value and tick header (K7). A null
// value alone is an ordinary record, which V8 counts as invalid.
func isTick(r *kgo.Record) bool {
	if r.Value != nil {
		return false
	}
	for _, h := range r.Headers {
		if h.Key == schemas.TickHeader {
			return true
		}
	}
	return false
}

// stampGuard sees to it that all records of a topic carry one timestamp type
// (K3). It is shared by the partitions that are read together.
type stampGuard struct {
	topic string
	seen  atomic.Int32 // timestamp type + 2; 0 = none seen yet
}

func newStampGuard(topic, expected string) *stampGuard {
	g := &stampGuard{topic: topic}
	switch expected {
	case CreateTime:
		g.seen.Store(0 + 2)
	case LogAppendTime:
		g.seen.Store(1 + 2)
	}
	return g
}

func (g *stampGuard) check(r *kgo.Record) error {
	if r.Attrs.IsControl() {
		return nil // stamped by the coordinator, and not part of the clock
	}
	is := int32(r.Attrs.TimestampType()) + 2
	was := g.seen.Load()
	if was == 0 {
		if g.seen.CompareAndSwap(0, is) {
			return nil
		}
		was = g.seen.Load()
	}
	if was == is {
		return nil
	}
	return &TimestampTypeError{Topic: g.topic, Partition: r.Partition, Offset: r.Offset, Was: stampName(was), Is: stampName(is)}
}

func stampName(seen int32) string {
	switch seen {
	case 2:
		return CreateTime
	case 3:
		return LogAppendTime
	}
	return "none"
}
