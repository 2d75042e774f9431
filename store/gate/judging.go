package gate

import (
	"slices"

	"github.com/tallystick/tallystick/transforms"
)

// judging is a look at one day of a Guard, whose lock is held.
type judging struct {
	*Guard
	*seenDay
	Day
	c       *checker
	over    bool // the clocks have passed the day
	settled bool // it is closed
}

// records judges the ledger of the day.
func (j *judging) records() {
	versions := j.view.Spec().Identity == transforms.ByVersion // they take back what was applied or filtered
	read := float64(j.seenDay.records)
	more := j.o.Limits.Surplus
	j.amount(Read, read, more)
	if !versions || j.settled {
		j.amount(Events, float64(j.ledger.Applied), more)
	}
	for o := range transforms.Outcomes {
		m := measure{table: LedgerTable, statistic: Statistic(o.String() + " of the records"), kind: share, x: float64(*j.ledger.Count(o)), n: read}
		switch o {
		case transforms.Applied:
		case transforms.Filtered, transforms.Superseded:
			if !versions || j.settled {
				j.share(m, j.o.Limits.Outcome, 1)
				j.share(m, j.o.Limits.Outcome, -1)
			}
		default:
			j.share(m, j.o.Limits.Outcome, 1)
		}
	}
}

// amount judges a number of which there may be too many.
func (j *judging) amount(s Statistic, x float64, more Margin) {
	past, m := j.past(string(LedgerTable)+"\x00\x00"+string(s)), measure{table: LedgerTable, statistic: s, kind: amount, x: x}
	if part := j.part(); part < 1 {
		// How a day is divided over partitions is another one each day.
		more.Alone, more.Lasting = 2*more.Alone, 2*more.Lasting
		past = slices.Clone(past)
		for i := range past {
			past[i].x *= part
		}
	}
	m.more = more
	j.judge(m, past, "")
}

// share judges a share to one side, as if the records that a usual day has besides were
// all to the other: what is beyond a bound so stays there.
func (j *judging) share(m measure, margin Margin, side float64) {
	past := j.past(m.key())
	usual := make([]float64, len(past))
	for i := range past {
		usual[i] = past[i].n
	}
	slices.Sort(usual)
	if len(usual) == 0 {
		return
	}
	n := max(m.n, middleOf(usual)*j.part())
	mark := "more"
	if side > 0 {
		m.more, m.above = margin, true
	} else {
		m.x += n - m.n
		m.margin, mark = margin, "less"
	}
	m.n = n
	j.judge(m, past, mark)
}

// inputs judges how much of the day entered the cells that count every input.
func (j *judging) inputs() {
	if j.view.Spec().Identity == transforms.ByVersion && !j.settled {
		return
	}
	for cell, column := range j.columns {
		at := j.intake.Count(cell)
		if at < 0 || column == "" {
			continue
		}
		// What the replaced events had is not known: of it as little as may be, so that
		// what is left is at most this.
		first, newer := j.taken[at], j.newerTaken[at]
		taken := min(first-max(0, first+j.newer-j.events)+newer, j.events)
		j.share(measure{table: TilesTable, column: column, statistic: Input, kind: share, x: float64(taken), n: float64(j.events)}, j.o.Limits.Input, -1)
	}
}

// values judges the least and greatest value of each feature.
func (j *judging) values() {
	for _, i := range j.numeric {
		if j.greatest[i] < j.least[i] {
			continue // none was seen
		}
		m := measure{table: FeaturesTable, column: j.view.Spec().Features[i].Name, kind: value}
		low, high := m, m
		low.statistic, low.x, low.margin = Least, j.least[i], j.o.Limits.Extreme
		high.statistic, high.x, high.more = Greatest, j.greatest[i], j.o.Limits.Extreme
		j.judge(low, j.past(low.key()), "")
		j.judge(high, j.past(high.key()), "")
	}
}

// past returns the accepted figures of the days before.
func (j *judging) past(key string) []point {
	ps := j.base.past[key]
	n, _ := slices.BinarySearchFunc(ps, j.Day, func(p point, d Day) int { return int(p.day - d) })
	return ps[:n]
}

// accepted tells whether a figure of the day is part of what was accepted. Values of a
// day are in the rows of the boundary that ends it.
func (j *judging) accepted(m *measure) bool {
	day, newest := j.Day, j.base.closed
	if m.table == FeaturesTable {
		day, newest = j.Day+1, j.base.final
	}
	return day <= newest && !j.base.aside[Figure{m.table, day, m.column, m.statistic}]
}

// judge holds a figure against the accepted ones before it: alone, and where the day is
// over as the last of a row, with the days before that were seen here.
func (j *judging) judge(m measure, past []point, mark string) {
	if j.accepted(&m) || len(past) < j.o.Least {
		return
	}
	base := past[max(0, len(past)-j.o.Days):]
	b := j.c.beyond([]*measure{&m}, base, m.margin.Alone, m.more.Alone, 0)
	if b == nil && j.over && (m.margin.Lasting > 0 || m.more.Lasting > 0) {
		b = j.lasting(&m, past, mark)
	}
	if b == nil {
		if j.over {
			j.points[m.key()+mark] = m
		}
		return
	}
	b.Table, b.Column, b.Statistic, b.Date, b.Share = m.table, m.column, m.statistic, j.Day, m.kind == share
	j.breaches = append(j.breaches, *b)
}

// lasting compares the row of days that ends with this one.
func (j *judging) lasting(m *measure, past []point, mark string) *Breach {
	run := []*measure{m}
	for day := j.Day - 1; len(run) < j.o.Lasting; day-- {
		p, ok := measure{}, false
		if before := j.days[int64(day)]; before != nil {
			p, ok = before.points[m.key()+mark]
		}
		if i, found := slices.BinarySearchFunc(past, day, func(p point, d Day) int { return int(p.day - d) }); !ok && found {
			p, ok = past[i].measure, true
		}
		if !ok {
			return nil
		}
		run = append(run, &p)
	}
	first := j.Day - Day(j.o.Lasting-1)
	n, _ := slices.BinarySearchFunc(past, first, func(p point, d Day) int { return int(p.day - d) })
	base := past[max(0, n-j.o.Days):n]
	if n < j.o.Least {
		return nil
	}
	return j.c.beyond(run, base, m.margin.Lasting, m.more.Lasting, len(base)/10)
}
