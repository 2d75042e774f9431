package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// place is a (shard, partition).
type place struct {
	shard     int
	partition int32
}

// frame is what a comparison looks at, fixed before any state is read.
type frame struct {
	engine     *transforms.View
	source     *definition.Source
	hops       []schemas.Micros
	retention  []schemas.Micros
	cut        schemas.TopicCut
	boundary   schemas.Micros // at which the offline states were trimmed
	validFrom  schemas.Micros // of the tables
	partitions []int32        // of either side, ascending
	before     map[place]marker.Mark
	after      map[place]marker.Mark // read once the shard's states were
	out        map[place]bool        // left out: no live marker
	b          schemas.Micros        // B_h of the finest level, of a table the least clock; Never = nothing is closed
	bounds     []schemas.Micros      // B_h by level
	snapshot   schemas.Micros        // the last closed boundary of the features table, of a table the last one
}

// cutClock returns a partition's clock at the cut's end, Never where there is none.
func (f *frame) cutClock(p int32) schemas.Micros {
	if c := f.cut.Partitions[p].Clock; c != nil {
		return *c
	}
	return schemas.Never
}

// closing returns the clock by which a partition's windows close at the cut (K7).
func (f *frame) closing(p int32) schemas.Micros {
	return f.source.Closing(p, f.cut.Partitions[p], f.cutClock(p))
}

// later returns the later of the two clocks of a place: what ends at or before
// it - retention may have been dropped on one side.
func (f *frame) later(at place) schemas.Micros {
	return max(f.closing(at.partition), f.after[at].Clock)
}

// closingOnline is closing at a marker. One that has reached the cut has what
// closed there; a record beyond it is newer.
func (f *frame) closingOnline(at place) schemas.Micros {
	m := f.before[at]
	if m.Next < f.cut.Partitions[at.partition].End {
		return m.Clock
	}
	return max(m.Clock, f.source.Closing(at.partition, f.cut.Partitions[at.partition], schemas.Never))
}

// belated tells whether the online state of a part may hold a record that came
// after the cut and counts before t nevertheless: close_idle alone had closed that,
// and the record's timestamp is older still (K7).
func (f *frame) belated(p *part, t schemas.Micros) bool {
	end := f.cut.Partitions[p.at.partition].End
	closed := f.cutClock(p.at.partition).SubSat(f.engine.Spec().LatenessAt(p.at.partition, end))
	return p.on != nil && p.on.LastOffset() >= end && t > closed
}

// started returns from when on a place is complete (K8), the
// later of both sides' starts.
func (f *frame) started(at place) schemas.Micros { return max(f.validFrom, f.after[at].ValidFrom) }

// tilesFrom returns the earliest start of a tile that the comparison or a state
// to be joined may need: it ends after the boundary + lateness - retention.
func (f *frame) tilesFrom() schemas.Micros {
	from := schemas.Forever
	for li, h := range f.hops {
		from = min(from, f.boundary.AddSat(f.engine.Spec().Lateness).SubSat(f.retention[li]).SubSat(h))
	}
	return from
}

// mark reads the markers of all partitions and sets aside the places that have
// none.
func (r *run) mark(ctx context.Context) error {
	f := &r.frame
	have, err := r.online.Partitions(ctx)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		r.why("the online store holds nothing of this definition: let `stream` fill it first")
		return nil
	}
	f.partitions = append(have, f.cut.PartitionIDs()...)
	slices.Sort(f.partitions)
	f.partitions = slices.Compact(f.partitions)
	for _, p := range f.partitions {
		marks, err := r.online.Marks(ctx, p)
		var c *transforms.CorruptError
		if errors.As(err, &c) {
			d := r.difference(MarkerKind, place{-1, p}, Corrupt, OnOnline, noEvidence(err.Error()))
			d.Online = "not readable"
			r.add(&finding{Difference: d})
			for shard := range r.shards {
				f.out[place{shard, p}] = true
			}
			continue
		}
		if err != nil {
			return err
		}
		if len(marks) != r.shards {
			return fmt.Errorf("partition %d has markers of %d shards, the view has %d", p, len(marks), r.shards)
		}
		for shard, m := range marks {
			if err := r.markOf(place{shard, p}, m); err != nil {
				return err
			}
		}
	}
	r.bound()
	return nil
}

// TopicError says that the two sides follow different topics.
type TopicError struct{ Online, Offline string }

func (e *TopicError) Error() string {
	return fmt.Sprintf("the online store follows the topic of id %s, the tables that of id %s: it was recreated; replay or stream anew", e.Online, e.Offline)
}

