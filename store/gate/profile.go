package gate

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Profile is the figures of one UTC day: of the feature rows with a boundary on it,
// of the tiles that start on it, and the ledger of its event time.
type Profile struct {
	Day      Day               `json:"date"`
	Final    bool              `json:"final"`  // all boundaries of the day are there, no row can change
	Closed   bool              `json:"closed"` // the whole day is: neither tiles nor ledger can change
	Rows     int64             `json:"rows"`
	Repeated int64             `json:"repeated,omitempty"` // rows whose key there was already
	Columns  []Column          `json:"columns"`
	Tiles    []Tiles           `json:"tiles,omitempty"`
	Inputs   []Inputs          `json:"inputs,omitempty"`
	Ledger   transforms.Ledger `json:"ledger"`
}

// Column is the figures of one feature.
type Column struct {
	Name   string           `json:"name"`
	Kind   string           `json:"kind"`
	Nulls  int64            `json:"nulls"`
	Status map[string]int64 `json:"status"`           // rows by status
	Values *Values          `json:"values,omitempty"` // nil: all are null
}

// Values is the figures of the values that are not null. A bool counts as 0 or 1, a
// text by its bytes, a list by its elements, an instant by its age at the boundary
// in s; Distinct is of the values themselves, an estimate from 256 on.
type Values struct {
	Min       float64                 `json:"min"`
	Max       float64                 `json:"max"`
	Mean      float64                 `json:"mean"`      // within 3.1 % of the values
	Quantiles [len(quantiles)]float64 `json:"quantiles"` // likewise
	Distinct  int64                   `json:"distinct"`
}

// quantiles are those of Values, in thousandths.
var quantiles = [...]uint64{10, 50, 250, 500, 750, 950, 990}

// Tiles sums the closed tiles of one level.
type Tiles struct {
	Hop    schemas.Micros `json:"hop"`
	Rows   int64          `json:"rows"`
	Events int64          `json:"events"`
}

// Inputs says how much of a day entered one cell of the tiles, and so the columns
// that read it: the inputs that were not null and passed the filter, of the events;
// where a cell keeps one value, the tiles that have one.
type Inputs struct {
	Columns []string       `json:"columns"`
	Hop     schemas.Micros `json:"hop"`
	Taken   int64          `json:"taken"`
	Of      int64          `json:"of"`
}

// Day is days since the epoch; its text is YYYY-MM-DD.
type Day int64

const dateLayout = "2006-01-02"

// The days of the years 0 to 9999.
const (
	minDay Day = -719_528
	maxDay Day = 2_932_896
)

func (d Day) String() string {
	if d < minDay || d > maxDay {
		return fmt.Sprintf("day %d", int64(d))
	}
	return time.Unix(int64(d)*86_400, 0).UTC().Format(dateLayout)
}

// MarshalJSON writes YYYY-MM-DD; of a day beyond that, its number.
func (d Day) MarshalJSON() ([]byte, error) {
	if d < minDay || d > maxDay {
		return json.Marshal(int64(d))
	}
	return json.Marshal(d.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Day) UnmarshalJSON(b []byte) error {
	var n int64
	if json.Unmarshal(b, &n) == nil && string(b) != "null" {
		*d = Day(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%.40q is no date", b)
	}
	t, err := time.Parse(dateLayout, s)
	if err != nil {
		return fmt.Errorf("%.40q is no date such as 2013-02-09", s)
	}
	*d = Day(t.Unix() / 86_400)
	if t.Unix()%86_400 != 0 {
		return fmt.Errorf("%.40q is no date such as 2013-02-09", s)
	}
	return nil
}

// MalformedError says that bytes are no profiles.
type MalformedError struct {
	What string
	Err  error
}

func (e *MalformedError) Error() string { return fmt.Sprintf("gate: %s: %v", e.What, e.Err) }
func (e *MalformedError) Unwrap() error { return e.Err }

// check refuses counts that contradict one another.
func (p *Profile) check() error {
	if p.Rows < 0 || p.Repeated < 0 {
		return fmt.Errorf("%v: negative rows", p.Day)
	}
	names := map[string]bool{}
	for _, c := range p.Columns {
		if names[c.Name] {
			return fmt.Errorf("%v: two columns %.40q", p.Day, c.Name)
		}
		names[c.Name] = true
		var sum int64
		for _, n := range c.Status {
			if n < 0 || n > p.Rows {
				return fmt.Errorf("%v, column %.40q: %d rows of a status, of %d", p.Day, c.Name, n, p.Rows)
			}
			sum += n
		}
		if sum != p.Rows || c.Nulls < 0 || c.Nulls > p.Rows || (c.Nulls == p.Rows) != (c.Values == nil) {
			return fmt.Errorf("%v, column %.40q: its counts do not fit %d rows", p.Day, c.Name, p.Rows)
		}
	}
	for _, t := range p.Tiles {
		if t.Hop <= 0 || t.Rows < 0 || t.Events < t.Rows {
			return fmt.Errorf("%v: the sums of the %d µs level contradict one another", p.Day, int64(t.Hop))
		}
	}
	for _, in := range p.Inputs {
		if in.Taken < 0 || in.Of < 0 {
			return fmt.Errorf("%v: negative inputs", p.Day)
		}
	}
	return nil
}
