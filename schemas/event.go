package schemas

import "fmt"

// TickHeader is the header key of a tick: a record that carries no event and
// only moves the log clock on (K7). A tick has this header and a null value.
const TickHeader = "tallystick-tick"

// Record is one Kafka record as read, in read_committed order, control and
// aborted records left out.
type Record struct {
	Partition int32
	Offset    int64
	// Timestamp is the record's Kafka timestamp m in ms, as m*1000+999 µs.
	Timestamp Micros
	Tick      bool
	Key       []byte
	Value     []byte // nil = null
}

// KafkaMillis returns the Micros that stand for a Kafka timestamp of m milliseconds.
func KafkaMillis(m int64) Micros { return Micros(m).mulSat(1000).AddSat(999) }

func (m Micros) mulSat(k Micros) Micros {
	p := m * k
	if m != 0 && p/m != k {
		if m < 0 {
			return Never
		}
		return Forever
	}
	return p
}

// Stage names the step of reading at which a record was found invalid, in the
// order of V6.
type Stage string

// The stages, in the order in which they are tested.
const (
	StageDecode    Stage = "decode"
	StageMigrate   Stage = "migrate"
	StageEventTime Stage = "event time"
	StageKey       Stage = "key"
	StageExpect    Stage = "expectation"
	StageInput     Stage = "input"
)

// Fault says why a record is invalid (V6).
type Fault struct {
	Stage  Stage
	Reason string
	// Unknown is the id of the writer schema where that is what nobody knows, yet;
	// nil of any other fault.
	Unknown *int
}

func (f *Fault) Error() string { return fmt.Sprintf("%s: %s", f.Stage, f.Reason) }

// Event is a record decoded, projected to the fields in use and stamped with
// its clock. An Event is reused from record to record; its text aliases the
// record's bytes.
type Event struct {
	Partition int32
	Offset    int64
	Timestamp Micros // the record's, see Record
	Clock     Micros // the log clock at the record
	EventTime Micros // meaningless with a Fault at or before StageEventTime
	Fault     *Fault // decode, migrate or event time; nil = none
	Fields    []Value
	// Of a table (K6): the fields of the record's key, and that its value is null,
	// so that the entity has none from then on.
	Key       []Value
	Tombstone bool
}

// Position names one record of a topic.
type Position struct {
	TopicID   string `json:"topic_id"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (p Position) String() string {
	return fmt.Sprintf("partition %d offset %d", p.Partition, p.Offset)
}
