package batch

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// against is what rows that are computed anew are held against: those of the tables, of
// boundaries beyond from up to to.
type against struct {
	from, to schemas.Micros
	// cut is the tables', of dates that are written anew; the events of a replay that goes
	// on lie beyond it. quarantined are offsets below it that did not count, ascending.
	cut         *schemas.TopicCut
	quarantined map[int32][]int64
}

// maxQuarantined bounds the offsets that are known of a table's quarantine: changes do not
// name the events of others.
const maxQuarantined = 1 << 20

func (r *Replay) heldAgainst() *against {
	switch {
	case r.From != nil && !r.From.FinalOnly:
		return &against{from: r.before.closed, to: r.before.now}
	case r.Was != nil:
		e := r.earlier(r.Was)
		a := &against{from: dayStart(r.Dates.From) - 1, to: e.now, cut: &r.Was.Cut}
		if r.Was.FinalOnly {
			a.to = e.closed
		}
		if r.Dates.To != LastDay {
			a.to = min(a.to, dayStart(r.Dates.To+1)-1)
		}
		return a
	}
	return nil
}

// have tells whether the tables have counted an event.
func (a *against) have(in *transforms.Input) bool {
	if a.cut == nil || in.Offset >= a.cut.Partitions[in.Partition].End {
		return false
	}
	_, out := slices.BinarySearch(a.quarantined[in.Partition], in.Offset)
	return !out
}

// heldRecord is what the unit records that carries rows to be compared.
type heldRecord struct {
	Unread string `json:"unread,omitempty"` // why it carries none
}

// carryHeld carries the rows of dates that are written anew, to be compared. Where they
// cannot be read that is recorded: such dates are written anew for it.
func (r *Replay) carryHeld(ctx context.Context) error {
	var rec heldRecord
	out, unread, err := r.putHeld(ctx)
	if err == nil && unread != nil {
		rec.Unread = unread.Error()
		out, err = r.Work.Begin(ctx, carriedFeatures, r.share()/2)
	}
	if err != nil {
		return err
	}
	defer out.Abort()
	return out.Finish(ctx, &rec)
}

// putHeld puts these rows, and the offsets in the quarantine; unread is why it cannot, and
// there is no output then.
func (r *Replay) putHeld(ctx context.Context) (out Output, unread, err error) {
	if out, err = r.Work.Begin(ctx, carriedFeatures, r.share()/2); err != nil {
		return nil, nil, err
	}
	defer func() {
		if unread != nil || err != nil {
			out.Abort()
		}
	}()
	put := func(kind byte, shard int, row []byte) error {
		err = out.Put(kind, shard, row)
		return err
	}
	var kept, row []byte
	unread = r.Was.Carry.Features(ctx, r.Dates.From, r.Dates.To, func(f rows.Feature) error {
		if f.Boundary <= r.held.from || f.Boundary > r.held.to {
			return nil
		}
		kept = appendFeature(append(kept[:0], keptProvisional), &f)
		row = transforms.AppendKept(row[:0], f.Entity, -1, int64(f.Boundary), kept)
		return put(carriedRows, f.Shard, row)
	})
	left := maxQuarantined
	for _, p := range r.Was.Cut.PartitionIDs() {
		if unread != nil || err != nil {
			break
		}
		unread = r.Was.Carry.Quarantine(ctx, p, firstDay, func(q rows.Quarantined) error {
			if left--; left < 0 {
				return nil
			}
			row = binary.BigEndian.AppendUint32(row[:0], uint32(p))
			return put(quarantinedRows, 0, binary.BigEndian.AppendUint64(row, uint64(q.At.Offset)))
		})
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out, unread, err
}

// unread says why the rows to be compared could not be read, "" where they were.
func (r *Replay) unread(ctx context.Context) (string, error) {
	if r.Was == nil {
		return "", nil
	}
	rec, err := record[heldRecord](ctx, r.Work, carriedFeatures)
	return rec.Unread, err
}

// hold prepares the comparison.
func (f *replayFold) hold(ctx context.Context) error {
	if f.held = f.run.held; f.run.Was == nil {
		return nil
	}
	unread, err := f.run.unread(ctx)
	if unread != "" || err != nil {
		f.held = nil
		return err
	}
	a := *f.held
	a.quarantined = map[int32][]int64{}
	err = f.run.Work.Rows(ctx, carriedFeatures, quarantinedRows, 0, func(row []byte) error {
		p := int32(binary.BigEndian.Uint32(row))
		a.quarantined[p] = append(a.quarantined[p], int64(binary.BigEndian.Uint64(row[4:])))
		return nil
	})
	for _, offsets := range a.quarantined {
		slices.Sort(offsets)
	}
	f.held = &a
	return err
}
