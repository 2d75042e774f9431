package gate

import (
	"fmt"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// Margin says how far a figure may lie beyond what the baseline has seen: alone, or
// where the dates before it, Options.Lasting of them in all, lie beyond it as well.
// 0 = not looked at.
type Margin struct {
	Alone   float64 `json:"alone"`
	Lasting float64 `json:"lasting"`
}

// Limits are the margins. Those of shares are differences of shares, of amounts parts
// of the least or greatest amount of the baseline, of values parts of what the column
// is like: the greatest of the edge of the baseline, the distance of the column's
// values and the spread of the statistic.
type Limits struct {
	Rows     Margin `json:"rows"`
	Events   Margin `json:"events"`  // fewer than ever
	Surplus  Margin `json:"surplus"` // more events than ever
	Distinct Margin `json:"distinct"`
	Nulls    Margin `json:"nulls"`
	Status   Margin `json:"status"`
	Input    Margin `json:"input"`
	Outcome  Margin `json:"outcome"`
	Middle   Margin `json:"middle"` // mean and median
	Quartile Margin `json:"quartile"`
	Tail     Margin `json:"tail"`    // 5 % and 95 %
	Extreme  Margin `json:"extreme"` // 1 %, 99 %, least, greatest
}

// Options say what is allowed. The zero Options are DefaultOptions.
type Options struct {
	// Days is how many dates before a date are its baseline at most, Least how many
	// at least: with fewer it is accepted unseen.
	Days  int `json:"days"`
	Least int `json:"least"`
	// Lasting is how many dates in a row are a shift that lasts.
	Lasting int `json:"lasting"`
	// Sigmas is how many standard deviations of chance a share or an amount has
	// besides, by how many there are.
	Sigmas float64 `json:"sigmas"`
	Limits Limits  `json:"limits"`
	// Snapshots is the distance of the boundaries, to know which dates have any.
	Snapshots schemas.Micros `json:"snapshots"`
}

// DefaultOptions are what docs/gate.md states figures of.
func DefaultOptions() Options {
	return Options{Days: 28, Least: 7, Lasting: 3, Sigmas: 4, Snapshots: schemas.Day, Limits: Limits{
		Rows:     Margin{0.6, 0.3},
		Events:   Margin{0.6, 0.3},
		Surplus:  Margin{0.3, 0.15},
		Distinct: Margin{1, 0},
		Nulls:    Margin{0.1, 0},
		Status:   Margin{0.1, 0},
		Input:    Margin{0.6, 0.04},
		Outcome:  Margin{0.3, 0.015},
		Middle:   Margin{0.6, 0},
		Quartile: Margin{1, 0},
		Tail:     Margin{1.5, 0},
		Extreme:  Margin{8, 0},
	}}
}

// Validate reports what is no option.
func (o *Options) Validate() error {
	if o.Least < 2 || o.Days < o.Least || o.Lasting < 2 || !isAmount(o.Sigmas) || o.Snapshots <= 0 {
		return fmt.Errorf("gate: days %d must be at least least %d, that at least 2, lasting %d at least 2, sigmas %g not negative, snapshots %d µs positive",
			o.Days, o.Least, o.Lasting, o.Sigmas, int64(o.Snapshots))
	}
	l := &o.Limits
	for _, m := range []struct {
		of string
		Margin
	}{{"rows", l.Rows}, {"events", l.Events}, {"surplus", l.Surplus}, {"distinct", l.Distinct}, {"nulls", l.Nulls}, {"status", l.Status},
		{"input", l.Input}, {"outcome", l.Outcome}, {"middle", l.Middle}, {"quartile", l.Quartile}, {"tail", l.Tail}, {"extreme", l.Extreme}} {
		if !isAmount(m.Alone) || !isAmount(m.Lasting) {
			return fmt.Errorf("gate: the limit of %s, {alone: %g, lasting: %g}, must be numbers from 0 on", m.of, m.Alone, m.Lasting)
		}
	}
	return nil
}

// isAmount tells whether a number is finite and not negative.
func isAmount(x float64) bool { return x >= 0 && x <= math.MaxFloat64 }

// Report is what Check found.
type Report struct {
	Dates  int `json:"dates"`  // that were looked at
	Checks int `json:"checks"` // figures that were compared
	// NoBaseline has the dates before which there are fewer than Options.Least: they
	// are accepted as they are.
	NoBaseline []Day `json:"no_baseline,omitempty"`
	// Open has the dates of which something can still change: that is not looked at.
	Open     []Day    `json:"open,omitempty"`
	Breaches []Breach `json:"breaches,omitempty"`
	// Settled is how many figures lie outside what is allowed, but were accepted as
	// they are.
	Settled int `json:"settled,omitempty"`
	// Used is the greatest part of its room that a figure beyond the baseline has taken
	// without a breach: what is near 1 is close to one.
	Used map[Statistic]float64 `json:"used,omitempty"`
}

// Breach is one figure that lies outside what is allowed.
type Breach struct {
	Table     Table     `json:"table"`
	Date      Day       `json:"date"`
	Column    string    `json:"column,omitempty"` // several, where they read one cell
	Statistic Statistic `json:"statistic"`
	Is        float64   `json:"is"`
	// Least and Greatest of the baseline; Allowed is the bound that is passed.
	Least    float64 `json:"least"`
	Greatest float64 `json:"greatest"`
	Allowed  float64 `json:"allowed"`
	Dates    int     `json:"baseline_dates"`
	Aside    int     `json:"aside,omitempty"` // so many outermost of them are left out, at each end
	// Lasting is how many dates in a row are beyond the bound; 1 = this one alone.
	Lasting int  `json:"lasting"`
	Share   bool `json:"share,omitempty"` // the figures are shares of 1
	Exact   bool `json:"exact,omitempty"` // Is must be Allowed, whatever the baseline
}

// point is a figure of the baseline.
type point struct {
	measure
	day Day
}

// Check holds the days of a run against the accepted ones: each day against those
// before it, days of the run without a breach among them. Both ascend; a day of the
// run takes the place of the accepted one.
func Check(accepted, now []Profile, o Options) (*Report, error) {
	return check(&Record{Profiles: accepted}, now, o)
}

func check(before *Record, now []Profile, o Options) (*Report, error) {
	accepted := before.Profiles
	if o == (Options{}) {
		o = DefaultOptions()
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &checker{Options: o, past: map[string][]point{}, settled: map[Figure]float64{}, aside: map[Figure]bool{}, report: &Report{Used: map[Statistic]float64{}}}
	for _, s := range before.Settled {
		c.settled[s.Figure] = s.Is
	}
	for _, f := range before.Aside {
		c.aside[f] = true
	}
	i := 0
	for _, p := range c.withMissing(accepted, now) {
		for i < len(accepted) && accepted[i].Day < p.Day {
			c.accept(&accepted[i])
			i++
		}
		if i < len(accepted) && accepted[i].Day == p.Day {
			i++
		}
		c.day(&p)
	}
	return c.report, nil
}

type checker struct {
	Options
	past    map[string][]point // by measure, ascending: the newest Days + Lasting
	settled map[Figure]float64
	aside   map[Figure]bool
	report  *Report
}

// tell reports a breach, unless it was accepted with that very figure.
func (c *checker) tell(b *Breach) (told bool) {
	if is, ok := c.settled[b.Figure()]; ok && is == b.Is {
		c.report.Settled++
		return false
	}
	c.report.Breaches = append(c.report.Breaches, *b)
	return true
}

// seen tells whether anything of a day counts: not only records that were refused,
// whose event time may be anything.
func (p *Profile) seen() bool { return p.Rows > 0 || p.Ledger.Applied != 0 }

// withMissing returns the days of the run, and as days without rows those that it has
// nothing of, though it has later ones that are final: from the first day on of which
// anything is known.
func (c *checker) withMissing(accepted, now []Profile) []Profile {
	first := slices.IndexFunc(now, func(p Profile) bool { return p.seen() })
	known := map[Day]bool{}
	next, begun := Day(0), false
	for i := range accepted {
		known[accepted[i].Day] = true
		if first < 0 || accepted[i].Day < now[first].Day {
			next, begun = accepted[i].Day+1, true
		}
	}
	if !begun {
		if first < 0 {
			return nil
		}
		next, now = now[first].Day, now[first:]
	}
	out, missing := make([]Profile, 0, len(now)), 0
	for _, p := range now {
		for ; p.Final && next < p.Day && missing < maxMissing; next++ {
			if !known[next] {
				missing++
				out = append(out, Profile{Day: next, Final: true, Closed: p.Closed})
			}
		}
		next = max(next, p.Day+1)
		out = append(out, p)
	}
	return out
}

// maxMissing bounds the days that a gap is told as.
const maxMissing = 4_000

// bounded tells whether a boundary lies on the day.
func (c *checker) bounded(d Day) bool {
	return (schemas.Micros(d+1)*schemas.Day - 1).Floor(c.Snapshots) >= schemas.Micros(d)*schemas.Day
}

func (c *checker) measures(p *Profile) []measure {
	q := *p
	q.Final = q.Final && c.bounded(p.Day)
	return q.measures(&c.Limits)
}

func (c *checker) accept(p *Profile) {
	for _, m := range c.measures(p) {
		if !c.aside[Figure{m.table, p.Day, m.column, m.statistic}] {
			c.keep(point{m, p.Day})
		}
	}
}

func (c *checker) keep(p point) {
	k := p.key()
	ps := append(c.past[k], p)
	if len(ps) > c.Days+c.Lasting {
		ps = slices.Delete(ps, 0, 1)
	}
	c.past[k] = ps
}

func (c *checker) day(p *Profile) {
	c.report.Dates++
	if !p.Final || !p.Closed {
		c.report.Open = append(c.report.Open, p.Day)
	}
	c.exact(p)
	based := false
	for _, m := range c.measures(p) {
		past := c.past[m.key()]
		if len(past) < c.Least {
			c.keep(point{m, p.Day})
			continue
		}
		based = true
		c.report.Checks++
		if b := c.breach(&m, past); b != nil {
			b.Table, b.Column, b.Statistic, b.Date, b.Share = m.table, m.column, m.statistic, p.Day, m.kind == share
			if c.tell(b) {
				continue
			}
		}
		c.keep(point{m, p.Day})
	}
	if !based && (p.Final || p.Closed) {
		c.report.NoBaseline = append(c.report.NoBaseline, p.Day)
	}
}

// exact checks what needs no baseline: keys are there once, and the tiles of a
// closed day hold the events that its ledger counts as applied, on every level.
func (c *checker) exact(p *Profile) {
	if p.Repeated > 0 {
		c.tell(&Breach{Table: FeaturesTable, Date: p.Day, Statistic: Repeated, Is: float64(p.Repeated), Exact: true, Lasting: 1})
	}
	if !p.Closed {
		return
	}
	for _, t := range p.Tiles {
		c.report.Checks++
		if t.Events != p.Ledger.Applied {
			c.tell(&Breach{Table: TilesTable, Date: p.Day, Statistic: TileSum + Statistic(fmt.Sprintf(" of the %s level", span(t.Hop))),
				Is: float64(t.Events), Allowed: float64(p.Ledger.Applied), Exact: true, Lasting: 1})
		}
	}
}

// breach compares a figure with those before it, alone and as the last of a row.
func (c *checker) breach(m *measure, past []point) *Breach {
	base := past[max(0, len(past)-c.Days):]
	if b := c.beyond([]*measure{m}, base, m.margin.Alone, m.more.Alone, 0); b != nil {
		return b
	}
	run := []*measure{m}
	n := len(past) - (c.Lasting - 1)
	if n < c.Least {
		return nil
	}
	for i := range past[n:] {
		run = append(run, &past[n+i].measure)
	}
	base = past[max(0, n-c.Days):n]
	return c.beyond(run, base, m.margin.Lasting, m.more.Lasting, len(base)/10)
}

// beyond tells whether all of a row lie beyond the baseline by a margin and chance, to
// the same side; trim is how many of its outermost figures are left out there.
func (c *checker) beyond(run []*measure, base []point, fewer, more float64, trim int) *Breach {
	figures := make([]float64, len(base))
	for i := range base {
		figures[i] = base[i].figure()
	}
	slices.Sort(figures)
	least, greatest := run[0].figure(), run[0].figure()
	for _, r := range run[1:] {
		least, greatest = min(least, r.figure()), max(greatest, r.figure())
	}
	m, down, up := run[0], figures[trim], figures[len(figures)-1-trim]
	b := &Breach{Is: m.figure(), Least: down, Greatest: up, Dates: len(base), Aside: trim, Lasting: len(run)}
	if more > 0 {
		room := c.room(run, base, figures, up, more, 1)
		if m.kind == value {
			for i := range base {
				room = max(room, base[i].upper-up)
			}
		}
		b.Allowed = up + room
		if c.passed(m.statistic, least-up, room) {
			return b
		}
	}
	if fewer > 0 && !m.above {
		room := c.room(run, base, figures, down, fewer, -1)
		if m.kind == value {
			for i := range base {
				room = max(room, down-base[i].lower)
			}
		}
		b.Allowed = down - room
		if c.passed(m.statistic, down-greatest, room) {
			return b
		}
	}
	return nil
}

// passed tells whether a figure lies beyond its room, and notes how much of it is
// used where it does not.
func (c *checker) passed(s Statistic, beyond, room float64) bool {
	if beyond > room {
		return true
	}
	if beyond > 0 {
		c.report.Used[s] = max(c.report.Used[s], beyond/room)
	}
	return false
}

// room is how far beyond edge a row may lie.
func (c *checker) room(run []*measure, base []point, sorted []float64, edge, margin, side float64) float64 {
	switch m := run[0]; m.kind {
	case share:
		n := 0.0
		for _, r := range run {
			n += r.n
		}
		p := edge
		if side < 0 {
			p = 1 - edge
		}
		p = min(max(p, 1/n), 0.5) // where none was seen, one could have been
		return max(margin, c.Sigmas*math.Sqrt(p*(1-p)/n))
	case amount:
		if side < 0 { // down to 0 at most
			return max(min(margin, 0.95)*edge, min(edge, c.Sigmas*math.Sqrt(edge)))
		}
		if edge == 0 { // a beginning
			return math.MaxFloat64
		}
		return max(margin*edge, c.Sigmas*math.Sqrt(edge+1), 4)
	}
	return margin * c.unit(run[0], base, sorted, edge)
}

// enoughValues: a baseline of fewer values has seen little of what the column may be;
// the room grows by the root of what is lacking.
const enoughValues = 250

// unit is what margins of a value are parts of: the greatest of the edge of the
// baseline, of how far the column's values lie apart and of four times the spread of
// the statistic. Where all of it is 0, a column has been constant: then the first
// values to differ are no fault, and only that half the rows do is one.
func (c *checker) unit(m *measure, base []point, sorted []float64, edge float64) float64 {
	scales, n := make([]float64, len(base)), 0.0
	for i := range base {
		scales[i], n = base[i].scale, n+base[i].n
	}
	slices.Sort(scales)
	u := max(math.Abs(edge), scales[len(scales)-1-len(scales)/10], 4*spread(sorted))
	if u == 0 && (m.statistic != Median || n < enoughValues) {
		return math.MaxFloat64 / 1e3
	}
	return u * max(1, math.Sqrt(enoughValues/max(n, 1)))
}

func middleOf(sorted []float64) float64 { return sorted[len(sorted)/2] }

// spread is the median distance from the median, times 1.4826: of normal figures the
// standard deviation.
func spread(sorted []float64) float64 {
	m := middleOf(sorted)
	d := make([]float64, len(sorted))
	for i, x := range sorted {
		d[i] = math.Abs(x - m)
	}
	slices.Sort(d)
	return 1.4826 * middleOf(d)
}
