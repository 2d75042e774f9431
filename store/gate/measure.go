package gate

import (
	"fmt"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Statistic names what a breach is about.
type Statistic string

// The statistics, by what is allowed of them: Limits has a field for each group.
const (
	Rows     Statistic = "rows"
	Events   Statistic = "events"           // applied, of a UTC day
	Read     Statistic = "records read"     // of a UTC day
	Repeated Statistic = "repeated keys"    // must be 0
	TileSum  Statistic = "events in tiles"  // must be the ledger's
	Nulls    Statistic = "null rate"        // of a column
	Input    Statistic = "inputs per event" // of a column: not null, within its filter
	Distinct Statistic = "distinct values"
	Mean     Statistic = "mean"
	Least    Statistic = "least value"
	Greatest Statistic = "greatest value"
	Median   Statistic = "median"
)

// Table says where the rows of a breach lie.
type Table string

// The tables that the gate looks at; Ledger is what the commit says of a day.
const (
	FeaturesTable Table = "features"
	TilesTable    Table = "tiles"
	LedgerTable   Table = "ledger"
)

// kind says how a measure is compared.
type kind uint8

const (
	amount kind = iota // how many there are
	share              // so many of so many
	value              // of a column
)

// measure is one figure of one day.
type measure struct {
	table     Table
	column    string
	statistic Statistic
	kind      kind
	x         float64 // of a share: its numerator
	n         float64 // of a share: of how many; of a value: of so many values
	scale     float64 // of a value: how far the column's values lie apart
	// Of a quantile, the figures next to it: it may become what they have been, as it
	// does where a value that half the rows have is had by a little less than half.
	lower, upper float64
	margin       Margin // below the baseline
	more         Margin // above it
	above        bool   // only what is greater is a breach
}

func (m *measure) key() string {
	return string(m.table) + "\x00" + m.column + "\x00" + string(m.statistic)
}

// figure is what is compared: the share, or the number itself.
func (m *measure) figure() float64 {
	switch {
	case m.kind != share:
		return m.x
	case m.n == 0:
		return 0
	}
	return m.x / m.n
}

// measures returns what is compared of a day: of its rows, when these are final, of
// its tiles and ledger, when it is closed.
func (p *Profile) measures(l *Limits) (out []measure) {
	if p.Final {
		out = append(out, measure{table: FeaturesTable, statistic: Rows, kind: amount, x: float64(p.Rows), margin: l.Rows, more: l.Rows})
		for i := range p.Columns {
			out = p.Columns[i].measures(out, p.Rows, l)
		}
	}
	if !p.Closed {
		return out
	}
	read := float64(p.Ledger.Read())
	out = append(out, measure{table: LedgerTable, statistic: Events, kind: amount, x: float64(p.Ledger.Applied), margin: l.Events, more: l.Surplus},
		measure{table: LedgerTable, statistic: Read, kind: amount, x: read, margin: l.Events, more: l.Surplus})
	for o := range transforms.Outcomes {
		if o != transforms.Applied && read > 0 {
			m := measure{table: LedgerTable, statistic: Statistic(o.String() + " of the records"), kind: share, x: float64(*p.Ledger.Count(o)), n: read, margin: l.Outcome, more: l.Outcome}
			m.above = o != transforms.Filtered && o != transforms.Superseded
			out = append(out, m)
		}
	}
	for i := range p.Inputs {
		if in := &p.Inputs[i]; in.Of > 0 && len(in.Columns) > 0 {
			out = append(out, measure{table: TilesTable, column: strings.Join(in.Columns, ", "), statistic: Input, kind: share,
				x: float64(in.Taken), n: float64(in.Of), margin: l.Input, more: l.Input})
		}
	}
	return out
}

// fewValues: of fewer, mean and quantiles are what single values are.
const fewValues = 20

// quantileOf names a quantile.
func quantileOf(i int) Statistic {
	if quantiles[i] == 500 {
		return Median
	}
	return Statistic(fmt.Sprintf("%d %% quantile", quantiles[i]/10))
}

func (c *Column) measures(out []measure, rows int64, l *Limits) []measure {
	incomplete := transforms.Incomplete.String()
	for s := transforms.Absent; s <= transforms.Incomplete; s++ {
		out = append(out, measure{table: FeaturesTable, column: c.Name, statistic: Statistic("status " + s.String()), kind: share,
			x: float64(c.Status[s.String()]), n: float64(rows), margin: l.Status, more: l.Status, above: true})
	}
	if rows == 0 || c.Status[incomplete] > 0 { // what is not known yet says nothing of what will be
		return out
	}
	add := func(s Statistic, k kind, x float64, m Margin) {
		out = append(out, measure{table: FeaturesTable, column: c.Name, statistic: s, kind: k, x: x, lower: x, upper: x, n: float64(rows), margin: m, more: m})
	}
	add(Nulls, share, float64(c.Nulls), l.Nulls)
	v := c.Values
	if v == nil {
		return out
	}
	add(Distinct, amount, float64(v.Distinct), l.Distinct)
	switch c.Kind {
	case schemas.Int.String(), schemas.Double.String(), schemas.Timestamp.String():
		out[len(out)-1].more = Margin{} // numbers that were 0 may all be different ones on the next date
	}
	from, n := len(out), uint64(rows-c.Nulls)
	add(Least, value, v.Min, l.Extreme)
	add(Greatest, value, v.Max, l.Extreme)
	if n >= fewValues {
		add(Mean, value, v.Mean, l.Middle)
	}
	for i, q := range quantiles {
		m := l.Quartile
		switch q {
		case 10, 990:
			m = l.Extreme
		case 50, 950:
			m = l.Tail
		case 500:
			m = l.Middle
		}
		if n >= fewValues && n*min(q, 1000-q) >= 2000 { // with fewer than two values beyond it is an extreme
			add(quantileOf(i), value, v.Quantiles[i], m)
			out[len(out)-1].lower, out[len(out)-1].upper = v.near(i)
		}
	}
	apart := max(v.Quantiles[5]-v.Quantiles[1], (v.Max-v.Min)/2)
	for i := from; i < len(out); i++ {
		out[i].scale, out[i].n = apart, float64(n)
	}
	return out
}

// near returns the figures on both sides of a quantile.
func (v *Values) near(i int) (lower, upper float64) {
	lower, upper = v.Min, v.Max
	if i > 0 {
		lower = v.Quantiles[i-1]
	}
	if i+1 < len(v.Quantiles) {
		upper = v.Quantiles[i+1]
	}
	return lower, upper
}
