package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// bootstrap makes the shards of a partition live that are not (O2). The order
// matters: first all their markers are taken, so that no other worker writes and
// that a start interrupted here is known for one; then what fields there are is
// removed, then the origin's states are written, and the position comes last.
// Each step is one write on condition of the marker before, with a new token, so
// that another worker's, or the store's loss of one, makes the next fail.
func (p *partition) bootstrap(ctx context.Context, marks []Mark, topicID string, start int64) ([]Mark, error) {
	if err := p.mayBootstrap(marks, start); err != nil {
		return nil, err
	}
	p.cleared = nil
	taken := make([]*bootstrapping, 0, len(marks))
	for i, m := range marks {
		if m.Phase == marker.Live {
			continue
		}
		b := &bootstrapping{p: p, shard: i, mark: m}
		now := Mark{Phase: marker.Bootstrapping, TopicID: topicID, Clock: schemas.Never, Newest: schemas.Never, ValidFrom: schemas.Never}
		if err := b.write(ctx, now, nil); err != nil {
			return nil, p.bootstrapFailed(ctx, err)
		}
		taken = append(taken, b)
	}
	// One look is cheaper than a walk for each shard, and mostly enough.
	holds := false
	if len(taken) > 0 {
		var err error
		if holds, err = p.w.sink.Holds(ctx, p.id); err != nil {
			return nil, p.bootstrapFailed(ctx, err)
		}
	}
	for _, b := range taken {
		if err := b.run(ctx, holds); err != nil {
			return nil, p.bootstrapFailed(ctx, err)
		}
		marks[b.shard] = b.mark
		p.cleared = append(p.cleared, b.shard)
	}
	switch {
	case p.added && len(taken) == len(marks) && taken[0].mark.Next == 0:
		p.w.notice(p.id, -1, nil, "a new partition is adopted from offset 0") // K3
	case len(taken) > 0:
		p.w.notice(p.id, -1, nil, "bootstrapped %d shards, from offset %d", len(taken), taken[0].mark.Next)
	}
	return marks, nil
}

// mayBootstrap refuses to fold anew what nothing allows to be.
func (p *partition) mayBootstrap(marks []Mark, start int64) error {
	live := slices.ContainsFunc(marks, func(m Mark) bool { return m.Phase == marker.Live })
	for i, m := range marks {
		if m.Phase == marker.Live {
			continue
		}
		_, fromLog := p.w.o.Origin.(LogStart)
		if fromLog && start > 0 || live && m.Phase == marker.Missing && !p.w.o.Rebuild {
			return &MissingMarkerError{i, p.id, start}
		}
	}
	return nil
}

// bootstrapFailed leaves the partition to be opened again: whatever the cause,
// the markers have to be read anew.
func (p *partition) bootstrapFailed(ctx context.Context, err error) error {
	if errors.Is(err, marker.ErrMoved) || errors.Is(err, marker.ErrUnknown) {
		err = fmt.Errorf("%w: %w", marker.ErrUnavailable, err)
	}
	return p.later(ctx, "bootstrap was interrupted", err)
}

// bootstrapping is the bootstrap of one shard.
type bootstrapping struct {
	p     *partition
	shard int
	mark  Mark // as last written
}

func (b *bootstrapping) write(ctx context.Context, now Mark, ws []Write) error {
	now.Token = b.p.w.o.Token()
	b.p.w.beat()
	if err := b.p.w.sink.Commit(ctx, b.shard, b.p.id, b.mark, now, ws); err != nil {
		return err
	}
	b.mark = now
	return nil
}

// run makes the shard live; holds: there may be states to be removed.
func (b *bootstrapping) run(ctx context.Context, holds bool) error {
	if holds {
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	m, err := b.p.w.o.Origin.Restore(ctx, b.shard, b.p.id, func(ws []Write) error { return b.write(ctx, b.mark, ws) })
	if err != nil {
		return err
	}
	m.Phase, m.TopicID = marker.Live, b.mark.TopicID
	return b.write(ctx, m, nil)
}

// clear removes whatever states the (shard, partition) has. A walk may miss some
// when the store fails over meanwhile: it is over when one finds nothing.
func (b *bootstrapping) clear(ctx context.Context) error {
	for found := true; found; {
		found = false
		for cursor := ""; ; {
			page, err := b.p.w.sink.Walk(ctx, b.shard, b.p.id, cursor)
			if err != nil {
				return err
			}
			if page.Mark != b.mark {
				return marker.ErrMoved
			}
			found = found || len(page.Items) > 0
			if err := b.remove(ctx, page.Items); err != nil {
				return err
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
	}
	return nil
}

func (b *bootstrapping) remove(ctx context.Context, items []marker.Item) error {
	for len(items) > 0 {
		n := min(len(items), b.p.w.o.MaxDirty)
		ws := make([]Write, 0, n)
		for _, it := range items[:n] {
			ws = append(ws, Write{Entity: it.Entity, Remove: true})
		}
		if err := b.write(ctx, b.mark, ws); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}
