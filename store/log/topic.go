package log

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tallystick/tallystick/schemas"
)

// The timestamp types as Kafka's configuration names them.
const (
	CreateTime    = "CreateTime"
	LogAppendTime = "LogAppendTime"
)

// Unknown stands for a numeric configuration that the broker did not report.
const Unknown int64 = -2

// Unlimited is Kafka's value for a timestamp bound that bounds nothing.
const Unlimited int64 = math.MaxInt64

// Ref names a topic for reading. With an ID, a topic of the same name but
// another ID is refused (*RecreatedError).
type Ref struct {
	Name string
	ID   string // as in Topic.ID; "" accepts any
}

// Topic describes a topic as the brokers report it.
type Topic struct {
	Name string
	// ID is the topic's UUID as Kafka's own tools print it: 22 characters of
	// URL-safe base64 without padding. It is all "A" for brokers before 2.8.
	ID            string
	Partitions    []int32 // ascending
	TimestampType string  // CreateTime, LogAppendTime, or "" when not reported
	CleanupPolicy string  // "delete", "compact", "compact,delete", or "" when not reported
	RetentionMs   int64   // -1 = for ever, Unknown = not reported
	// How far a producer's timestamp may lie before or after the broker's
	// clock, in ms: Unlimited, or Unknown when not reported.
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64
	// Warnings tell what could not be found out.
	Warnings []string
}

// Describe returns the topic's identity, partitions and configuration. Errors:
// *MissingTopicError (with similar names), *UnauthorisedError.
func (c *Client) Describe(ctx context.Context, topic string) (*Topic, error) {
	m, err := c.lookup(ctx, Ref{Name: topic})
	if err != nil {
		return nil, err
	}
	t := &Topic{Name: topic, ID: m.id(), RetentionMs: Unknown, TimestampBeforeMaxMs: Unknown, TimestampAfterMaxMs: Unknown}
	for p := range m.parts {
		t.Partitions = append(t.Partitions, p)
	}
	slices.Sort(t.Partitions)
	if m.topicID == ([16]byte{}) {
		t.Warnings = append(t.Warnings, "the brokers report no topic ids (Kafka before 2.8): a topic that is deleted and created again cannot be told from the old one")
	}
	return t, c.describeConfigs(ctx, t)
}

// describeConfigs fills in the topic's configuration. A refusal is a warning:
// reading needs no DescribeConfigs permission.
func (c *Client) describeConfigs(ctx context.Context, t *Topic) error {
	rs, err := c.adm.DescribeTopicConfigs(ctx, t.Name)
	if err != nil && !isAuth(err) {
		return fmt.Errorf("topic %s: describe configuration: %w", t.Name, err)
	}
	for _, r := range rs {
		switch {
		case isAuth(r.Err):
			err = r.Err
		case r.Err != nil:
			return topicErr(t.Name, "DescribeConfigs", r.Err)
		}
		for _, kv := range r.Configs {
			t.set(kv.Key, kv.Value)
		}
	}
	if err != nil {
		t.Warnings = append(t.Warnings, fmt.Sprintf("the configuration of topic %s could not be read (%v): grant DescribeConfigs, so that compaction and timestamp bounds can be checked", t.Name, err))
	}
	return nil
}

func (t *Topic) set(key string, value *string) {
	if value == nil {
		return
	}
	n, err := strconv.ParseInt(*value, 10, 64)
	if err != nil {
		n = Unknown
	}
	switch key {
	case "message.timestamp.type":
		t.TimestampType = *value
	case "cleanup.policy":
		t.CleanupPolicy = *value
	case "retention.ms":
		t.RetentionMs = n
	case "message.timestamp.before.max.ms":
		t.TimestampBeforeMaxMs = n
	case "message.timestamp.after.max.ms":
		t.TimestampAfterMaxMs = n
	}
}

// CheckEventSource tells whether the topic may feed views of events (K6, §3): a
// *SourceError where not, and what its user should know.
func (t *Topic) CheckEventSource() (warnings []string, err error) {
	if t.Compacted() {
		return slices.Clone(t.Warnings), &SourceError{t.Name, false, "it is compacted (cleanup.policy=" + t.CleanupPolicy +
			"), so Kafka removes events from it: read a topic that keeps every event (cleanup.policy=delete), or, where of each key only the newest record matters, declare the source with `kind: table`"}
	}
	return t.checkTimestamps(false)
}

