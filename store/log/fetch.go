package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// How long a broker may hold a fetch that finds nothing, and how long to wait
// before asking again after a failure.
const (
	fetchWait  = 500 * time.Millisecond
	minBackoff = 20 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// fetcher issues Fetch requests for the partitions of one topic, pinned to its
// ID. It may be used concurrently.
type fetcher struct {
	c     *Client
	t     Ref // with the ID set
	d     kgo.Decompressor
	pools []kgo.Pool

	mu sync.Mutex
	m  *meta
}

// page is what one fetch brought.
type page struct {
	recs []*kgo.Record // neither control records nor aborted ones
	next int64         // the position after it; moves over all that was not kept
	lso  int64         // the last stable offset as of the fetch
}

// newFetcher looks the topic up and pins its ID.
func (c *Client) newFetcher(ctx context.Context, t Ref) (*fetcher, error) {
	m, err := c.lookup(ctx, t)
	if err != nil {
		return nil, err
	}
	t.ID = m.id()
	return &fetcher{c: c, t: t, m: m, d: kgo.DefaultDecompressor(), pools: []kgo.Pool{new(recordPool)}}, nil
}

// leader returns the partition's leader as last known.
func (f *fetcher) leader(p int32) (leader, [16]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.m.parts[p]
	if !ok {
		return leader{}, f.m.topicID, &MissingPartitionError{Topic: f.t.Name, Partition: p, Have: len(f.m.parts)}
	}
	return l, f.m.topicID, nil
}

// refresh asks for the leaders anew; a recreated or missing topic is final.
func (f *fetcher) refresh(ctx context.Context) error {
	m, err := f.c.lookup(ctx, f.t)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.m = m
	f.mu.Unlock()
	return nil
}

// page fetches partition p at offset from, of a range that ends at to
// (exclusive) and was stable when the range was fixed. It returns once the
// position has moved; what can be retried is, for Options.RetryFor.
func (f *fetcher) page(ctx context.Context, p int32, from, to int64, size int32) (page, error) {
	begun := time.Now()
	bounded, cancel := context.WithTimeout(ctx, f.c.o.RetryFor)
	defer cancel()
	var last error
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		pg, err := f.once(bounded, p, from, size, min(fetchWait, f.c.o.RetryFor/4))
		if err == nil && pg.next > from {
			return pg, nil
		}
		if err == nil {
			// A leader just elected may lag for a moment; a log that lost its
			// tail stays so.
			err = &ShrunkError{Topic: f.t.Name, Partition: p, Needed: to, Have: pg.lso}
		}
		final, err := f.diagnose(bounded, p, from, err)
		if final {
			return page{}, err
		}
		if bounded.Err() == nil || last == nil {
			last = err // an expired deadline says less than what came before
		}
		if sleep(bounded, backoff) == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return page{}, fmt.Errorf("topic %s partition %d offset %d: %w", f.t.Name, p, from, err)
		}
		if _, ok := errors.AsType[*ShrunkError](last); ok {
			return page{}, last
		}
		return page{}, &StalledError{Topic: f.t.Name, Partition: p, Offset: from, Waited: time.Since(begun), Err: last}
	}
}

// diagnose tells whether a failed fetch is final, and the error to report. For
// one that is not, it has looked for the leader anew.
func (f *fetcher) diagnose(ctx context.Context, p int32, from int64, err error) (final bool, _ error) {
	var ke *kerr.Error
	isKafka := errors.As(err, &ke)
	switch {
	case ctx.Err() != nil:
		return false, err
	case isAuth(err):
		return true, topicErr(f.t.Name, "Read", err)
	case errors.Is(err, kgo.ErrClientClosed), isType[*MissingPartitionError](err), isType[*CorruptError](err):
		return true, err
	case errors.Is(err, kerr.OffsetOutOfRange):
		starts, ends, lerr := f.c.bounds(ctx, f.t.Name)
		switch {
		case lerr != nil:
			err = lerr
		case starts[p] > from:
			err = &TruncatedError{Topic: f.t.Name, Partition: p, Needed: from, Have: starts[p]}
			final = true
		default:
			err = &ShrunkError{Topic: f.t.Name, Partition: p, Needed: from, Have: ends[p]}
		}
		// Offsets are listed by name: of a recreated topic they say nothing.
		if rerr := f.refresh(ctx); isType[*RecreatedError](rerr) {
			return true, rerr
		}
		return final, err
	case isKafka && !ke.Retriable && !errors.Is(err, kerr.UnknownTopicID) && !errors.Is(err, kerr.InconsistentTopicID):
		return true, fmt.Errorf("topic %s partition %d offset %d: %w", f.t.Name, p, from, err)
	}
	switch rerr := f.refresh(ctx); {
	case isType[*RecreatedError](rerr), isType[*MissingTopicError](rerr), isType[*UnauthorisedError](rerr):
		return true, rerr
	case rerr != nil && !isType[*ShrunkError](err):
		return false, rerr
	}
	return false, err
}

// once issues one fetch and parses its answer.
func (f *fetcher) once(ctx context.Context, p int32, from int64, size int32, wait time.Duration) (page, error) {
	l, id, err := f.leader(p)
	if err != nil {
		return page{}, err
	}
	if l.node < 0 {
		return page{}, kerr.LeaderNotAvailable
	}
	resp, err := f.c.kc.Broker(int(l.node)).Request(ctx, f.request(id, l, p, from, size, wait))
	if err != nil {
		return page{}, err
	}
	got := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return page{}, err
	}
	if len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 || got.Topics[0].Partitions[0].Partition != p {
		return page{}, &CorruptError{f.t.Name, p, from, errors.New("the broker answered for other partitions than asked")}
	}
	rp := &got.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
		return page{}, err
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset:         from,
		IsolationLevel: kgo.ReadCommitted(),
		Topic:          f.t.Name,
		Partition:      p,
		Pools:          f.pools,
	}, rp, f.d, nil)
	if fp.Err != nil {
		return page{}, &CorruptError{f.t.Name, p, next, fp.Err}
	}
	return page{fp.Records, next, fp.LastStableOffset}, nil
}

func (f *fetcher) request(id [16]byte, l leader, p int32, from int64, size int32, wait time.Duration) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = int32(wait.Milliseconds())
	req.MinBytes = 1
	// One partition per request: its own bound is the one that counts. (kfake,
	// stopped by this one, forgets to list the aborted transactions.)
	req.MaxBytes = math.MaxInt32
	req.IsolationLevel = 1 // read_committed (K2)
	req.SessionEpoch = -1  // no fetch session: each request stands alone
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition = p
	rp.CurrentLeaderEpoch = l.epoch
	rp.FetchOffset = from
	rp.PartitionMaxBytes = size
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = f.t.Name // before Kafka 3.1
	rt.TopicID = id     // since
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
