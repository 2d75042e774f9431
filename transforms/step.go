package transforms

import (
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// Outcome is what became of a record (V6, V8).
type Outcome uint8

// The outcomes, in the order of the ledger.
const (
	Applied Outcome = iota
	Filtered
	Duplicate
	Superseded
	Late
	Future
	Invalid
	Outcomes // how many there are
)

var outcomeNames = [...]string{"applied", "filtered", "duplicate", "superseded", "late", "future", "invalid"}

func (o Outcome) String() string { return outcomeNames[o] }

// OutcomeOf is the reverse of String; false for no outcome's name.
func OutcomeOf(name string) (Outcome, bool) {
	i := slices.Index(outcomeNames[:], name)
	return Outcome(max(i, 0)), i >= 0
}

// Verdict says what became of a record and why (V6).
type Verdict struct {
	Outcome  Outcome
	Conflict bool   // a duplicate with other content (V7)
	Reason   string // for late, future, invalid and conflicts
	// Replaced: the event at ReplacedOffset, whose outcome was ReplacedOutcome,
	// is now superseded.
	Replaced          bool
	ReplacedOutcome   Outcome
	ReplacedOffset    int64
	ReplacedEventTime schemas.Micros
	// SealedEarly counts the ids that max_open made the state forget.
	SealedEarly int
}

// Quarantined tells whether the record goes to the quarantine (V8).
func (r *Verdict) Quarantined() bool {
	return r.Outcome == Late || r.Outcome == Future || r.Outcome == Invalid || r.Conflict
}

// Step folds one record into the state of its entity and partition: the only
// way a state changes (V6, V7, V11). Records come in offset order. s may be nil
// when the record has no entity, as it then cannot change anything.
func (v *View) Step(s *State, in *Input) Verdict {
	if r, out := v.Screen(in); out {
		return r
	}
	if v.spec.Identity != Anonymous {
		return v.stepID(s, in, v.horizon(in))
	}
	if v.spec.Table {
		return v.stepTable(s, in)
	}
	if !in.Accept {
		return Verdict{Outcome: Filtered}
	}
	v.dropLater(s)
	v.release(s, in.Clock, schemas.Never)
	v.place(s, in, nil)
	if s.last, s.clock = in.Offset, in.Clock; s.KeepEvicted {
		v.drop(s, s.clock)
	}
	return Verdict{Outcome: Applied}
}

// Screen returns the verdict on a record that its own clock and content decide:
// invalid, future or late. Such a record changes no state.
func (v *View) Screen(in *Input) (r Verdict, out bool) {
	switch {
	case in.Fault != nil:
		return Verdict{Outcome: Invalid, Reason: in.Fault.Error()}, true
	case in.EventTime > in.Clock.AddSat(v.spec.MaxFuture):
		return Verdict{Outcome: Future, Reason: futureReason}, true
	case in.EventTime < v.horizon(in) && !v.spec.Table:
		return Verdict{Outcome: Late, Reason: lateReason}, true
	}
	return Verdict{}, false
}

const (
	futureReason   = "its event time is further ahead of the log clock than max_future"
	lateReason     = "its event time is further behind the log clock than lateness"
	lateSealed     = "the version in force is further behind the log clock than lateness"
	conflictReason = "conflict: the same id and version with other content"
)

// stepID is Step for sources with ids (V7).
func (v *View) stepID(s *State, in *Input, horizon schemas.Micros) Verdict {
	cur := s.ids.find(in.ID)
	if cur != nil && cur.memory < horizon {
		cur = nil // its memory has ended; advance forgets it
	}
	if cur != nil {
		if v.spec.Identity == ByID || in.Version <= cur.version {
			return v.repeat(s, cur, in, horizon)
		}
		if cur.eventTime < horizon {
			return Verdict{Outcome: Late, Reason: lateSealed}
		}
	}
	v.advance(s, in.Clock, horizon)
	r := Verdict{Outcome: Applied}
	if !in.Accept {
		r.Outcome = Filtered
	}
	if s.ids == nil {
		s.ids = v.newIdentities()
	}
	d := cur
	if d == nil {
		d = s.ids.add(in.ID)
		d.memory = in.EventTime
	} else {
		r.Replaced, r.ReplacedOffset, r.ReplacedEventTime, r.ReplacedOutcome = true, cur.offset, cur.eventTime, Filtered
		if cur.accepted {
			r.ReplacedOutcome = Applied
		}
		v.takeOut(s, cur)
	}
	d.version, d.eventTime, d.offset, d.accepted = in.Version, in.EventTime, in.Offset, in.Accept
	d.memory = max(d.memory, in.EventTime)
	s.ids.put(d, in.Clock)
	if in.Accept {
		v.place(s, in, d)
	}
	r.SealedEarly = v.sealEarly(s)
	s.last, s.clock = in.Offset, in.Clock
	return r
}

// repeat handles a version that does not take the place of the one in force.
// Seeing it lengthens the id's memory.
func (v *View) repeat(s *State, cur *identity, in *Input, horizon schemas.Micros) Verdict {
	r := Verdict{Outcome: Duplicate}
	switch {
	case v.spec.Identity == ByVersion && in.Version < cur.version:
		r.Outcome = Superseded
	case v.spec.Identity == ByVersion && cur.eventTime >= horizon && v.conflicts(s, cur, in):
		r.Conflict, r.Reason = true, conflictReason
	}
	if in.EventTime > cur.memory {
		v.advance(s, in.Clock, horizon)
		s.ids.lengthen(cur, in.EventTime)
		s.last, s.clock = in.Offset, in.Clock
	}
	return r
}

// conflicts tells whether a copy differs, in what this view reads, from the
// event in force while that is kept raw (V7). Whether it is still open goes by
// the record's own clock: a state that no record advanced may hold it longer
// than a trimmed one does.
func (v *View) conflicts(s *State, cur *identity, in *Input) bool {
	row, raw := "", cur.open
	if raw {
		row = s.ids.rowOf(cur)
	} else if cur.accepted {
		if i := s.pendingAt(cur.offset); i >= 0 {
			row, raw = s.pending[i].row, true
		}
	}
	if !raw {
		return false
	}
	in.row = in.appendRow(in.row[:0])
	return !in.Accept || in.EventTime != cur.eventTime || string(in.row) != row
}

// takeOut removes what the event in force of d added, which is still raw.
func (v *View) takeOut(s *State, d *identity) {
	s.ids.take(d)
	if d.open {
		v.touch(s, d.eventTime)
		s.ids.closed(d)
	} else if d.accepted {
		s.takePending(d.offset)
	}
}

// place enters an accepted event: pending while it lies ahead of the clock,
// open while it can be replaced, else sealed (V4, V7).
func (v *View) place(s *State, in *Input, d *identity) {
	in.order.set(in.EventTime, in.Version, s.partition, in.Offset)
	ahead := in.EventTime > in.Clock || s.strict && in.EventTime == in.Clock
	if !ahead && v.spec.Identity != ByVersion {
		v.touch(s, in.EventTime)
		v.seal(s, in)
		return
	}
	in.row = in.appendRow(in.row[:0])
	if ahead {
		s.pending = append(s.pending, held{in.EventTime, in.Version, in.Offset, string(in.row), d})
		return
	}
	v.touch(s, in.EventTime)
	s.ids.opened(d, in.row)
}

// advance settles what the clock has passed: pending events become open or
// sealed, open ones before the horizon sealed, ids forgotten, old tiles dropped
// (V11).
func (v *View) advance(s *State, clock, horizon schemas.Micros) {
	v.release(s, clock, horizon)
	if s.ids != nil {
		s.ids.settleAhead(clock)
	}
	v.expire(s, horizon)
	v.drop(s, clock)
}

// release opens or seals the pending events that the clock has passed.
func (v *View) release(s *State, clock, horizon schemas.Micros) {
	if len(s.pending) == 0 {
		return
	}
	limit := clock
	if s.strict {
		limit--
	}
	v.settle(s, limit, func(h *held) bool { return v.spec.Identity == ByVersion && h.id != nil && h.eventTime >= horizon })
}

// settle takes the pending events up to limit, and opens or seals them.
func (v *View) settle(s *State, limit schemas.Micros, opens func(*held) bool) {
	kept := s.pending[:0]
	for i := range s.pending {
		h := s.pending[i]
		switch {
		case h.eventTime > limit:
			kept = append(kept, h)
			continue
		case opens(&h):
			s.ids.opened(h.id, []byte(h.row))
		default:
			v.sealHeld(s, &h)
		}
		v.touch(s, h.eventTime)
	}
	clear(s.pending[len(kept):])
	s.pending = kept
}

// expire seals open events and forgets ids that end before horizon.
func (v *View) expire(s *State, horizon schemas.Micros) {
	if s.ids == nil {
		return
	}
	for d := s.ids.nextOpen(horizon); d != nil; d = s.ids.nextOpen(horizon) {
		v.sealOpen(s, d)
	}
	s.ids.forgetBefore(horizon)
}

func (v *View) sealOpen(s *State, d *identity) {
	v.touch(s, d.eventTime)
	h := s.ids.openEvent(d)
	v.sealHeld(s, &h)
	s.ids.closed(d)
}

// sealEarly holds the number of remembered ids, those ahead of the clock not
// counted, to max_open: the least in force are sealed and forgotten (V7).
func (v *View) sealEarly(s *State) (n int) {
	if s.ids.len() <= v.spec.MaxOpen {
		return 0
	}
	for excess := s.ids.len() - len(s.ids.ahead) - v.spec.MaxOpen; n < excess; n++ {
		d := s.ids.least()
		if d.open {
			v.sealOpen(s, d)
		} else if d.accepted && s.strict {
			s.orphan(d)
		}
		s.ids.forget(d)
	}
	return n
}

// orphan makes a pending event one that no id can replace any more.
func (s *State) orphan(d *identity) {
	if i := s.pendingAt(d.offset); i >= 0 {
		s.pending[i].id = nil
	}
}

// touch marks the open-part fields in which the tiles of an event at t keep
// their sealed cells, when the state has an open part.
func (v *View) touch(s *State, t schemas.Micros) {
	if s.ids == nil || v.spec.Identity != ByVersion {
		return
	}
	for li := range v.levels {
		s.ids.touch(bucketOf(t.Floor(v.levels[li].hop)))
	}
}

// Accept enters an event whose verdict is already known, in order of event
// time: for training with complete knowledge. The state stands for all
// partitions; Value may be asked at any t beyond the event times entered.
func (v *View) Accept(s *State, in *Input) {
	if v.spec.Table {
		v.acceptTable(s, in)
		return
	}
	v.drop(s, in.EventTime)
	in.order.set(in.EventTime, in.Version, in.Partition, in.Offset)
	v.seal(s, in)
	s.last, s.clock = in.Offset, in.EventTime
}

// Trim settles the state at a closed boundary b, a closed clock minus lateness:
// pending and open events before b are sealed, ids whose memory ends before b
// forgotten, tiles that end at or before b + lateness - retention dropped, and
// what is left divided anew into old tiles and newer ones. Two states with the same
// records are equal after a Trim at the same b (V11).
func (v *View) Trim(s *State, b schemas.Micros) {
	if v.spec.Table {
		v.settleTable(s, b.SubSat(1))
		s.trimmed = max(s.trimmed, b)
		return
	}
	v.drop(s, s.clock)
	v.settle(s, b.SubSat(1), func(*held) bool { return false })
	v.expire(s, b)
	v.dropAll(s, s.clock)
	v.dropAll(s, b.AddSat(v.spec.Lateness))
	v.divideAnew(s)
	s.trimmed = max(s.trimmed, b)
}
