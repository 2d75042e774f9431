package log

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tallystick/tallystick/store/dial"
)

// adoptHint names the command that starts a new fold on a log that no longer
// continues the old one.
const adoptHint = "take a new cut with `tallystick cut` and begin where the log begins with `tallystick replay --adopt-start`"

// UnreachableError says that no broker answered within a bounded time.
type UnreachableError struct {
	Brokers []string
	TLS     bool // was spoken
	Waited  time.Duration
	Err     error
}

func (e *UnreachableError) Error() string {
	reason, hint := dial.Reason(e.Err), "check --brokers"
	switch {
	case dial.IsTLS(e.Err):
		hint = "check --kafka-tls, --kafka-ca and --kafka-cert"
	case errors.Is(e.Err, kerr.IllegalSaslState):
		reason, hint = errors.New("it asks for no SASL there"), "leave --kafka-sasl out, or check --brokers"
	case errors.Is(e.Err, kerr.UnsupportedSaslMechanism):
		reason, hint = errors.New("it does not take this SASL mechanism"), "check --kafka-sasl"
	case isLogin(e.Err):
		reason, hint = errors.New("it does not accept this user and password"), "check --kafka-sasl, --kafka-user and the password"
	case !e.TLS && strings.Contains(e.Err.Error(), "tls alert record"): // kgo's guess has no type
		reason, hint = errors.New("it speaks TLS, and this client does not"), "check --kafka-tls"
	case errors.Is(e.Err, io.EOF):
		reason, hint = errors.New("it closes the connection at once, as a broker does that expects TLS, SASL or another password"), "check --kafka-tls and --kafka-sasl"
	case e.TLS:
		hint = "check --brokers, and whether it speaks TLS there"
	}
	return fmt.Sprintf("cannot reach Kafka at %s: %v; %s", strings.Join(e.Brokers, ","), reason, hint)
}

