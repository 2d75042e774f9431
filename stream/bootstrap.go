package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// origin opens what shards are to be restored from; nil where all are live and the
// log, which starts at start, goes on from their markers.
func (p *partition) origin(ctx context.Context, marks []Mark, start int64) (Restore, error) {
	for _, m := range marks {
		if m.Phase != marker.Live || p.w.o.Rebuild && m.Next < start {
			return p.w.o.Origin.Open(ctx, p.id)
		}
	}
	return nil, nil
}

// takes tells whether a shard is to be restored from a base: one that is not live,
// and, where that is allowed, one that the log no longer goes on from while it does
// from the base.
func (p *partition) takes(m Mark, base *Base, start int64) bool {
	return m.Phase != marker.Live || p.w.o.Rebuild && m.Next < start && start <= base.Next
}

// bootstrap makes the shards of a partition live that are not (O2). The order
// matters: first all their markers are taken, so that no other worker writes and
// that a start interrupted here is known for one; then what fields there are is
// removed, then the origin's states are written, and the position comes last.
// Each step is one write on condition of the marker before, with a new token, so
// that another worker's, or the store's loss of one, makes the next fail.
func (p *partition) bootstrap(ctx context.Context, from Restore, marks []Mark, cut schemas.TopicCut) ([]Mark, error) {
	p.cleared = nil
	if from == nil {
		return marks, nil
	}
	base := from.Base()
	if err := p.mayBootstrap(marks, &base, cut); err != nil {
		return nil, err
	}
	taken := make([]*bootstrapping, 0, len(marks))
	for i, m := range marks {
		if !p.takes(m, &base, cut.Partitions[p.id].Start) {
			continue
		}
		b := &bootstrapping{p: p, shard: i, mark: m}
		now := Mark{Phase: marker.Bootstrapping, TopicID: cut.TopicID, Clock: schemas.Never, Newest: schemas.Never, ValidFrom: schemas.Never}
		if err := b.write(ctx, now, nil); err != nil {
			return nil, p.bootstrapFailed(ctx, err)
		}
		taken = append(taken, b)
	}
	if len(taken) == 0 {
		return marks, nil
	}
	// One look is cheaper than a walk for each shard, and mostly enough.
	holds, err := p.w.sink.Holds(ctx, p.id)
	if err != nil {
		return nil, p.bootstrapFailed(ctx, err)
	}
	for _, b := range taken {
		if err := b.run(ctx, from, holds); err != nil {
			return nil, p.bootstrapFailed(ctx, err)
		}
		marks[b.shard] = b.mark
		p.cleared = append(p.cleared, b.shard)
	}
	switch {
	case p.added && len(taken) == len(marks) && base.Next == 0:
		p.w.notice(p.id, -1, nil, "a new partition is adopted from offset 0") // K3
	case base.Name == "":
		p.w.notice(p.id, -1, nil, "bootstrapped %d shards, from offset %d", len(taken), base.Next)
	default:
		p.w.notice(p.id, -1, nil, "bootstrapped %d shards, from offset %d, where %s end", len(taken), base.Next, base.Name)
	}
	return marks, nil
}

// mayBootstrap refuses to fold anew what nothing allows to be, and a base that the
// log does not go on from (K3).
func (p *partition) mayBootstrap(marks []Mark, base *Base, cut schemas.TopicCut) error {
	bounds := cut.Partitions[p.id]
	live := slices.ContainsFunc(marks, func(m Mark) bool { return m.Phase == marker.Live })
	for i, m := range marks {
		if !p.takes(m, base, bounds.Start) {
			continue
		}
		beside := live && m.Phase == marker.Missing && !p.w.o.Rebuild
		if beside || base.Name == "" && bounds.Start > base.Next {
			return &MissingMarkerError{i, p.id, bounds.Start, beside, base.Name}
		}
		if why := base.unfit(cut, p.id, p.end); why != "" {
			return &OriginError{p.id, base.Name, why}
		}
	}
	return nil
}

// unfit says why the log of a partition does not go on from the base, "" = it does;
// until is where the stream stops, -1 = nowhere.
func (b *Base) unfit(cut schemas.TopicCut, partition int32, until int64) string {
	bounds := cut.Partitions[partition]
	for _, id := range b.Partitions {
		if _, ok := cut.Partitions[id]; !ok {
			return fmt.Sprintf("they have partition %d, which the topic lacks: write them anew with `tallystick replay`", id)
		}
	}
	switch {
	case b.TopicID != "" && b.TopicID != cut.TopicID:
		return fmt.Sprintf("they are of topic id %s, the topic's is %s: it was deleted and created again; write them anew with `tallystick replay`", b.TopicID, cut.TopicID)
	case b.Next < bounds.Start:
		return fmt.Sprintf("they end at offset %d, and the log now starts at %d: offsets %d to %d are lost; write them anew with `tallystick replay`, with --adopt-start if need be",
			b.Next, bounds.Start, b.Next, bounds.Start-1)
	case b.Next > bounds.End:
		return fmt.Sprintf("they end at offset %d, and the log at %d: records were lost (unclean leader election?) or this is another cluster; write them anew with `tallystick replay`", b.Next, bounds.End)
	case until >= 0 && b.Next > until:
		return fmt.Sprintf("they end at offset %d, beyond the cut's end %d: take a newer cut with `tallystick cut`", b.Next, until)
	}
	return ""
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
func (b *bootstrapping) run(ctx context.Context, from Restore, holds bool) error {
	if holds {
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	m, err := from.Shard(ctx, b.shard, func(ws []Write) error {
		if len(ws) == 0 {
			b.p.w.beat()
			return nil
		}
		return b.write(ctx, b.mark, ws)
	})
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
