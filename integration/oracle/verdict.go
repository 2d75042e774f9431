package oracle

import (
	"math"
	"math/big"
	"sort"
)

// NoClock is the clock of a partition whose log has not driven it yet.
const NoClock = math.MinInt64

// Outcome is what became of a record; the order is the ledger's (V8).
type Outcome int

// The outcomes.
const (
	Applied Outcome = iota
	Filtered
	Duplicate
	Superseded
	Late
	Future
	Invalid
)

// Verdict is the outcome of one record and what else its arrival did.
type Verdict struct {
	Tick    bool // no verdict: ticks are not read
	Outcome Outcome
	// Conflict: a duplicate whose content differs from the one in force (V7).
	Conflict bool
	// Replaced: the record at ReplacedOffset went from ReplacedOutcome to superseded.
	Replaced        bool
	ReplacedOutcome Outcome
	ReplacedOffset  int64
	SealedEarly     int  // ids that max_open made forgotten
	Changed         bool // whether the entity's state is another one now
}

// Snapshot is what is known after a prefix of one partition's log.
type Snapshot struct {
	Clock  int64
	Read   int64 // records but ticks
	Ledger [7]int64
	// Conflicts and SealedEarly are counted beside it.
	Conflicts, SealedEarly int64
	Accepted               []*Record // in force and passing the filter, by arrival
}

// exceeds tells whether a - b > d, in integers without bounds (V6).
func exceeds(a, b, d int64) bool {
	x := new(big.Int).Sub(big.NewInt(a), big.NewInt(b))
	return x.Cmp(big.NewInt(d)) > 0
}

// Clocks returns the log clock at each record of one partition (§3, K7).
func Clocks(c *Config, log []Record) []int64 {
	out := make([]int64, len(log))
	for n := range log {
		out[n] = NoClock
		for i := range log[:n+1] {
			out[n] = max(out[n], drives(c, &log[i]))
		}
	}
	return out
}

// drives returns where a record pushes the clock.
func drives(c *Config, r *Record) int64 {
	if r.Offset >= c.History[r.Partition] {
		return r.Timestamp
	}
	if r.Kind != Data || exceeds(r.EventTime, r.Timestamp, c.MaxFuture) {
		return NoClock
	}
	return r.EventTime
}

// sighting is a record that counted or was recognised.
type sighting struct {
	r        *Record
	accepted bool // counted or filtered when it came
	force    bool // not replaced since
	gone     bool // its id is forgotten
}

type judge struct {
	c    *Config
	seen []*sighting
	led  [7]int64
}

// Verdicts judges one partition's log, with the clock at each record, record by
// record (V6-V8). snaps[n] is what is known before record n; snaps[len(log)]
// after all.
func Verdicts(c *Config, log []Record, clocks []int64) (verdicts []Verdict, snaps []Snapshot) {
	j := &judge{c: c}
	snaps = append(snaps, Snapshot{Clock: NoClock})
	var read, conflicts, early int64
	for i := range log {
		v := Verdict{Tick: true}
		if log[i].Kind != Tick {
			read++
			v = j.record(&log[i], clocks[i])
			j.led[v.Outcome]++
			if early += int64(v.SealedEarly); v.Conflict {
				conflicts++
			}
		}
		verdicts = append(verdicts, v)
		snaps = append(snaps, Snapshot{Clock: clocks[i], Read: read, Ledger: j.led, Accepted: j.accepted(),
			Conflicts: conflicts, SealedEarly: early})
	}
	return verdicts, snaps
}

func (j *judge) accepted() (rs []*Record) {
	for _, s := range j.seen {
		if s.force && s.r.Pass {
			rs = append(rs, s.r)
		}
	}
	return rs
}

// late returns how far behind the clock records may lie at r.
func (c *Config) late(r *Record) int64 {
	if r.Offset < c.History[r.Partition] && c.LoadLateness != 0 {
		return c.LoadLateness
	}
	return c.Lateness
}

// record applies the tests of V6 in their order.
func (j *judge) record(r *Record, clock int64) Verdict {
	c := j.c
	switch {
	case r.Kind == Bad || r.Entity == "" || r.Invalid,
		c.Identity != ByNothing && !r.HasID, c.Identity == ByVersion && !r.HasVer:
		return Verdict{Outcome: Invalid}
	case exceeds(r.EventTime, clock, c.MaxFuture):
		return Verdict{Outcome: Future}
	case exceeds(clock, r.EventTime, c.late(r)):
		return Verdict{Outcome: Late}
	case c.Identity == ByNothing:
		j.seen = append(j.seen, &sighting{r: r, accepted: true, force: true})
		return Verdict{Outcome: byFilter(r), Changed: r.Pass}
	}
	return j.identified(r, clock)
}

