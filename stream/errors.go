package stream

import (
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Commands that heal, as messages name them.
const (
	rebuildHint = "`tallystick stream --rebuild` folds it anew from the log's start"
	dropHint    = "remove the view's states with `tallystick drop`, then `tallystick stream` folds it anew"
	adoptHint   = "the states cannot be continued: remove them with `tallystick drop`, then `tallystick stream` folds the view anew from a log that begins at offset 0"
)

// restoreHint heals where the log no longer reaches back; rebuild: there are live
// markers.
func restoreHint(rebuild bool) string {
	flag := ""
	if rebuild {
		flag = "--rebuild "
	}
	return fmt.Sprintf("restore the states from the tables of `tallystick replay --out DIR` with `tallystick stream %s--from-tables DIR`; where the tables end before the log starts, let replay write them anew first, with --adopt-start", flag)
}

// MissingMarkerError says that a (shard, partition) has no marker and that
// nothing allows folding it anew (O2).
type MissingMarkerError struct {
	Shard     int
	Partition int32
	Start     int64  // where the log starts
	Beside    bool   // others of the partition are live, and Options.Rebuild is not set
	Origin    string // what it could be restored from; "" = the log
}

func (e *MissingMarkerError) Error() string {
	at := fmt.Sprintf("partition %d shard %d has no marker", e.Partition, e.Shard)
	switch {
	case e.Origin != "":
		return fmt.Sprintf("%s, while other shards do: the store lost it (a failover to an empty replica?); `tallystick stream --rebuild --from-tables DIR` restores it", at)
	case e.Start > 0:
		return fmt.Sprintf("%s, and the log starts at offset %d: offsets 0 to %d are lost to the online store; %s", at, e.Start, e.Start-1, restoreHint(e.Beside))
	}
	return fmt.Sprintf("%s, while other shards do: the store lost it (a failover to an empty replica?); %s", at, rebuildHint)
}

// OriginError says that a partition cannot be restored from an origin (O2, K3).
type OriginError struct {
	Partition int32
	Origin    string
	Reason    string // with what to do
}

func (e *OriginError) Error() string {
	return fmt.Sprintf("partition %d cannot be restored from %s: %s", e.Partition, e.Origin, e.Reason)
}

// TopicChangedError says that the topic is not the one that the markers speak of (K3).
type TopicChangedError struct {
	Partition int32
	Was, Is   string // topic ids
}

func (e *TopicChangedError) Error() string {
	return fmt.Sprintf("partition %d: the markers speak of topic id %s, the topic's is %s: it was deleted and created again (or the definition had another topic), and what was not yet read of the old one is lost; %s",
		e.Partition, e.Was, e.Is, adoptHint)
}

// CutTopicError says that the cut to stop at is of another topic than the one
// that has its name now (K3).
type CutTopicError struct {
	Was, Is string // topic ids
}

func (e *CutTopicError) Error() string {
	return fmt.Sprintf("the cut is of topic id %s, the topic's is %s: it was deleted and created again; take a new cut with `tallystick cut`", e.Was, e.Is)
}

// TruncatedError says that the log starts above a marker: records were removed
// before they were read (K3).
type TruncatedError struct {
	Partition    int32
	Needed, Have int64
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("partition %d: offsets %d to %d are lost, the log now starts at %d; %s", e.Partition, e.Needed, e.Have-1, e.Have, restoreHint(true))
}

// ShrunkError says that the log ends below a marker: it lost acknowledged
// records (K3).
type ShrunkError struct {
	Partition    int32
	Needed, Have int64
}

func (e *ShrunkError) Error() string {
	return fmt.Sprintf("partition %d: the log ends at %d, but the online store holds what it had up to %d: records were lost (unclean leader election?) or this is another cluster; %s",
		e.Partition, e.Have, e.Needed, adoptHint)
}

// FewerPartitionsError says that the topic lacks partitions that were folded (K3).
type FewerPartitionsError struct {
	Missing []int32
	Have    int
}

func (e *FewerPartitionsError) Error() string {
	return fmt.Sprintf("the topic has %d partitions and lacks %v, which are in the online store: their records are lost; %s", e.Have, e.Missing, adoptHint)
}

// MissingPartitionError says that the topic has no partition asked for.
type MissingPartitionError struct {
	Partition int32
	Have      int
}

func (e *MissingPartitionError) Error() string {
	return fmt.Sprintf("the topic has no partition %d; it has %d", e.Partition, e.Have)
}

// ClockError says that reading up to a marker gave another clock than it
// recorded: the log, the source's history offsets or the store have changed.
type ClockError struct {
	Shard     int
	Partition int32
	Offset    int64
	Recorded  schemas.Micros
	Read      schemas.Micros
}

func (e *ClockError) Error() string {
	return fmt.Sprintf("partition %d shard %d: at offset %d the marker recorded log clock %v, but the log gives %v: the log or the source's `history` changed, or the store is damaged; %s",
		e.Partition, e.Shard, e.Offset, e.Recorded, e.Read, dropHint)
}

// PastCutError says that a marker already stands beyond the cut that the stream
// should stop at.
type PastCutError struct {
	Shard     int
	Partition int32
	Next, End int64
}

func (e *PastCutError) Error() string {
	return fmt.Sprintf("partition %d shard %d stands at offset %d, beyond the cut's end %d: take a newer cut with `tallystick cut`", e.Partition, e.Shard, e.Next, e.End)
}

// CorruptStateError says that a stored state cannot be the fold of a prefix.
type CorruptStateError struct {
	Key       marker.Key
	Partition int32
	Err       error
}

func (e *CorruptStateError) Error() string {
	return fmt.Sprintf("partition %d shard %d entity %x: %v; %s", e.Partition, e.Key.Shard, e.Key.Entity, e.Err, dropHint)
}

func (e *CorruptStateError) Unwrap() error { return e.Err }

// StandByError says that another worker keeps writing a partition of this one.
type StandByError struct {
	Partition int32
	Times     int
}

func (e *StandByError) Error() string {
	return fmt.Sprintf("partition %d: two writes in a row were lost to another worker's, %d times: does another stream of this view run outside of the group?", e.Partition, e.Times)
}

// HeldError says that the guard holds a bounded run back: what it has read is not
// all visible, and the next run reads the rest again (B6).
type HeldError struct {
	Partition int32
	Written   int64 // the offset below which all is in the store
	Why       string
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("partition %d is held at offset %d: %s", e.Partition, e.Written, e.Why)
}
