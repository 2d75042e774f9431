package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/schemas"
)

// Message is a record to be produced.
type Message struct {
	Key, Value []byte // nil = null
	Headers    []Header
	Timestamp  time.Time // zero = now
}

// Header is one header of a Message.
type Header struct {
	Key   string
	Value []byte
}

// Produce appends messages to one partition, in order, and returns their
// offsets once all in-sync replicas hold them (acks=all). On an error some may
// have been appended: their offsets are returned, -1 for the others. A repeated
// call may therefore append copies; readers go by what a message names.
func (c *Client) Produce(ctx context.Context, topic string, partition int32, ms ...Message) ([]int64, error) {
	rs := make([]*kgo.Record, len(ms))
	for i, m := range ms {
		rs[i] = &kgo.Record{Topic: topic, Partition: partition, Key: m.Key, Value: m.Value, Timestamp: m.Timestamp}
		for _, h := range m.Headers {
			rs[i].Headers = append(rs[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	err := c.produce(ctx, rs)
	offsets := make([]int64, len(rs))
	for i, r := range rs {
		offsets[i] = r.Offset
	}
	return offsets, err
}

// produce appends records and waits for all of them. Records that fail have
// offset -1; the first failure is returned.
func (c *Client) produce(ctx context.Context, rs []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.RetryFor)
	defer cancel()
	var first error
	for _, res := range c.kc.ProduceSync(ctx, rs...) {
		if res.Err == nil {
			continue
		}
		res.Record.Offset = -1
		if errors.Is(res.Err, kerr.UnknownTopicID) || errors.Is(res.Err, kerr.UnknownTopicOrPartition) {
			// The producer pins the topic's ID; let the next call find a new one.
			c.kc.PurgeTopicsFromProducing(res.Record.Topic)
		}
		if first == nil {
			first = fmt.Errorf("produce to partition %d: %w", res.Record.Partition, topicErr(res.Record.Topic, "Write", res.Err))
		}
	}
	return first
}

// Tick appends one tick to each of the partitions, or to all where none is
// given, and returns where they stand (K7). With CreateTime a tick carries this
// machine's clock. A compacted topic takes no record without a key.
func (c *Client) Tick(ctx context.Context, topic string, partitions ...int32) ([]schemas.Position, error) {
	t, err := c.Describe(ctx, topic)
	if err != nil {
		return nil, err
	}
	if len(partitions) == 0 {
		partitions = t.Partitions
	}
	for _, p := range partitions { // all or none: a tick cannot be taken back
		if !slices.Contains(t.Partitions, p) {
			return nil, &MissingPartitionError{Topic: topic, Partition: p, Have: len(t.Partitions)}
		}
	}
	rs := make([]*kgo.Record, len(partitions))
	for i, p := range partitions {
		rs[i] = &kgo.Record{Topic: topic, Partition: p, Headers: []kgo.RecordHeader{{Key: schemas.TickHeader}}}
		if t.Compacted() {
			rs[i].Key = []byte(schemas.TickHeader)
		}
	}
	err = c.produce(ctx, rs)
	var at []schemas.Position
	for _, r := range rs {
		if r.Offset >= 0 {
			at = append(at, schemas.Position{TopicID: t.ID, Partition: r.Partition, Offset: r.Offset})
		}
	}
	return at, err
}

// EnsureTopic creates the topic with the brokers' default replication unless it
// exists, and waits until its partitions have leaders. An existing topic keeps
// its configuration; one with another number of partitions is an error.
func (c *Client) EnsureTopic(ctx context.Context, topic string, partitions int32, configs map[string]string) error {
	switch m, err := c.lookup(ctx, Ref{Name: topic}); { // who may not create it may use it
	case err == nil && m.ready():
		return m.has(topic, partitions)
	case err != nil && !isType[*MissingTopicError](err):
		return err
	}
	ptrs := make(map[string]*string, len(configs))
	for k, v := range configs {
		ptrs[k] = kadm.StringPtr(v)
	}
	resp, err := c.adm.CreateTopic(ctx, partitions, -1, ptrs, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		if resp.ErrMessage != "" {
			err = fmt.Errorf("%w (%s)", err, resp.ErrMessage)
		}
		if isAuth(err) {
			return topicErr(topic, "Create", err)
		}
		return fmt.Errorf("create %w", topicErr(topic, "Create", err))
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.RetryFor)
	defer cancel()
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		m, err := c.lookup(ctx, Ref{Name: topic})
		switch {
		case err == nil && m.ready():
			return m.has(topic, partitions)
		case err == nil:
			err = kerr.LeaderNotAvailable
		case !isType[*MissingTopicError](err):
			return err
		}
		if sleep(ctx, backoff) != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
}

// has refuses another number of partitions.
func (m *meta) has(topic string, partitions int32) error {
	if len(m.parts) != int(partitions) {
		return fmt.Errorf("topic %s exists with %d partitions, not %d", topic, len(m.parts), partitions)
	}
	return nil
}

// ready tells whether every partition has a leader.
func (m *meta) ready() bool {
	for _, l := range m.parts {
		if l.node < 0 {
			return false
		}
	}
	return len(m.parts) > 0
}
