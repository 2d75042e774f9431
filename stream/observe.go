package stream

import (
	"sync/atomic"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// PartitionStatus tells where a partition stands.
type PartitionStatus struct {
	Partition int32
	Phase     string // opening, reading, waiting, held or done
	// Why says what an opening, waiting or held partition waits for, "" = nothing.
	Why     string
	Read    int64 // the offset up to which the log was read
	Written int64 // the least position of its markers; -1 = not known yet
	// Stored is the offset below which every change is in the store; -1 = not known
	// yet. A shard without changes writes its marker later.
	Stored int64
	Clock  schemas.Micros // the log clock at Read
	Newest schemas.Micros // the newest event time in its markers; Never = none
	Stable int64          // last stable offset as last heard of
	Bytes  int            // of states in memory, about
	// Ledger is that of its markers: it tells what is written, and is right after
	// a restart or a rewind.
	Ledger transforms.Ledger
}

// Counts are what happened since the worker was made.
type Counts struct {
	Lost        int64 // writes that were not acknowledged, or lost to another worker's
	Regressions int64 // the store went back to an older marker, and was caught up
	StandBys    int64 // a partition was left to another worker
	Retries     int64 // something that may pass failed, and was tried again
	Expired     int64 // states removed because the log clock has left them behind
}

// Flushed is a write of one (shard, partition), acknowledged or not.
type Flushed struct {
	Partition int32
	Shard     int
	States    int
	Took      time.Duration
	Err       error
}

// observed is what other goroutines may ask of a worker.
type observed struct {
	status                                     atomic.Pointer[[]PartitionStatus]
	progress                                   atomic.Int64 // ns since the epoch
	lost, regressions, standBys, retries, gone atomic.Int64
}

// Status tells where the partitions stood after the last Step. It may be called
// from any goroutine.
func (w *Worker) Status() []PartitionStatus {
	if s := w.status.Load(); s != nil {
		return *s
	}
	return nil
}

// Counts tells what happened so far. It may be called from any goroutine.
func (w *Worker) Counts() Counts {
	return Counts{w.lost.Load(), w.regressions.Load(), w.standBys.Load(), w.retries.Load(), w.gone.Load()}
}

// Progress tells when the worker last got ahead: began a round or ended work on a
// partition or a shard. Store and log bound their calls, so that a worker which
// waits for one that is away gets ahead too. It may be called from any goroutine.
func (w *Worker) Progress() time.Time { return time.Unix(0, w.progress.Load()) }

// beat notes progress.
func (w *Worker) beat() { w.progress.Store(w.o.Now().UnixNano()) }

// report makes the status what it is now.
func (w *Worker) report() {
	list := make([]PartitionStatus, 0, len(w.order))
	for _, id := range w.order {
		list = append(list, w.parts[id].statusNow())
	}
	w.status.Store(&list)
}

func (p *partition) statusNow() PartitionStatus {
	st := PartitionStatus{Partition: p.id, Phase: [...]string{"opening", "reading", "waiting", "done"}[p.phase],
		Read: p.pos, Written: -1, Stored: -1, Clock: p.now, Newest: schemas.Never, Stable: p.stable, Bytes: p.cache.bytes}
	if p.phase == opening || p.phase == waiting {
		st.Why = p.why
	}
	if p.phase == waiting && p.held {
		st.Phase = "held"
	}
	for _, s := range p.shards {
		st.Ledger.Merge(&s.mark.Ledger)
		st.Newest = max(st.Newest, s.mark.Newest)
	}
	if len(p.shards) > 0 {
		st.Written, st.Stored = p.written(), p.stored()
	}
	return st
}

func (p *partition) stored() int64 {
	least := p.pos
	for i, s := range p.shards {
		at := s.mark.Next
		if s.since.IsZero() && !s.lost {
			at, _ = p.position(s)
		}
		if i == 0 || at < least {
			least = at
		}
	}
	return least
}
