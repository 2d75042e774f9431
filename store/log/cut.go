package log

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tallystick/tallystick/schemas"
)

// Cut fixes how far each partition of the topics is read: from the log's start
// to the last stable offset (K1, K2). Clocks are left nil: only a reader of
// the records knows them.
func (c *Client) Cut(ctx context.Context, topics ...string) (*schemas.Cut, error) {
	cut := &schemas.Cut{Topics: make(map[string]schemas.TopicCut, len(topics))}
	for _, name := range topics {
		tc, err := c.topicCut(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("cut: %w", err)
		}
		cut.Topics[name] = tc
	}
	if err := cut.Validate(); err != nil {
		return nil, fmt.Errorf("cut: %w", err)
	}
	return cut, nil
}

func (c *Client) topicCut(ctx context.Context, name string) (schemas.TopicCut, error) {
	t, err := c.Describe(ctx, name)
	if err != nil {
		return schemas.TopicCut{}, err
	}
	starts, ends, err := c.bounds(ctx, name)
	if err != nil {
		return schemas.TopicCut{}, err
	}
	// Offsets are listed by name: had the topic been recreated in between, they
	// would be of the new one.
	if _, err := c.lookup(ctx, Ref{Name: name, ID: t.ID}); err != nil {
		return schemas.TopicCut{}, err
	}
	tc := schemas.TopicCut{TopicID: t.ID, TimestampType: t.TimestampType, Partitions: map[int32]schemas.PartitionCut{}}
	for _, p := range t.Partitions {
		start, ok := starts[p]
		end, ok2 := ends[p]
		if !ok || !ok2 {
			return schemas.TopicCut{}, &MissingPartitionError{Topic: name, Partition: p, Have: len(ends)}
		}
		// DeleteRecords may have passed an open transaction's first offset.
		tc.Partitions[p] = schemas.PartitionCut{Start: start, End: max(start, end)}
	}
	return tc, nil
}

// MarkIdle notes in a topic's cut the partitions of which nothing lies beyond the
// cut's end, not even an open transaction (K2, K7). now is the wall clock before
// the call, in µs.
func (c *Client) MarkIdle(ctx context.Context, name string, tc schemas.TopicCut, now schemas.Micros) error {
	ls, err := c.adm.ListEndOffsets(ctx, name)
	ends, err := c.listed(ctx, name, ls, err)
	if err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	for p, pc := range tc.Partitions {
		if end, ok := ends[p]; ok && end == pc.End {
			pc.Idle = &now
			tc.Partitions[p] = pc
		}
	}
	return nil
}

// bounds returns each partition's first offset and last stable offset. The
// first are asked for first, so that retention in between leaves a range.
func (c *Client) bounds(ctx context.Context, topic string) (starts, ends map[int32]int64, err error) {
	if starts, err = c.list(ctx, topic, c.adm.ListStartOffsets); err != nil {
		return nil, nil, err
	}
	if ends, err = c.list(ctx, topic, c.adm.ListCommittedOffsets); err != nil {
		return nil, nil, err
	}
	return starts, ends, nil
}

// list asks for offsets until it gets them, or an error that does not pass: after an
// election a leader does not know for a while how far its log is stable.
func (c *Client) list(ctx context.Context, topic string, ask func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[int32]int64, error) {
	limit, cancel := context.WithTimeout(ctx, c.o.RetryFor)
	defer cancel()
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		ls, err := ask(ctx, topic)
		offsets, err := c.listed(ctx, topic, ls, err)
		if err == nil || !kerr.IsRetriable(err) || sleep(limit, backoff) != nil {
			return offsets, err
		}
	}
}

// listed unwraps an offset listing; one partition without an answer is an error.
func (c *Client) listed(ctx context.Context, topic string, ls kadm.ListedOffsets, err error) (map[int32]int64, error) {
	const what = "list offsets"
	if err != nil {
		if isAuth(err) {
			return nil, topicErr(topic, "Describe", err)
		}
		return nil, c.callErr(ctx, what+" of topic "+topic, err)
	}
	offsets := make(map[int32]int64, len(ls[topic]))
	for p, l := range ls[topic] {
		switch {
		case l.Err == nil:
			offsets[p] = l.Offset
		case p < 0 || isAuth(l.Err) || errors.Is(l.Err, kerr.UnknownTopicOrPartition):
			return nil, topicErr(topic, "Describe", l.Err)
		default:
			return nil, fmt.Errorf("topic %s partition %d: %s: %w", topic, p, what, l.Err)
		}
	}
	return offsets, nil
}

// OffsetsAfter returns per partition the first offset whose record's Kafka
// timestamp is at or after t, the log's end where there is none. It is a hint
// for where to start, never for where to end (K5): later offsets may hold
// earlier timestamps.
func (c *Client) OffsetsAfter(ctx context.Context, topic string, t schemas.Micros) (map[int32]int64, error) {
	// A record of ms m counts as m*1000+999 ≥ t exactly when m ≥ ⌊t/1000⌋.
	ms := int64(t.Floor(1000)) / 1000
	ls, err := c.adm.ListOffsetsAfterMilli(ctx, max(ms, 0), topic)
	return c.listed(ctx, topic, ls, err)
}

// CheckCut holds a topic's cut against the log as it is now, so that a cut which
// cannot be read up to its end is refused before it is read: *ShrunkError where
// it ends beyond the last stable offset, and CheckIdentity's errors.
func (c *Client) CheckCut(ctx context.Context, name string, tc schemas.TopicCut) error {
	if _, err := c.CheckIdentity(ctx, name, tc); err != nil {
		return err
	}
	starts, ends, err := c.bounds(ctx, name)
	if err != nil {
		return err
	}
	for _, p := range tc.PartitionIDs() {
		// DeleteRecords may have passed an open transaction's first offset.
		if have := max(starts[p], ends[p]); tc.Partitions[p].End > have {
			return &ShrunkError{Topic: name, Partition: p, Needed: tc.Partitions[p].End, Have: have}
		}
	}
	return nil
}

// CheckIdentity holds the topic against one seen before: *RecreatedError,
// *FewerPartitionsError. It returns the partitions that have been added since,
// ascending, which are to be adopted from offset 0 and noted (K3).
func (c *Client) CheckIdentity(ctx context.Context, name string, tc schemas.TopicCut) (added []int32, err error) {
	m, err := c.lookup(ctx, Ref{Name: name, ID: tc.TopicID})
	if err != nil {
		return nil, err
	}
	var missing []int32
	for _, p := range tc.PartitionIDs() {
		if _, ok := m.parts[p]; !ok {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return nil, &FewerPartitionsError{Topic: name, Missing: missing, Have: len(m.parts)}
	}
	for p := range m.parts {
		if _, ok := tc.Partitions[p]; !ok {
			added = append(added, p)
		}
	}
	slices.Sort(added)
	return added, nil
}
