package log

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tallystick/tallystick/schemas"
)

// Read delivers the data records and ticks of partition p in offset order, from
// offset from to offset to (exclusive), and returns when the position reaches
// to, whatever gaps lie within (K1, K2). to must not lie beyond what was once
// stable: a cut's end.
//
// The slice given to fn is valid during the call only; Key and Value bytes are
// immutable and may be kept. An error of fn is returned as it is. Errors:
// *TruncatedError, *ShrunkError, *RecreatedError, *MissingTopicError,
// *MissingPartitionError, *TimestampTypeError, *UnauthorisedError,
// *CorruptError, and *StalledError after Options.RetryFor without progress.
func (c *Client) Read(ctx context.Context, t Ref, p int32, from, to int64, fn func([]schemas.Record) error) error {
	if from < 0 || to < from {
		return fmt.Errorf("topic %s partition %d: offsets %d to %d are not a range", t.Name, p, from, to)
	}
	f, err := c.newFetcher(ctx, t)
	if err != nil {
		return err
	}
	return f.read(ctx, newStampGuard(t.Name, ""), p, from, to, fn)
}

// ReadCut delivers all partitions of a topic's cut. Calls of fn for one
// partition are sequential and in offset order; those of up to parallel
// partitions run concurrently. The first error stops all. For the rest see
// Read; a cut with partitions that the topic lacks gives *FewerPartitionsError.
func (c *Client) ReadCut(ctx context.Context, name string, tc schemas.TopicCut, parallel int, fn func(p int32, rs []schemas.Record) error) error {
	if _, err := c.CheckIdentity(ctx, name, tc); err != nil {
		return err
	}
	f, err := c.newFetcher(ctx, Ref{Name: name, ID: tc.TopicID})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		guard = newStampGuard(name, tc.TimestampType)
		todo  = make(chan int32)
		wg    sync.WaitGroup
	)
	for range max(1, min(parallel, len(tc.Partitions))) {
		wg.Go(func() {
			for p := range todo {
				pc := tc.Partitions[p]
				err := f.read(ctx, guard, p, pc.Start, pc.End, func(rs []schemas.Record) error { return fn(p, rs) })
				if err != nil {
					cancel(err) // the first counts: the others stop because of it
				}
			}
		})
	}
	for _, p := range tc.PartitionIDs() {
		select {
		case todo <- p:
		case <-ctx.Done():
		}
	}
	close(todo)
	wg.Wait()
	return context.Cause(ctx)
}

// errStopped ends the fetching ahead of a read that has failed.
var errStopped = errors.New("read stopped")

// read is Read with a fetcher. One page is fetched ahead of fn.
func (f *fetcher) read(ctx context.Context, guard *stampGuard, p int32, from, to int64, fn func([]schemas.Record) error) error {
	type result struct {
		page
		err error
	}
	ctx, cancel := context.WithCancelCause(ctx)
	pages := make(chan result, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(pages)
		size := pageSize{now: min(firstFetch, f.c.o.FetchBytes), most: f.c.o.FetchBytes}
		for pos := from; pos < to; {
			pg, err := f.page(ctx, p, pos, to, size.now)
			size.after(pg.recs)
			select {
			case pages <- result{pg, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
			pos = pg.next
		}
	})
	defer wg.Wait()
	defer cancel(errStopped)

	pos := from
	var buf []schemas.Record
	for r := range pages {
		if r.err != nil {
			return r.err
		}
		buf = buf[:0]
		for _, rec := range r.recs {
			if rec.Offset >= to {
				break
			}
			if err := guard.check(rec); err != nil {
				return err
			}
			buf = appendRecord(buf, rec)
		}
		for _, rec := range r.recs {
			rec.Recycle() // what buf aliases of them stays
		}
		if len(buf) > 0 {
			if err := fn(buf); err != nil {
				return err
			}
		}
		pos = r.next
	}
	if pos < to {
		return context.Cause(ctx)
	}
	return nil
}
