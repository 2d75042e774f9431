// Package wire fits the Kafka adapter to the stream's ports. It belongs to cmd:
// neither side may import the other.
package wire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Source reads a topic through a log.Tailer. It is a stream.Source.
type Source struct {
	Client *log.Client
	Tailer *log.Tailer
	Topic  string
}

// NewSource follows a topic, with nothing assigned yet. Close ends it.
func NewSource(ctx context.Context, client *log.Client, topic, timestampType string) (*Source, error) {
	t, err := client.Tail(ctx, log.Ref{Name: topic}, timestampType)
	if err != nil {
		return nil, err
	}
	return &Source{client, t, topic}, nil
}

// Close ends the tailer.
func (s *Source) Close() { s.Tailer.Close() }

// Cut tells where the log starts and is stable now.
func (s *Source) Cut(ctx context.Context) (schemas.TopicCut, error) {
	c, err := s.Client.Cut(ctx, s.Topic)
	if err != nil {
		return schemas.TopicCut{}, passing(err)
	}
	tc := c.Topics[s.Topic]
	if id := s.Tailer.TopicID(); tc.TopicID != id {
		return tc, &log.RecreatedError{Topic: s.Topic, Expected: id, Have: tc.TopicID}
	}
	return tc, nil
}

// Assign reads partitions from the given offsets. One that Cut has told of may be
// missing for a moment, where another broker answers.
func (s *Source) Assign(ctx context.Context, at map[int32]int64) error {
	err := s.Tailer.Assign(ctx, at)
	if _, ok := errors.AsType[*log.MissingPartitionError](err); ok {
		return fmt.Errorf("%w: %w", marker.ErrUnavailable, err)
	}
	return passing(err)
}

// Remove gives up partitions.
func (s *Source) Remove(ps ...int32) { s.Tailer.Remove(ps...) }

// Poll waits for records.
func (s *Source) Poll(ctx context.Context, wait time.Duration) ([]stream.Batch, error) {
	bs, err := s.Tailer.Poll(ctx, wait)
	out := make([]stream.Batch, len(bs))
	for i, b := range bs {
		out[i] = stream.Batch(b)
	}
	return out, err
}

// passing marks what a later call may not meet again.
func passing(err error) error {
	if _, ok := errors.AsType[*log.UnreachableError](err); ok || kerr.IsRetriable(err) {
		return fmt.Errorf("%w: %w", marker.ErrUnavailable, err)
	}
	return err
}

// Quarantine appends what is not counted to a topic (V8). A message's key is the
// record's position, `topic id/partition/offset`, so that copies made after a
// crash are told as such, by compaction too; its value is the record's; the rest
// stands in headers. It is a stream.Quarantine.
type Quarantine struct {
	Client     *log.Client
	Topic      string // exists
	Partitions int32  // that it has
	View       string
}

// Headers of a quarantined record. Times are decimal µs.
const (
	HeaderView      = "tallystick-view"
	HeaderOutcome   = "tallystick-outcome"
	HeaderStage     = "tallystick-stage" // invalid records only
	HeaderReason    = "tallystick-reason"
	HeaderTimestamp = "tallystick-timestamp"
	HeaderClock     = "tallystick-clock"
	HeaderEventTime = "tallystick-event-time" // where it has one
	HeaderKey       = "tallystick-key"        // where it has one
	HeaderLeftOut   = "tallystick-left-out"   // bytes of key and value, where they are in the log only
)

// maxQuarantined is how many bytes of a record's key and value a message holds.
// Producers and topics take messages of up to 1 MB unless they are told to take
// more; a greater record stands in the log at its position.
const maxQuarantined = 900_000

// Put appends records and returns once all in-sync replicas hold them.
func (q *Quarantine) Put(ctx context.Context, qs []stream.Quarantined) error {
	byPartition := map[int32][]log.Message{}
	for i := range qs {
		p := qs[i].At.Partition % max(1, q.Partitions)
		byPartition[p] = append(byPartition[p], q.message(&qs[i]))
	}
	for p := range max(1, q.Partitions) {
		if ms := byPartition[p]; len(ms) > 0 {
			if _, err := q.Client.Produce(ctx, q.Topic, p, ms...); err != nil {
				return fmt.Errorf("quarantine: %w", err)
			}
		}
	}
	return nil
}

func (q *Quarantine) message(r *stream.Quarantined) log.Message {
	key, value := r.Key, r.Value
	left := len(key) + len(value)
	if left > maxQuarantined {
		key, value = nil, []byte{} // null would be a tombstone
	}
	m := log.Message{Key: fmt.Appendf(nil, "%s/%d/%d", r.At.TopicID, r.At.Partition, r.At.Offset), Value: value}
	add := func(key string, value []byte) { m.Headers = append(m.Headers, log.Header{Key: key, Value: value}) }
	at := func(t schemas.Micros) []byte { return strconv.AppendInt(nil, int64(t), 10) }
	add(HeaderView, []byte(q.View))
	add(HeaderOutcome, []byte(r.Outcome.String()))
	if r.Stage != "" {
		add(HeaderStage, []byte(r.Stage))
	}
	add(HeaderReason, []byte(r.Reason))
	add(HeaderTimestamp, at(r.Timestamp))
	add(HeaderClock, at(r.Clock))
	if r.EventTime != schemas.Never {
		add(HeaderEventTime, at(r.EventTime))
	}
	if key != nil {
		add(HeaderKey, key)
	}
	if left > maxQuarantined {
		add(HeaderLeftOut, strconv.AppendInt(nil, int64(left), 10))
	}
	return m
}
