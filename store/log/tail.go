package log

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/schemas"
)

// settleEvery bounds how often an idle Tailer asks for last stable offsets.
const settleEvery = time.Second

// Batch is what one poll brought of one partition.
type Batch struct {
	Partition int32
	// Records are data records and ticks in offset order, possibly none. The slice
	// is valid until the next Poll; the records' bytes are immutable and may be kept.
	Records []schemas.Record
	// Next is the position after the batch: the offset at which a reader that
	// resumes continues. It moves over control and aborted records too.
	Next int64
	// Stable is the last stable offset as last heard of: Stable - Next bounds
	// the lag in offsets, which are not records.
	Stable int64
}

// Tailer follows partitions of one topic, assigned by hand. Its methods are for
// one goroutine, apart from Pause and Resume, which may be called from any.
// It retries for ever what can be retried: an unreachable broker shows as
// silence, not as an error.
type Tailer struct {
	c     *Client
	kc    *kgo.Client
	f     *fetcher
	guard *stampGuard

	pos     map[int32]int64  // next offset of each assigned partition
	still   map[int32]int64  // pos at the last call of settle
	settled time.Time        // of the last call of settle
	failed  map[int32]error  // partitions that stand still until assigned anew
	recs    []schemas.Record // of one poll
}

// Tail returns a Tailer of the topic, pinned to its ID, with nothing assigned.
// stamps is the timestamp type that all records must have, "" for that of the
// first one. extra options may bound franz-go's buffers.
func (c *Client) Tail(ctx context.Context, t Ref, stamps string, extra ...kgo.Opt) (*Tailer, error) {
	f, err := c.newFetcher(ctx, t)
	if err != nil {
		return nil, err
	}
	opts := append(c.o.kgo(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // K3
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxPartitionBytes(c.o.FetchBytes),
		kgo.WithPools(new(recordPool)),
	)
	if c.o.BufferBytes > 0 {
		opts = append(opts, kgo.FetchMaxBytes(c.fetchMax()))
	}
	kc, err := kgo.NewClient(append(opts, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("topic %s: consumer: %w", t.Name, err)
	}
	return &Tailer{
		c: c, kc: kc, f: f, guard: newStampGuard(t.Name, stamps),
		pos: map[int32]int64{}, still: map[int32]int64{}, failed: map[int32]error{}, settled: time.Now(),
	}, nil
}

// fetchMax divides Options.BufferBytes over the brokers: of each the consumer
// holds one fetch that was not polled yet, and asks for no more meanwhile. It may
// hold as much again while that is being decompressed.
func (c *Client) fetchMax() int32 {
	brokers := int64(max(1, len(c.kc.DiscoveredBrokers())))
	return int32(min(max(c.o.BufferBytes/brokers, minFetch), 50<<20))
}

// minFetch is the least that is asked of a broker at once.
const minFetch = 64 << 10

// Close ends the Tailer. Polling a closed Tailer returns an error.
func (t *Tailer) Close() { t.kc.Close() }

// TopicID returns the ID that the Tailer is pinned to.
func (t *Tailer) TopicID() string { return t.f.t.ID }

// Positions returns the next offset of each assigned partition.
func (t *Tailer) Positions() map[int32]int64 { return maps.Clone(t.pos) }

// Assign adds partitions, each to be read from the given offset, or moves those
// already assigned. Errors: *RecreatedError, *MissingPartitionError, as for Read.
func (t *Tailer) Assign(ctx context.Context, at map[int32]int64) error {
	if err := t.f.refresh(ctx); err != nil {
		return err
	}
	for p, o := range at {
		if _, _, err := t.f.leader(p); err != nil {
			return err
		}
		if o < 0 {
			return fmt.Errorf("topic %s partition %d: offset %d is negative", t.f.t.Name, p, o)
		}
	}
	t.Remove(slices.Collect(maps.Keys(at))...)
	offsets := make(map[int32]kgo.Offset, len(at))
	for p, o := range at {
		offsets[p] = kgo.NewOffset().At(o)
		t.pos[p] = o
	}
	t.kc.AddConsumePartitions(map[string]map[int32]kgo.Offset{t.f.t.Name: offsets})
	return nil
}

// Seek moves one assigned partition. What was fetched for its old position is
// dropped: the next batch of it begins at or after offset.
func (t *Tailer) Seek(ctx context.Context, p int32, offset int64) error {
	if _, ok := t.pos[p]; !ok {
		return fmt.Errorf("topic %s partition %d is not assigned", t.f.t.Name, p)
	}
	return t.Assign(ctx, map[int32]int64{p: offset})
}

// Remove gives up partitions; what was fetched for them is dropped.
func (t *Tailer) Remove(ps ...int32) {
	var have []int32
	for _, p := range ps {
		if _, ok := t.pos[p]; ok {
			have = append(have, p)
			delete(t.pos, p)
			delete(t.still, p)
			delete(t.failed, p)
		}
	}
	if len(have) > 0 {
		t.kc.RemoveConsumePartitions(map[string][]int32{t.f.t.Name: have})
	}
}

// Pause stops fetching partitions, until Resume. They stay assigned.
func (t *Tailer) Pause(ps ...int32) {
	t.kc.PauseFetchPartitions(map[string][]int32{t.f.t.Name: ps})
}

// Resume undoes Pause.
func (t *Tailer) Resume(ps ...int32) {
	t.kc.ResumeFetchPartitions(map[string][]int32{t.f.t.Name: ps})
}

// Poll waits up to wait for records and returns them, one batch per partition.
// No batches is not an end, it only means that wait has passed (K1). An error
// stops the partition that it names until that is assigned anew: *TruncatedError, *ShrunkError,
// *RecreatedError, *MissingTopicError, *TimestampTypeError, *UnauthorisedError,
// *CorruptError; or it is ctx's. Batches returned beside an error are good.
func (t *Tailer) Poll(ctx context.Context, wait time.Duration) ([]Batch, error) {
	pctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	clear(t.recs) // they hold what was fetched
	t.recs = t.recs[:0]
	fs := t.kc.PollFetches(pctx)
	if err := ctx.Err(); err != nil && fs.NumRecords() == 0 {
		return nil, err
	}
	var (
		out  []Batch
		errs []error
	)
	for _, fetch := range fs {
		for i := range fetch.Topics {
			ft := &fetch.Topics[i]
			for j := range ft.Partitions {
				p := ft.Partitions[j].Partition
				b, err := t.batch(ctx, ft, &ft.Partitions[j])
				if err != nil {
					errs = append(errs, err)
				}
				if _, ok := t.pos[p]; ok && err != nil && ctx.Err() == nil {
					t.failed[p] = err
				}
				if b != nil {
					out = append(out, *b)
				}
			}
		}
	}
	if len(errs) == 0 && time.Since(t.settled) >= settleEvery {
		out = append(out, t.settle(ctx)...)
	}
	return out, errors.Join(errs...)
}

// batch converts one fetched partition, nil where it brings nothing.
func (t *Tailer) batch(ctx context.Context, ft *kgo.FetchTopic, fp *kgo.FetchPartition) (*Batch, error) {
	if err := t.failed[fp.Partition]; err != nil {
		return nil, err // going on would leave a gap
	}
	if fp.Err != nil {
		return nil, t.fault(ctx, fp)
	}
	pos, ok := t.pos[fp.Partition]
	if !ok || ft.Topic != t.f.t.Name {
		return nil, nil
	}
	_, id, err := t.f.leader(fp.Partition)
	if err != nil {
		return nil, err
	}
	// The consumer pins the ID that it met first, which may be a later one.
	if ft.TopicID != ([16]byte{}) && ft.TopicID != id {
		m := meta{topicID: ft.TopicID}
		return nil, &RecreatedError{Topic: ft.Topic, Expected: t.f.t.ID, Have: m.id()}
	}
	b := &Batch{Partition: fp.Partition, Next: pos, Stable: fp.LastStableOffset}
	from := len(t.recs)
	for _, r := range fp.Records {
		if r.Offset < pos {
			continue // settle has been past it: a control record
		}
		if err = t.guard.check(r); err != nil {
			break
		}
		t.recs = appendRecord(t.recs, r)
		b.Next = r.Offset + 1
		r.Recycle()
	}
	b.Records = t.recs[from:len(t.recs):len(t.recs)]
	if b.Next == pos {
		return nil, err
	}
	t.pos[fp.Partition] = b.Next
	return b, err
}

// fault gives an error that the consumer reports its type. A nil result means
// that it is no fault: waiting was over.
func (t *Tailer) fault(ctx context.Context, fp *kgo.FetchPartition) error {
	if errors.Is(fp.Err, context.DeadlineExceeded) || errors.Is(fp.Err, context.Canceled) {
		return ctx.Err()
	}
	if loss, ok := errors.AsType[*kgo.ErrDataLoss](fp.Err); ok {
		return &ShrunkError{Topic: loss.Topic, Partition: loss.Partition, Needed: loss.ConsumedTo, Have: loss.ResetTo}
	}
	pos, ok := t.pos[fp.Partition]
	if !ok && fp.Partition >= 0 {
		return nil // given up meanwhile
	}
	final, err := t.f.diagnose(ctx, fp.Partition, pos, fp.Err)
	var ke *kerr.Error
	switch {
	case final || ctx.Err() != nil || errors.Is(fp.Err, kerr.OffsetOutOfRange):
		return err
	case kerr.IsRetriable(fp.Err):
		return nil // the consumer tries again
	case fp.Partition < 0 || errors.As(fp.Err, &ke):
		return fmt.Errorf("topic %s partition %d offset %d: %w", t.f.t.Name, fp.Partition, pos, fp.Err)
	}
	return &CorruptError{Topic: t.f.t.Name, Partition: fp.Partition, Offset: pos, Err: fp.Err}
}

// settle moves positions over records that the consumer passes in silence. A
// consumer shows nothing of an aborted transaction until its marker is stable:
// behind an older open transaction that may be never, and a stream that waits
// for a cut's end would wait as long (K1). So where a position has not moved
// since the last call, settle asks for the last stable offset, and if that lies
// beyond, it fetches what lies between by hand. Failures are left to the
// consumer to report.
func (t *Tailer) settle(ctx context.Context) []Batch {
	idle := t.idle()
	if len(idle) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleEvery)
	defer cancel()
	ls, err := t.c.adm.ListCommittedOffsets(ctx, t.f.t.Name)
	if err != nil {
		return nil
	}
	var out []Batch
	for _, p := range idle {
		l, ok := ls.Lookup(t.f.t.Name, p)
		if !ok || l.Err != nil {
			continue
		}
		if pos := t.skip(ctx, p, t.pos[p], l.Offset); pos > t.pos[p] {
			t.pos[p], t.still[p] = pos, pos
			out = append(out, Batch{Partition: p, Next: pos, Stable: l.Offset})
		}
	}
	return out
}

// idle returns the partitions, ascending, that are not paused and whose
// position has not moved since the last call.
func (t *Tailer) idle() []int32 {
	t.settled = time.Now()
	paused := t.kc.PauseFetchPartitions(nil)[t.f.t.Name]
	var idle []int32
	for _, p := range slices.Sorted(maps.Keys(t.pos)) {
		if was, ok := t.still[p]; ok && was == t.pos[p] && t.failed[p] == nil && !slices.Contains(paused, p) {
			idle = append(idle, p)
		}
		t.still[p] = t.pos[p]
	}
	return idle
}

// skip returns the first position in [pos, stable) that holds a data record,
// which is the consumer's to deliver, or the end of what holds none.
func (t *Tailer) skip(ctx context.Context, p int32, pos, stable int64) int64 {
	for pos < stable {
		pg, err := t.f.once(ctx, p, pos, t.f.c.o.FetchBytes, 0)
		if err != nil {
			_ = t.f.refresh(ctx) // for the next call: the leader may have moved
			break
		}
		if pg.next == pos {
			break
		}
		if len(pg.recs) > 0 {
			return pg.recs[0].Offset
		}
		pos = pg.next
	}
	return pos
}
