package batch

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// books are ledgers by shard and by day.
type books struct {
	ledgers map[ShardPartition]*transforms.Ledger
	newest  map[ShardPartition]schemas.Micros
	days    map[PartitionDay]*transforms.Ledger
	loads   map[int32]*transforms.Ledger // of the records below history
	history map[int32]int64
	// The entries of the last record: the next one is mostly of the same.
	shard ofShard
	day   ofDay
	// last is what folded noted last, unless it has noted nothing, and lastNewest what
	// newest says of it.
	noted      bool
	last       ShardPartition
	lastNewest schemas.Micros
}

type ofShard struct {
	ShardPartition
	*transforms.Ledger
}

type ofDay struct {
	PartitionDay
	*transforms.Ledger
}

func newBooks(history map[int32]int64) *books {
	return &books{ledgers: map[ShardPartition]*transforms.Ledger{}, newest: map[ShardPartition]schemas.Micros{}, days: map[PartitionDay]*transforms.Ledger{},
		loads: map[int32]*transforms.Ledger{}, history: history}
}

// book enters a verdict; the event that it replaced moves on its own day.
func (b *books) book(shard int, in *transforms.Input, v *transforms.Verdict) {
	if k := (ShardPartition{shard, in.Partition}); b.shard.Ledger == nil || b.shard.ShardPartition != k {
		b.shard = ofShard{k, at(b.ledgers, k)}
	}
	b.shard.Add(v)
	if in.Offset < b.history[in.Partition] {
		at(b.loads, in.Partition).Add(v)
	}
	day := NoDay
	if in.EventTime != schemas.Never {
		day = in.EventTime.Days()
	}
	own := *v
	own.Replaced = false
	if k := (PartitionDay{in.Partition, day}); b.day.Ledger == nil || b.day.PartitionDay != k {
		b.day = ofDay{k, at(b.days, k)}
	}
	b.day.Add(&own)
	if v.Replaced {
		l := at(b.days, PartitionDay{in.Partition, v.ReplacedEventTime.Days()})
		*l.Count(v.ReplacedOutcome)--
		l.Superseded++
	}
}

// folded notes the event time of a record that got as far as the fold.
func (b *books) folded(k ShardPartition, eventTime schemas.Micros) {
	if b.noted && b.last == k && eventTime <= b.lastNewest {
		return
	}
	t, ok := b.newest[k]
	if !ok || eventTime > t {
		b.newest[k], t = eventTime, eventTime
	}
	b.noted, b.last, b.lastNewest = true, k, t
}

func at[K comparable](m map[K]*transforms.Ledger, k K) *transforms.Ledger {
	if m[k] == nil {
		m[k] = &transforms.Ledger{}
	}
	return m[k]
}

func (b *books) merge(o *books) {
	for k, l := range o.ledgers {
		at(b.ledgers, k).Merge(l)
	}
	for k, t := range o.newest {
		b.folded(k, t)
	}
	for k, l := range o.days {
		at(b.days, k).Merge(l)
	}
	for k, l := range o.loads {
		at(b.loads, k).Merge(l)
	}
}

// checkLoads looks at the loads of old events that the cut holds whole (K7).
func (b *books) checkLoads(cut schemas.TopicCut) error {
	var errs []error
	for _, p := range slices.Sorted(maps.Keys(b.loads)) {
		if cut.Partitions[p].End >= b.history[p] {
			errs = append(errs, b.loads[p].CheckLoad(p))
		}
	}
	return errors.Join(errs...)
}

// ShardPartition names one part of the online store.
type ShardPartition struct {
	Shard     int
	Partition int32
}

func (a ShardPartition) compare(b ShardPartition) int {
	return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Partition, b.Partition))
}

// PartitionDay names one UTC day of event time in one partition.
type PartitionDay struct {
	Partition int32
	Day       int64 // days since the epoch
}

func (a PartitionDay) compare(b PartitionDay) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Day, b.Day))
}

// NoDay is the day of records that have no event time.
const NoDay = int64(-1) << 62

// booksRecord is what units record of books, in a fixed order.
type booksRecord struct {
	Shards []shardRecord `json:"shards,omitempty"`
	Days   []dayRecord   `json:"days,omitempty"`
	Loads  []dayRecord   `json:"loads,omitempty"`
}

type shardRecord struct {
	Shard     int                `json:"s"`
	Partition int32              `json:"p"`
	Ledger    *transforms.Ledger `json:"ledger,omitempty"`
	Newest    *schemas.Micros    `json:"newest,omitempty"`
}

type dayRecord struct {
	Partition int32             `json:"p"`
	Day       int64             `json:"day"`
	Ledger    transforms.Ledger `json:"ledger"`
}

func (b *books) record() (r booksRecord) {
	keys := map[ShardPartition]bool{}
	for k := range b.ledgers {
		keys[k] = true
	}
	for k := range b.newest {
		keys[k] = true
	}
	for _, k := range slices.SortedFunc(maps.Keys(keys), ShardPartition.compare) {
		s := shardRecord{Shard: k.Shard, Partition: k.Partition, Ledger: b.ledgers[k]}
		if t, ok := b.newest[k]; ok {
			s.Newest = &t
		}
		r.Shards = append(r.Shards, s)
	}
	for _, k := range slices.SortedFunc(maps.Keys(b.days), PartitionDay.compare) {
		r.Days = append(r.Days, dayRecord{k.Partition, k.Day, *b.days[k]})
	}
	for _, p := range slices.Sorted(maps.Keys(b.loads)) {
		r.Loads = append(r.Loads, dayRecord{Partition: p, Ledger: *b.loads[p]})
	}
	return r
}

// add enters what a unit recorded.
func (b *books) add(r *booksRecord) {
	for _, s := range r.Shards {
		k := ShardPartition{s.Shard, s.Partition}
		if s.Ledger != nil {
			at(b.ledgers, k).Merge(s.Ledger)
		}
		if s.Newest != nil {
			b.folded(k, *s.Newest)
		}
	}
	for _, d := range r.Days {
		at(b.days, PartitionDay{d.Partition, d.Day}).Merge(&d.Ledger)
	}
	for _, d := range r.Loads {
		at(b.loads, d.Partition).Merge(&d.Ledger)
	}
}
