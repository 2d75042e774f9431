package integration

import (
	"fmt"
	"math"
	"time"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
)

// starts are where histories begin: boundaries of months, weeks, years and leap
// days, and both sides of the epoch.
var starts = []time.Time{
	time.Date(2024, 2, 28, 22, 0, 0, 0, time.UTC), time.Date(2023, 12, 31, 12, 0, 0, 0, time.UTC),
	time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2013, 11, 3, 5, 0, 0, 0, time.UTC),
	time.Date(1969, 12, 31, 20, 0, 0, 0, time.UTC), time.Date(1960, 2, 28, 23, 0, 0, 0, time.UTC),
}

// generator draws the logs of a scenario.
type generator struct {
	*scenario
	now     int64
	past    []int64 // by partition: where its load of old events stands
	unit    int64   // of small steps
	jumps   bool    // the clock jumps by days
	regress bool    // record timestamps go back (CreateTime)
	idle    int     // a partition that rarely sees a record, -1 = none
	grid    int64
	// entities are drawn from; one alone gets long states.
	entities []string
}

// generate fills s.logs and s.order with n records.
func (s *scenario) generate(n int) {
	g := &generator{scenario: s, now: pick(s.r, starts...).UnixMicro(), jumps: s.r.IntN(3) == 0, regress: s.r.IntN(2) == 0, idle: -1}
	g.unit = pick(s.r, second, minute, 5*minute, 20*minute, hour, 6*hour)
	g.grid = pick(s.r, s.hops...)
	if g.entities = []string{"a", "a", "b", "c"}; s.r.IntN(4) == 0 {
		g.entities = g.entities[:1]
	}
	if s.r.IntN(3) == 0 {
		g.idle = s.r.IntN(s.parts)
	}
	s.logs = make([][]oracle.Record, s.parts)
	for range s.parts {
		g.past = append(g.past, g.now-pick(s.r, day, 10*day, 60*day))
	}
	for range n {
		g.advance()
		p := s.r.IntN(s.parts)
		if p == g.idle && s.r.IntN(6) > 0 {
			continue
		}
		s.logs[p] = append(s.logs[p], g.record(p))
		s.order = append(s.order, p)
	}
}

func (g *generator) advance() {
	g.now += pick(g.r, 0, 0, 1, g.unit, g.unit, 2*g.unit, 5*g.unit)
	if g.r.IntN(8) == 0 {
		g.now = ceil(g.now, g.grid) + pick[int64](g.r, -1, 0, 0, 1)
	}
	if g.jumps && g.r.IntN(9) == 0 {
		g.now += pick(g.r, day, 2*day, 3*day, 8*day, 20*day, 45*day)
	}
}

func ceil(x, h int64) int64 { return int64(-schemas.Micros(-x).Floor(schemas.Micros(h))) }

// record draws the next record of partition p.
func (g *generator) record(p int) oracle.Record {
	log, r := g.logs[p], g.r
	rec := oracle.Record{Partition: int32(p), Offset: int64(len(log)), Timestamp: g.now,
		Entity: pick(r, g.entities...), ID: fmt.Sprint("i", len(log)), HasID: true, HasVer: true,
		Version: int64(1 + r.IntN(5)), Pass: r.IntN(5) > 0, Filters: []bool{r.IntN(3) > 0, r.IntN(2) > 0}}
	for _, k := range inputKinds {
		v := oracle.Val{}
		if r.IntN(5) > 0 {
			v = g.val(k)
		}
		rec.Inputs = append(rec.Inputs, v)
	}
	if g.regress {
		rec.Timestamp -= pick(r, 0, 0, 0, 1, g.unit, 3*g.unit, g.Lateness)
	}
	base := g.now
	if rec.Offset < g.History[int32(p)] {
		g.past[p] += pick(r, 0, g.unit, 4*g.unit)
		base = g.past[p]
	}
	rec.EventTime = base - pick(r, 0, 0, 1, g.unit, 2*g.unit, 5*g.unit, g.Lateness/2, g.Lateness-1, g.Lateness, g.Lateness+1, g.LoadLateness, g.LoadLateness+1) +
		pick(r, 0, 0, 0, 0, 1, g.unit, g.MaxFuture, g.MaxFuture+1)
	if r.IntN(6) == 0 {
		rec.EventTime = int64(schemas.Micros(rec.EventTime).Floor(schemas.Micros(g.grid))) + pick[int64](r, -1, 0, 0, 1)
	}
	g.special(&rec, log)
	if g.Identity != oracle.ByVersion {
		rec.Version = 0
	}
	return rec
}

// special turns some records into ticks, faults, copies and corrections.
func (g *generator) special(rec *oracle.Record, log []oracle.Record) {
	r := g.r
	switch x := r.IntN(100); {
	case x < 6:
		rec.Kind = oracle.Tick
		return
	case x < 9:
		rec.Kind = oracle.Bad
		return
	case x < 11:
		rec.Entity = ""
	case x < 13:
		rec.Invalid = true
	case x < 14:
		rec.HasID = false
	case x < 15:
		rec.HasVer = false
	case x == 15 && rec.Offset >= g.History[rec.Partition]: // no clock goes there
		rec.EventTime = pick[int64](r, math.MinInt64, math.MaxInt64, math.MaxInt64-g.MaxFuture)
	}
	var data []*oracle.Record
	for i := range log {
		if log[i].Kind == oracle.Data && log[i].HasID {
			data = append(data, &log[i])
		}
	}
	if len(data) == 0 || r.IntN(2) == 0 {
		return
	}
	if r.IntN(4) > 0 {
		data = data[max(0, len(data)-6):]
	}
	g.copyOf(rec, pick(r, data...))
}

// copyOf makes rec a copy or a correction of o.
func (g *generator) copyOf(rec, o *oracle.Record) {
	r := g.r
	rec.ID = o.ID
	if r.IntN(30) > 0 { // else an id that breaks its scope: another event by rule
		rec.Entity = o.Entity
	}
	switch y := r.IntN(20); {
	case y < 7: // redelivered
		rec.EventTime, rec.Version, rec.Pass, rec.Filters, rec.Inputs = o.EventTime, o.Version, o.Pass, o.Filters, o.Inputs
	case y < 17 && !g.still:
		d := pick(r, 0, 0, 1, -1, g.unit, -g.unit, 5*g.unit, -3*g.unit, g.grid, -g.grid, g.Lateness, g.MaxFuture)
		rec.EventTime = int64(schemas.Micros(o.EventTime).AddSat(schemas.Micros(d)))
		if r.IntN(3) == 0 {
			rec.Pass, rec.Filters, rec.Inputs = o.Pass, o.Filters, o.Inputs
		}
		if r.IntN(3) == 0 {
			rec.Version = o.Version
		}
	case g.still && rec.Entity == o.Entity:
		rec.EventTime = o.EventTime
	case g.still:
		rec.ID += "'"
	}
}