// isLogin tells whether a broker turned down who this client says it is. What a
// broker answers is its own text, so it is not repeated.
func isLogin(err error) bool {
	return errors.Is(err, kerr.SaslAuthenticationFailed)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// MissingTopicError says that a topic does not exist, or that this client may
// not know of it.
type MissingTopicError struct {
	Topic string
	// Similar holds the existing names nearest to Topic, best first.
	Similar []string
}

func (e *MissingTopicError) Error() string {
	s := fmt.Sprintf("topic %s does not exist; ", e.Topic)
	if len(e.Similar) > 0 {
		return s + "did you mean " + strings.Join(e.Similar, " or ") + "?"
	}
	return s + "create it, or correct the `topic` of its source"
}

// MissingPartitionError says that a topic has no such partition.
type MissingPartitionError struct {
	Topic     string
	Partition int32
	Have      int // partitions that the topic has
}

func (e *MissingPartitionError) Error() string {
	return fmt.Sprintf("topic %s has no partition %d; it has %d", e.Topic, e.Partition, e.Have)
}

// UnauthorisedError says that the broker refused an operation.
type UnauthorisedError struct {
	What string // the resource, such as "topic orders"
	Need string // the ACL operation that is missing
	Err  error
}

func (e *UnauthorisedError) Error() string {
	return fmt.Sprintf("not allowed to access %s: %v; grant this client %s on it", e.What, e.Err, e.Need)
}

func (e *UnauthorisedError) Unwrap() error { return e.Err }

// TruncatedError says that the log now starts above an offset that is needed:
// retention or DeleteRecords removed offsets [Needed, Have).
type TruncatedError struct {
	Topic     string
	Partition int32
	Needed    int64 // the first offset needed
	Have      int64 // the first offset still there
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("topic %s partition %d: offsets %d to %d are lost, the log now starts at %d; "+
		"%s",
		e.Topic, e.Partition, e.Needed, e.Have-1, e.Have, adoptHint)
}

// ShrunkError says that the log ends below an offset that it once reached:
// acknowledged records were lost (an unclean leader election), or the cut is
// of another cluster.
type ShrunkError struct {
	Topic     string
	Partition int32
	Needed    int64 // the end that was promised, exclusive
	Have      int64 // the last stable offset that the broker reports now
}

func (e *ShrunkError) Error() string {
	return fmt.Sprintf("topic %s partition %d: the log ends at offset %d and is to be read up to offset %d: "+
		"records were lost (unclean leader election?), or that end is of another cluster or topic; %s",
		e.Topic, e.Partition, e.Have, e.Needed, adoptHint)
}

// RecreatedError says that the topic of this name is not the one that was read
// before: its offsets mean nothing in the new one.
type RecreatedError struct {
	Topic    string
	Expected string // topic ID
	Have     string // topic ID
}

func (e *RecreatedError) Error() string {
	return fmt.Sprintf("topic %s was deleted and created again, or is read from another cluster (its id was %s and is %s): "+
		"all positions and unread records of the old topic are lost; %s",
		e.Topic, e.Expected, e.Have, adoptHint)
}

// FewerPartitionsError says that a topic lacks partitions that it once had.
type FewerPartitionsError struct {
	Topic   string
	Missing []int32
	Have    int
}

func (e *FewerPartitionsError) Error() string {
	return fmt.Sprintf("topic %s has %d partitions and lacks %v, which were read before (perhaps in another cluster): their records are lost; %s",
		e.Topic, e.Have, e.Missing, adoptHint)
}

// GroupError says why a consumer group cannot be joined. Waiting does not help.
type GroupError struct {
	Group  string
	Reason string
	Err    error
}

func (e *GroupError) Error() string {
	return fmt.Sprintf("consumer group %s cannot be joined: %s", e.Group, e.Reason)
}

func (e *GroupError) Unwrap() error { return e.Err }

// TimestampTypeError says that the kind of timestamp changed within the log,
// so that the log clock would mean two things.
type TimestampTypeError struct {
	Topic     string
	Partition int32
	Offset    int64
	Was, Is   string // "CreateTime", "LogAppendTime" or "none"
}

func (e *TimestampTypeError) Error() string {
	return fmt.Sprintf("topic %s partition %d offset %d: the timestamp type changes from %s to %s here, "+
		"and with it the meaning of the log clock; set message.timestamp.type back to %s, "+
		"or keep the records of one type only",
		e.Topic, e.Partition, e.Offset, e.Was, e.Is, e.Was)
}

// SourceError says why a topic cannot be an event source.
type SourceError struct {
	Topic  string
	Table  bool // it was to be a table, else a source of events
	Reason string
}

func (e *SourceError) Error() string {
	as := "an event source"
	if e.Table {
		as = "a table"
	}
	return fmt.Sprintf("topic %s cannot be %s: %s", e.Topic, as, e.Reason)
}

// StalledError says that a bounded read made no progress for too long. Trying
// again later may succeed.
type StalledError struct {
	Topic     string
	Partition int32
	Offset    int64
	Waited    time.Duration
	Err       error
}

func (e *StalledError) Error() string {
	return fmt.Sprintf("topic %s partition %d: no progress at offset %d for %s: %v",
		e.Topic, e.Partition, e.Offset, e.Waited.Round(time.Millisecond), e.Err)
}

func (e *StalledError) Unwrap() error { return e.Err }

// CorruptError says that the bytes at a position are not what Kafka's format
// demands: a checksum or a codec that fails.
type CorruptError struct {
	Topic     string
	Partition int32
	Offset    int64
	Err       error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("topic %s partition %d: cannot read the records at offset %d: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// isAuth tells whether the broker refused for want of permission.
func isAuth(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// topicErr gives err of the named topic its type, or wraps it.
func topicErr(topic, need string, err error) error {
	switch {
	case err == nil:
		return nil
	case isAuth(err):
		return &UnauthorisedError{What: "topic " + topic, Need: need, Err: err}
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return &MissingTopicError{Topic: topic}
	}
	return fmt.Errorf("topic %s: %w", topic, err)
}
