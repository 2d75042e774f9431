package gate

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// span names the hop of a level.
func span(h schemas.Micros) string {
	for _, u := range []struct {
		of   schemas.Micros
		name string
	}{{schemas.Day, "d"}, {schemas.Hour, "h"}, {schemas.Minute, "min"}, {schemas.Second, "s"}} {
		if h%u.of == 0 {
			return fmt.Sprintf("%d %s", h/u.of, u.name)
		}
	}
	return fmt.Sprintf("%d µs", int64(h))
}

// String says in one sentence what is where, what was and by how much.
func (b Breach) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s, %v", b.Table, b.Date)
	if b.Column != "" {
		fmt.Fprintf(&s, ", %s", b.Column)
	}
	fmt.Fprintf(&s, ": %s %s", b.Statistic, b.format(b.Is))
	if b.Exact {
		fmt.Fprintf(&s, ", must be %s: %s", b.format(b.Allowed), b.amount(b.Is-b.Allowed))
		return s.String()
	}
	if b.Lasting > 1 {
		fmt.Fprintf(&s, ", the last of %d dates in a row", b.Lasting)
	}
	edge := b.Greatest
	if b.Is < b.Allowed {
		edge = b.Least
	}
	fmt.Fprintf(&s, "; %s to %s on the %d dates before%s, allowed %s: %s", b.format(b.Least), b.format(b.Greatest), b.Dates, b.aside(), b.bound(), b.amount(b.Is-edge))
	if !b.Share && edge > 0 && b.Is > 2*edge {
		fmt.Fprintf(&s, ", %.3g times", b.Is/edge)
	}
	return s.String()
}

func (b *Breach) aside() string {
	if b.Aside == 0 {
		return ""
	}
	return fmt.Sprintf(" (the %d outermost at each end aside)", b.Aside)
}

func (b *Breach) bound() string {
	if b.Is < b.Allowed {
		return "from " + b.format(b.Allowed)
	}
	return "up to " + b.format(b.Allowed)
}

func (b *Breach) format(x float64) string {
	switch {
	case b.Share:
		return strconv.FormatFloat(100*x, 'f', 1, 64) + " %"
	case x == math.Trunc(x) && math.Abs(x) < 1e15:
		return strconv.FormatFloat(x+0, 'f', -1, 64) // -0 is 0
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// amount says a difference.
func (b *Breach) amount(d float64) string {
	word := "more"
	if d < 0 {
		d, word = -d, "less"
	}
	if b.Share {
		return strconv.FormatFloat(100*d, 'f', 1, 64) + " points " + word
	}
	return b.format(d) + " " + word
}

// Lines tells the breaches, those of one figure on several dates as one.
func (r *Report) Lines() []string {
	type key struct {
		table     Table
		column    string
		statistic Statistic
	}
	more := map[key]int{}
	for _, b := range r.Breaches {
		more[key{b.Table, b.Column, b.Statistic}]++
	}
	var out []string
	for _, b := range r.Breaches {
		k := key{b.Table, b.Column, b.Statistic}
		n := more[k]
		if n == 0 {
			continue
		}
		delete(more, k)
		line := b.String()
		switch {
		case n == 2:
			line += "; and on one date after it"
		case n > 2:
			line += fmt.Sprintf("; and on %d dates after it", n-1)
		}
		out = append(out, line)
	}
	return out
}
