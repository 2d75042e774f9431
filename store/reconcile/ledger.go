package reconcile

import (
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// ledgers compares the ledgers of the places at which both sides stand at one
// position and began at one (V8, R1).
func (r *run) ledgers() {
	f, l := &r.frame, &r.rep.Ledgers
	l.Online, l.Offline = []LedgerEntry{}, []LedgerEntry{}
	offline := map[place]transforms.Ledger{}
	for _, e := range r.offline.Info().Ledgers {
		offline[place{e.Shard, e.Partition}] = e.Ledger
		l.Offline = append(l.Offline, e)
	}
	for _, p := range f.partitions {
		for shard := range r.shards {
			at := place{shard, p}
			if f.out[at] {
				l.NotComparable++
				continue
			}
			m := f.before[at]
			l.Online = append(l.Online, LedgerEntry{Shard: shard, Partition: p, Ledger: m.Ledger})
			if pc, in := f.cut.Partitions[p]; !in || m.Next != pc.End || m.ValidFrom != f.validFrom || r.isTable() {
				l.NotComparable++
				continue
			}
			off, ok := offline[at]
			r.ledger(at, m.Ledger, off, ok)
		}
	}
}

func (r *run) ledger(at place, on, off transforms.Ledger, ok bool) {
	l := &r.rep.Ledgers
	l.Compared++
	if on == off {
		return
	}
	l.Different++
	c, side := Logic, Side("")
	if !ok {
		c, side = Missing, OnOffline
	}
	d := r.difference(LedgerKind, at, c, side, r.evidence(at))
	d.Online, d.Offline = on.String(), "nothing"
	if ok {
		d.Offline = off.String()
	}
	r.add(&finding{Difference: d, ask: askLedger, place: at, ledgerOn: on, ledgerOff: off, offHas: ok})
}

// finish draws the verdict.
func (r *run) finish() *Report {
	rep := r.rep
	for at, m := range r.frame.after {
		if !r.frame.out[at] {
			rep.ValidFrom = max(rep.ValidFrom, Instant(m.ValidFrom))
		}
	}
	if rep.Values > 0 {
		rep.DivergingShare = float64(rep.Diverging) / float64(rep.Values)
	}
	rep.Alert = beyond(rep.Diverging, rep.Values)
	for i := range rep.Features {
		rep.Alert = rep.Alert || beyond(rep.Features[i].Diverging, rep.Features[i].Compared)
	}
	switch {
	case rep.Differences > 0:
		rep.Verdict = Differs
	case rep.Cells != nil && rep.Cells.Compared > 0:
		rep.Verdict = Equal
	case rep.Tiles == 0 || rep.Values == 0:
		rep.Verdict = NothingCompared
		r.explain()
	default:
		rep.Verdict = Equal
	}
	r.zeros()
	return rep
}

// explain says why nothing was compared and what to do.
func (r *run) explain() {
	rep := r.rep
	switch {
	case len(rep.Why) > 0:
	case r.frame.b == schemas.Never:
		r.why("nothing is closed yet: replay up to a later cut")
	case rep.Entities == 0 && rep.Sample < 1:
		r.why("no entity is in the sample of %g: take a greater one", rep.Sample)
	case rep.Entities == 0:
		r.why("neither store has an entity")
	case rep.Cells != nil:
		r.explainTable()
	case rep.OutOfReach > 0:
		r.why("the closed windows are out of reach, as one side may have dropped them: replay up to a cut near the position of the online store")
	case rep.Incomplete > 0:
		r.why("all closed windows begin at or before %v, where the fold began (K8): wait until later ones have closed", rep.ValidFrom)
	case rep.OpenTiles == 0 && rep.Tiles == 0:
		r.why("the newest events lie so far before the log clock that both sides have dropped the tiles: %d values were compared, which alone is no proof. Replay up to a cut nearer to the events, or wait for newer ones to close", rep.Values)
	default:
		r.why("no window of an entity is closed: %d tiles are open, everything before %v is closed. Append ticks (`tallystick tick`) or wait for records, then replay up to a later cut", rep.OpenTiles, rep.Boundary)
	}
}

// zeros notes the levels and features of which nothing was compared.
func (r *run) zeros() {
	if r.rep.Verdict == NothingCompared || r.frame.b == schemas.Never {
		return
	}
	for _, l := range r.rep.Levels {
		if l.Compared == 0 {
			r.note("not compared: no closed tile of level %s is within reach (%d out of reach, %d incomplete, %d open)", l.Hop, l.OutOfReach, l.Incomplete, l.OpenOnline+l.OpenOffline)
		}
	}
	for _, f := range r.rep.Features {
		if f.Compared == 0 {
			if r.isTable() {
				r.note("not compared: feature %s has no value where all cells of an entity are comparable (%d entities are not)", f.Feature, f.OutOfReach)
				continue
			}
			r.note("not compared: feature %s has no value within reach (%d out of reach, %d incomplete)", f.Feature, f.OutOfReach, f.Incomplete)
		}
	}
}