func (r *run) markOf(at place, m marker.Mark) error {
	f := &r.frame
	f.before[at], f.after[at] = m, m
	switch m.Phase {
	case marker.Live:
		if m.TopicID != "" && f.cut.TopicID != "" && m.TopicID != f.cut.TopicID {
			return &TopicError{m.TopicID, f.cut.TopicID}
		}
		return nil
	case marker.Bootstrapping:
		r.leaveOut(at, Lag, "it is being bootstrapped: run again when that is done")
	default:
		if pc := f.cut.Partitions[at.partition]; pc.End == pc.Start {
			f.out[at] = true // nothing was ever there
			return nil
		}
		r.leaveOut(at, Missing, "it has no marker: whether its states are of any position is not known; `stream` folds it anew")
	}
	return nil
}

// leaveOut takes a place out of the comparison, with a difference that says so.
func (r *run) leaveOut(at place, c Cause, text string) {
	r.frame.out[at] = true
	ev := r.evidence(at)
	ev.Text = text
	d := r.difference(MarkerKind, at, c, OnOnline, ev)
	d.Online, d.Offline = r.frame.after[at].Phase.String(), fmt.Sprintf("cut at %d", ev.CutEnd)
	r.add(&finding{Difference: d})
}

// bound fixes the closed boundaries: the least clock of both sides, minus
// lateness.
func (r *run) bound() {
	f := &r.frame
	f.b = schemas.Never
	least := schemas.Forever
	for _, p := range f.partitions {
		c := f.closing(p)
		switch _, in := f.cut.Partitions[p]; {
		case !in:
			r.why("partition %d is in the online store, but not in the tables' cut: replay up to a later cut", p)
		case c == schemas.Never:
			r.why("partition %d has no clock in the tables' cut, as it held no record: append one or a tick (`tallystick tick`) and replay", p)
		}
		least = min(least, c.SubSat(f.engine.Spec().LatenessAt(p, f.cut.Partitions[p].End)))
		for shard := range r.shards {
			at := place{shard, p}
			if f.out[at] {
				continue
			}
			c := f.closingOnline(at)
			if c == schemas.Never {
				r.why("partition %d, shard %d has no clock online: let `stream` catch up", p, shard)
			}
			least = min(least, c.SubSat(f.engine.Spec().LatenessAt(p, f.before[at].Next)))
		}
	}
	if r.isTable() && least != schemas.Never && least != schemas.Forever {
		f.boundTable(least, r.view.Snapshots)
		return
	}
	if len(f.hops) == 0 || least == schemas.Never || least == schemas.Forever || f.boundary == schemas.Never {
		return
	}
	f.b = min(least.Floor(f.hops[0]), f.boundary) // close_idle may have been changed since
	f.bounds = make([]schemas.Micros, len(f.hops))
	for li, h := range f.hops {
		f.bounds[li] = f.b.Floor(h)
	}
	f.snapshot = f.bounds[len(f.hops)-1].Floor(r.view.Snapshots)
}

// settle reads the markers again after a shard's states: none may stand beyond
// them. A place that went back meanwhile is left out.
func (r *run) settle(ctx context.Context, shard int) error {
	f := &r.frame
	for _, p := range f.partitions {
		at := place{shard, p}
		if f.out[at] {
			continue
		}
		marks, err := r.online.Marks(ctx, p)
		if _, corrupt := errors.AsType[*transforms.CorruptError](err); corrupt {
			r.leaveOut(at, Corrupt, err.Error())
			continue
		}
		if err != nil {
			return err
		}
		was := f.before[at]
		f.after[at] = marks[shard]
		if m := marks[shard]; m.Phase != marker.Live || m.Next < was.Next || m.TopicID != was.TopicID {
			r.leaveOut(at, Lag, "it went back while it was read (a failover, or it is being rebuilt): run again")
		}
	}
	return nil
}

// evidence returns what is known of a place.
func (r *run) evidence(at place) Evidence {
	ev := noEvidence("")
	if m, ok := r.frame.after[at]; ok && m.Phase == marker.Live {
		ev.MarkerNext, ev.MarkerClock = m.Next, Instant(m.Clock)
	}
	if pc, ok := r.frame.cut.Partitions[at.partition]; ok {
		ev.CutEnd, ev.CutClock = pc.End, Instant(r.frame.cutClock(at.partition))
	}
	return ev
}

// hopText formats a hop such as 5m, 1h or 24h.
func hopText(h schemas.Micros) string {
	text := (time.Duration(h) * time.Microsecond).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if n := len(text) - len(zero); n > 0 && text[n:] == zero {
			text = text[:n+1]
		}
	}
	return text
}
