package schemas

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Cut fixes, before reading, how far each partition is read (K1). It is a file
// that train, replay and stream --until accept.
type Cut struct {
	Topics map[string]TopicCut `json:"topics"`
}

// TopicCut is the part of a cut that concerns one topic.
type TopicCut struct {
	TopicID string `json:"topic_id"` // a UUID as Kafka's tools print it: 22 characters of URL-safe base64
	// TimestampType is "LogAppendTime" or "CreateTime".
	TimestampType string                 `json:"timestamp_type,omitempty"`
	Partitions    map[int32]PartitionCut `json:"partitions"`
}

// PartitionCut bounds one partition: offsets [Start, End).
type PartitionCut struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// Clock is the log clock at End, in µs; nil where it is not known yet or
	// where the partition holds no record.
	Clock *Micros `json:"clock,omitempty"`
	// Idle is the wall clock, in µs, at which the log was seen to end at End, with
	// no transaction open beyond; nil where nobody looked or more is there (K7).
	Idle *Micros `json:"idle,omitempty"`
}

// Closing returns the clock by which windows close at the cut: the log clock at
// End, or, where the log was seen to end there and after > 0, the wall clock of
// that moment minus after, if that is later (K7).
func (p PartitionCut) Closing(clock, after Micros) Micros {
	if p.Idle == nil || after <= 0 {
		return clock
	}
	return max(clock, p.Idle.SubSat(after))
}

// UnmarshalJSON refuses partitions that are not written as Save writes them: 01
// would take the place of 1.
func (t *TopicCut) UnmarshalJSON(b []byte) error {
	type plain TopicCut
	raw := struct {
		*plain
		Partitions map[string]PartitionCut `json:"partitions"`
	}{plain: (*plain)(t)}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&raw); err != nil {
		return err
	}
	t.Partitions = make(map[int32]PartitionCut, len(raw.Partitions))
	for text, p := range raw.Partitions {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || strconv.FormatInt(n, 10) != text {
			return fmt.Errorf("partition %q is no number such as 0", text)
		}
		t.Partitions[int32(n)] = p
	}
	return nil
}

// PartitionIDs returns the partitions of the topic in ascending order.
func (t TopicCut) PartitionIDs() []int32 {
	return slices.Sorted(maps.Keys(t.Partitions))
}

// Validate reports every fault of the cut at once.
func (c *Cut) Validate() error {
	var errs []error
	if len(c.Topics) == 0 {
		errs = append(errs, errors.New("it names no topic"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Topics)) {
		t := c.Topics[name]
		if t.TopicID == "" {
			errs = append(errs, fmt.Errorf("topic %s has no topic_id", name))
		} else if id, err := base64.RawURLEncoding.Strict().DecodeString(t.TopicID); err != nil || len(id) != 16 {
			errs = append(errs, fmt.Errorf("topic %s: topic_id %q is not the 22 letters, digits, - and _ of a topic's ID", name, t.TopicID))
		}
		if k := t.TimestampType; k != "" && k != "LogAppendTime" && k != "CreateTime" {
			errs = append(errs, fmt.Errorf("topic %s: timestamp_type %q is neither LogAppendTime nor CreateTime", name, k))
		}
		if len(t.Partitions) == 0 {
			errs = append(errs, fmt.Errorf("topic %s has no partitions", name))
		}
		for _, p := range t.PartitionIDs() {
			pc := t.Partitions[p]
			if p < 0 || pc.Start < 0 || pc.End < pc.Start {
				errs = append(errs, fmt.Errorf("topic %s partition %d: offsets %d to %d are not a range", name, p, pc.Start, pc.End))
			}
		}
	}
	return errors.Join(errs...)
}

// maxCutBytes bounds a cut file: a partition takes some 100 bytes.
const maxCutBytes = 64 << 20

// LoadCut reads a cut file.
func LoadCut(path string) (*Cut, error) {
	b, err := ReadFile(path, maxCutBytes)
	if err != nil {
		return nil, fmt.Errorf("cut file: %w", err)
	}
	var c Cut
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a misspelt key must not be read as one left out
	err = d.Decode(&c)
	if err == nil && d.More() {
		err = errors.New("something follows it")
	}
	if err != nil {
		return nil, fmt.Errorf("cut file %s is not a cut: %w; write one with `tallystick cut`", path, jsonFault(b, err))
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cut file %s: %w; write one with `tallystick cut`", path, err)
	}
	return &c, nil
}

// jsonFault says where a text is not the JSON that is expected.
func jsonFault(text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("it is empty")
	case errors.As(err, &syntax):
		return fmt.Errorf("from byte %d on it is not JSON", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("%s is of another type (JSON %s)", cmp.Or(kind.Field, "the whole"), kind.Value)
	}
	return err
}
