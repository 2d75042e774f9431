package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Tables restores an online store from a view's tables at their cut (O2, O5). It is
// a stream.Origin. What it reads of the tables is one pass over the dates that the
// view retains, for each partition that is restored.
type Tables struct {
	// Root is where the tables lie, for messages.
	Root    string
	Tables  *offline.Tables
	Engine  *transforms.View
	Options offline.RestoreOptions
	// Parallel partitions are restored at once; 0 = 1. Others wait.
	Parallel int

	mu     sync.Mutex
	newest *offline.Published
	read   time.Time // when newest was
	slots  chan struct{}
}

// publicationAge is how long a publication is taken for the newest one: partitions
// are opened one after the other.
const publicationAge = time.Minute

// Open implements stream.Origin. A partition that the topic had not when the cut was
// taken begins at the log's start.
func (t *Tables) Open(ctx context.Context, partition int32) (stream.Restore, error) {
	p, err := t.published(ctx)
	if err != nil {
		return nil, fmt.Errorf("--from-tables %s: %w", t.Root, maybeLater(err))
	}
	if _, ok := p.Info.Cut.Partitions[partition]; !ok {
		return stream.LogStart{}.Open(ctx, partition)
	}
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r, err := p.Restore(ctx, partition, t.Options)
	if err != nil {
		<-t.slots
		return nil, maybeLater(err)
	}
	return &restore{t: t, r: r, base: stream.Base{Name: "the tables in " + t.Root, TopicID: p.Info.Cut.TopicID,
		Next: p.Info.Cut.Partitions[partition].End, Partitions: slices.Sorted(maps.Keys(p.Info.Cut.Partitions))}}, nil
}

// published returns the newest publication, which is fit to be restored from.
func (t *Tables) published(ctx context.Context) (*offline.Published, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slots == nil {
		t.slots = make(chan struct{}, max(1, t.Parallel))
	}
	if t.newest != nil && time.Since(t.read) < publicationAge {
		return t.newest, nil
	}
	p, err := t.Tables.Published(ctx)
	if err == nil {
		err = errors.Join(p.CheckWhole(), p.CheckRestore())
	}
	if err != nil {
		return nil, err
	}
	t.newest, t.read = p, time.Now()
	return p, nil
}

// restore is one partition.
type restore struct {
	t    *Tables
	r    *offline.Restorer
	base stream.Base
	once sync.Once
}

// Base implements stream.Restore.
func (r *restore) Base() stream.Base { return r.base }

// A piece has at most so many states, and about so many bytes.
const pieceStates, pieceBytes = 512, 1 << 20

// Shard implements stream.Restore.
func (r *restore) Shard(_ context.Context, shard int, put func([]stream.Write) error) (stream.Mark, error) {
	var piece []stream.Write
	size := 0
	flush := func() error {
		err := put(piece)
		piece, size = nil, 0
		return err
	}
	err := r.r.Shard(shard, func() error { return put(nil) }, func(entity []byte, s *transforms.State) error {
		w := whole(r.t.Engine, string(entity), s)
		piece, size = append(piece, w), size+w.Size()
		if len(piece) == pieceStates || size >= pieceBytes {
			return flush()
		}
		return nil
	})
	if err == nil && len(piece) > 0 {
		err = flush()
	}
	return r.r.Marker(shard), maybeLater(err)
}

// maybeLater marks what an object store may do later.
func maybeLater(err error) error {
	if e, ok := errors.AsType[*offline.StoreError](err); ok && (e.Fault == offline.Unreachable || e.Fault == offline.Busy) {
		return fmt.Errorf("%w: %w", marker.ErrUnavailable, err)
	}
	return err
}

// Close implements stream.Restore.
func (r *restore) Close() error {
	r.once.Do(func() {
		r.r.Close()
		<-r.t.slots
	})
	return nil
}

// whole writes a state that the store does not hold.
func whole(engine *transforms.View, entity string, s *transforms.State) marker.Write {
	p := engine.Encode(s)
	return marker.Write{Entity: entity, Served: p.Served, Old: p.Old, Open: p.Open}
}
