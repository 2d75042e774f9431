package stream

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/transforms/marker"
)

// follow takes up what the group has decided.
func (w *Worker) follow(ctx context.Context) error {
	if w.o.Membership == nil {
		return nil
	}
	changes, err := w.o.Membership.Changes(ctx)
	if errors.Is(err, marker.ErrUnavailable) {
		w.notice(-1, -1, err, "the consumer group cannot be joined for now; trying again")
		err = nil
	}
	for _, c := range changes {
		err = errors.Join(err, w.change(ctx, c))
	}
	return err
}

// change takes up one decision. Whatever becomes of the writes, the group is told
// that it has been: others wait.
func (w *Worker) change(ctx context.Context, c Change) error {
	if c.Done != nil {
		defer c.Done()
	}
	w.Lose(c.Lost...)
	err := w.Revoke(ctx, c.Revoked...)
	w.Assign(c.Assigned...)
	if len(c.Lost)+len(c.Revoked)+len(c.Assigned) > 0 {
		w.notice(-1, -1, nil, "the group's partitions that this process has: %s", named(w.order))
	}
	return err
}

func named(ids []int32) string {
	if len(ids) == 0 {
		return "none"
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ", ")
}

// Revoke writes what partitions have not written yet and gives them up.
func (w *Worker) Revoke(ctx context.Context, ids ...int32) error {
	err := w.write(ctx, ids)
	w.remove(ids)
	return err
}

// Lose gives partitions up that may be another worker's already. To write them
// would be refused, or would make the other's next write be refused (O1).
func (w *Worker) Lose(ids ...int32) {
	for _, id := range ids {
		if p := w.parts[id]; p != nil {
			w.notice(id, -1, nil, "the group took it away unasked (was this process held up?): dropping what is in memory")
		}
	}
	w.remove(ids)
}

// write flushes partitions, each until its first failure, and notes what is left.
func (w *Worker) write(ctx context.Context, ids []int32) error {
	return w.each(w.which(func(p *partition) bool {
		return slices.Contains(ids, p.id) && (p.phase == active || p.phase == waiting)
	}), func(p *partition) error {
		err := p.flushAll(ctx)
		if n := p.written(); n < p.pos {
			w.notice(p.id, -1, nil, "given up before all was written: whoever has it next reads again from offset %d", n)
		}
		return err
	})
}

func (w *Worker) remove(ids []int32) {
	if len(ids) == 0 {
		return
	}
	for _, id := range ids {
		if p := w.parts[id]; p != nil {
			w.held.Add(int64(-p.accounted))
			delete(w.parts, id)
			if w.o.Guard != nil {
				w.o.Guard.Leave(id)
			}
		}
	}
	w.order = slices.DeleteFunc(w.order, func(id int32) bool { return slices.Contains(ids, id) })
	w.source.Remove(ids...)
}