// CheckTableSource tells the same of a table. Where Kafka only deletes, what is
// gone shows in the log's start; where it does both, what compaction has left is
// deleted unseen.
func (t *Topic) CheckTableSource() (warnings []string, err error) {
	if t.Compacted() && strings.Contains(t.CleanupPolicy, "delete") {
		return slices.Clone(t.Warnings), &SourceError{t.Name, true, "its cleanup.policy is " + t.CleanupPolicy +
			", so Kafka deletes old records, also the newest one of a key that has not changed since: for a table set cleanup.policy=compact"}
	}
	return t.checkTimestamps(true)
}

// Compacted tells whether Kafka removes all but the newest record of each key.
func (t *Topic) Compacted() bool { return strings.Contains(t.CleanupPolicy, "compact") }

func (t *Topic) checkTimestamps(table bool) (warnings []string, err error) {
	warnings = slices.Clone(t.Warnings)
	if t.TimestampType == LogAppendTime {
		return warnings, nil
	}
	alter := fmt.Sprintf("kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name %s --add-config ", t.Name)
	recommend := "; LogAppendTime is recommended: " + alter + "message.timestamp.type=LogAppendTime (for a topic without records)"
	switch after := t.TimestampAfterMaxMs; {
	case after == Unknown:
		warnings = append(warnings, "topic "+t.Name+" does not report message.timestamp.after.max.ms: one record stamped in the future may close windows early"+recommend)
	case after == Unlimited:
		return warnings, &SourceError{t.Name, table, "its message.timestamp.after.max.ms is unlimited, so one record stamped in the far future would close every window; bound it: " +
			alter + "message.timestamp.after.max.ms=3600000"}
	case after > time.Hour.Milliseconds():
		warnings = append(warnings, fmt.Sprintf("topic %s accepts timestamps %s in the future (message.timestamp.after.max.ms): one such record moves the log clock that far%s",
			t.Name, time.Duration(after)*time.Millisecond, recommend))
	default:
		warnings = append(warnings, "topic "+t.Name+" has producers' timestamps (CreateTime)"+recommend)
	}
	return warnings, nil
}

// meta is what a broker's metadata tells of one topic.
type meta struct {
	topicID [16]byte
	parts   map[int32]leader
}

type leader struct {
	node  int32 // -1 = none at present
	epoch int32
}

func (m *meta) id() string { return base64.RawURLEncoding.EncodeToString(m.topicID[:]) }

// lookup asks for the topic's metadata, past all caches, and checks its ID.
// It never creates the topic.
func (c *Client) lookup(ctx context.Context, t Ref) (*meta, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(t.Name)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.kc)
	if err != nil {
		return nil, c.callErr(ctx, "metadata of topic "+t.Name, err)
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("metadata of topic %s: the broker answered for %d topics", t.Name, len(resp.Topics))
	}
	got := &resp.Topics[0]
	switch err := kerr.ErrorForCode(got.ErrorCode); {
	case err == nil:
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil, &MissingTopicError{Topic: t.Name, Similar: c.similar(ctx, t.Name)}
	default:
		return nil, topicErr(t.Name, "Describe", err)
	}
	m := &meta{topicID: got.TopicID, parts: make(map[int32]leader, len(got.Partitions))}
	for _, p := range got.Partitions {
		m.parts[p.Partition] = leader{p.Leader, p.LeaderEpoch}
	}
	if t.ID != "" && t.ID != m.id() {
		return nil, &RecreatedError{Topic: t.Name, Expected: t.ID, Have: m.id()}
	}
	return m, nil
}

// callErr gives a failed request a type where it never reached a broker.
func (c *Client) callErr(ctx context.Context, what string, err error) error {
	var ke *kerr.Error
	if ctx.Err() != nil || errors.As(err, &ke) || errors.Is(err, kgo.ErrClientClosed) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, &UnreachableError{Brokers: c.o.Brokers, Waited: c.o.RetryFor, Err: err})
}

// similar returns up to three existing topic names near to name. It is a hint:
// failures give none.
func (c *Client) similar(ctx context.Context, name string) []string {
	req := kmsg.NewPtrMetadataRequest() // no topics: all of them
	resp, err := req.RequestWith(ctx, c.kc)
	if err != nil {
		return nil
	}
	var names []string
	for _, t := range resp.Topics {
		if t.Topic != nil && !t.IsInternal && t.ErrorCode == 0 && !strings.HasPrefix(*t.Topic, name+".") { // such as its quarantine
			names = append(names, *t.Topic)
		}
	}
	return schemas.Similar(name, names)
}