func byFilter(r *Record) Outcome {
	if r.Pass {
		return Applied
	}
	return Filtered
}

// identified judges a record with an id (V7).
func (j *judge) identified(r *Record, clock int64) Verdict {
	v := Verdict{Changed: true}
	mine := j.remembered(r, clock)
	if mine != nil {
		top, memory := inForce(mine), memory(mine)
		switch {
		case j.c.Identity == ByID || r.Version == top.r.Version:
			v.Outcome = Duplicate
			v.Conflict = j.c.Identity == ByVersion && !exceeds(clock, top.r.EventTime, j.c.late(r)) && j.differ(top.r, r)
		case r.Version < top.r.Version:
			v.Outcome = Superseded
		case exceeds(clock, top.r.EventTime, j.c.late(r)):
			return Verdict{Outcome: Late} // the one in force can no longer be taken out
		default:
			top.force = false
			v.Replaced, v.ReplacedOutcome, v.ReplacedOffset = true, byFilter(top.r), top.r.Offset
			j.led[v.ReplacedOutcome]--
			j.led[Superseded]++
		}
		if v.Outcome == Duplicate || v.Outcome == Superseded {
			v.Changed = r.EventTime > memory // a sighting lengthens the memory
			j.seen = append(j.seen, &sighting{r: r})
			return v
		}
	}
	v.Outcome = byFilter(r)
	j.seen = append(j.seen, &sighting{r: r, accepted: true, force: true})
	v.SealedEarly = j.bound(r, clock)
	return v
}

// remembered returns the sightings of r's id, none when it is forgotten: once
// the clock has left the greatest event time among them by more than lateness,
// what was seen before never counts again.
func (j *judge) remembered(r *Record, clock int64) []*sighting {
	var mine []*sighting
	for _, s := range j.seen {
		if !s.gone && s.r.Entity == r.Entity && s.r.ID == r.ID {
			mine = append(mine, s)
		}
	}
	if mine != nil && exceeds(clock, memory(mine), j.c.late(r)) {
		for _, s := range mine {
			s.gone = true
		}
		return nil
	}
	return mine
}

func memory(ss []*sighting) int64 {
	m := int64(math.MinInt64)
	for _, s := range ss {
		m = max(m, s.r.EventTime)
	}
	return m
}

func inForce(ss []*sighting) *sighting {
	for _, s := range ss {
		if s.force {
			return s
		}
	}
	return nil
}

// bound forgets the least ids in force beyond max_open; pending ones neither
// count nor go.
func (j *judge) bound(r *Record, clock int64) int {
	byID := map[string][]*sighting{}
	for _, s := range j.seen {
		if !s.gone && s.r.Entity == r.Entity {
			byID[s.r.ID] = append(byID[s.r.ID], s)
		}
	}
	var live []*sighting
	for _, ss := range byID {
		if top := inForce(ss); !exceeds(clock, memory(ss), j.c.late(r)) && top.r.EventTime <= clock {
			live = append(live, top)
		}
	}
	sort.Slice(live, func(a, b int) bool { return before(live[a].r, live[b].r) })
	n := max(0, len(live)-j.c.MaxOpen)
	for _, top := range live[:n] {
		for _, s := range byID[top.r.ID] {
			s.gone = true
		}
	}
	return n
}

// before orders events by event time, version, partition, offset (V5).
func before(a, b *Record) bool {
	switch {
	case a.EventTime != b.EventTime:
		return a.EventTime < b.EventTime
	case a.Version != b.Version:
		return a.Version < b.Version
	case a.Partition != b.Partition:
		return a.Partition < b.Partition
	}
	return a.Offset < b.Offset
}

// differ tells whether two copies differ in what the view makes of them; it
// makes nothing of what the filter keeps out.
func (j *judge) differ(force, r *Record) bool {
	if !force.Pass {
		return false
	}
	if !r.Pass || force.EventTime != r.EventTime {
		return true
	}
	for _, f := range j.c.Features {
		if f.Derived != nil {
			continue
		}
		a, b := counts(force, f), counts(r, f)
		if a != b || a && f.Input >= 0 && force.Inputs[f.Input] != r.Inputs[f.Input] ||
			a && f.Agg.ByInput() && force.Inputs[f.By] != r.Inputs[f.By] {
			return true
		}
	}
	return false
}
