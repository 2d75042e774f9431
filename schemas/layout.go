package schemas

import (
	"fmt"
	"strings"
	"time"
)

// layoutPart is one token of a layout: a literal byte, or a component with its
// number of digits.
type layoutPart struct {
	literal   byte // 0 = a component
	component component
	digits    int8 // of a fraction, the most
	optional  byte // the sign before an optional fraction, 0 = not optional
}

type component uint8

const (
	partYear component = iota
	partMonth
	partDay
	partHour
	partMinute
	partSecond
	partFraction // in µs
	components
)

// defaultLayout is YYYY-MM-DDTHH:mm:ss[.SSSSSS], also the body of RFC 3339.
var defaultLayout = [...]layoutPart{
	{component: partYear, digits: 4}, {literal: '-'}, {component: partMonth, digits: 2}, {literal: '-'}, {component: partDay, digits: 2},
	{literal: 'T'},
	{component: partHour, digits: 2}, {literal: ':'}, {component: partMinute, digits: 2}, {literal: ':'}, {component: partSecond, digits: 2},
	{component: partFraction, digits: 6, optional: '.'},
}

var layoutTokens = [...]struct {
	text      string
	component component
}{{"YYYY", partYear}, {"MM", partMonth}, {"DD", partDay}, {"HH", partHour}, {"mm", partMinute}, {"ss", partSecond}}

// goTokens rewrites a Go reference layout into tokens.
var goTokens = strings.NewReplacer("2006", "YYYY", "01", "MM", "02", "DD", "15", "HH", "04", "mm", "05", "ss",
	".000000", ".SSSSSS", ".000", ".SSS", ",000000", ",SSSSSS", ",000", ",SSS",
	".999999", "[.SSSSSS]", ".999", "[.SSS]", ",999999", "[,SSSSSS]", ",999", "[,SSS]")

// compileLayout reads a layout as NewLocalParser describes it.
func compileLayout(layout string) ([]layoutPart, error) {
	if layout == "" {
		return defaultLayout[:], nil
	}
	rest := layout
	if strings.Contains(rest, "2006") {
		rest = goTokens.Replace(rest)
	}
	var parts []layoutPart
	var seen [components]bool
	for rest != "" {
		part, n, err := nextPart(rest, len(parts) > 0 && parts[len(parts)-1].component == partSecond)
		if err != nil {
			return nil, fmt.Errorf("time layout %q: %w", layout, err)
		}
		if part.literal == 0 {
			if seen[part.component] {
				return nil, fmt.Errorf("time layout %q: %q occurs twice; months are MM, minutes mm", layout, rest[:n])
			}
			seen[part.component] = true
		}
		parts = append(parts, part)
		rest = rest[n:]
	}
	if !seen[partYear] || !seen[partMonth] || !seen[partDay] {
		return nil, fmt.Errorf("time layout %q: a date needs YYYY, MM and DD", layout)
	}
	for c := partMinute; c <= partFraction; c++ {
		if seen[c] && !seen[c-1] {
			return nil, fmt.Errorf("time layout %q: it has a smaller part of the time of day (HH, mm, ss, fraction) without the greater one", layout)
		}
	}
	return parts, nil
}

// nextPart reads one token and returns how many bytes of the layout it took.
func nextPart(s string, afterSeconds bool) (layoutPart, int, error) {
	for _, t := range layoutTokens {
		if strings.HasPrefix(s, t.text) {
			return layoutPart{component: t.component, digits: int8(len(t.text))}, len(t.text), nil
		}
	}
	if s[0] == '[' {
		n := 2
		for n < len(s) && s[n] == 'S' {
			n++
		}
		if n < 3 || n > 8 || n >= len(s) || s[n] != ']' || s[1] != '.' && s[1] != ',' || !afterSeconds {
			return layoutPart{}, 0, fmt.Errorf("brackets enclose an optional fraction after ss, as in [.SSSSSS]")
		}
		return layoutPart{component: partFraction, digits: int8(n - 2), optional: s[1]}, n + 1, nil
	}
	n := 0
	for n < len(s) && s[n] == 'S' {
		n++
	}
	if n > 6 {
		return layoutPart{}, 0, fmt.Errorf("a fraction has at most 6 digits: instants are microseconds")
	}
	if n > 0 {
		return layoutPart{component: partFraction, digits: int8(n)}, n, nil
	}
	c := s[0]
	letter := c|0x20 >= 'a' && c|0x20 <= 'z' && c != 'T'
	if letter || c >= '0' && c <= '9' || c >= 0x80 || c < ' ' || c == ']' {
		return layoutPart{}, 0, fmt.Errorf("%q is no token; tokens are YYYY MM DD HH mm ss .SSS [.SSSSSS], signs and T stand for themselves; names, 12-hour clocks and zones are not read", s)
	}
	return layoutPart{literal: c, component: components}, 1, nil
}

// civil holds the components of a wall-clock time.
type civil [components]int

// Reasons of scanTime, which who has named no layout does not understand.
const (
	offLayout     = "it does not have the form of the layout"
	shortOfLayout = "it is shorter than the layout"
)

// scanTime reads text by layout and returns how far it came, or why it could not.
func scanTime(text string, layout []layoutPart) (c civil, n int, reason string) {
	c[partYear], c[partMonth], c[partDay] = 1, 1, 1
	for i := range layout {
		part := &layout[i]
		switch {
		case part.literal != 0:
			if n >= len(text) || text[n] != part.literal {
				return c, n, offLayout
			}
			n++
		case part.component == partFraction:
			if part.optional != 0 {
				if n >= len(text) || text[n] != part.optional {
					continue
				}
				n++
			}
			took := 0
			for scale := 100_000; took < int(part.digits) && n < len(text) && text[n]-'0' <= 9; scale /= 10 {
				c[partFraction] += int(text[n]-'0') * scale
				took++
				n++
			}
			if took == 0 || part.optional == 0 && took < int(part.digits) {
				return c, n, "its fraction of a second lacks digits"
			}
		default:
			end := n + int(part.digits)
			if end > len(text) {
				return c, n, shortOfLayout
			}
			v, ok := digits(text[n:end])
			if !ok {
				return c, n, offLayout
			}
			c[part.component], n = v, end
		}
	}
	return c, n, ""
}

// digits reads a number made of nothing but digits.
func digits(s string) (v int, ok bool) {
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + int(d)
	}
	return v, true
}

// fault says why the components are no date and time of day, "" = they are.
func (c *civil) fault() string {
	switch {
	case c[partYear] < 1:
		return "years go from 0001 to 9999"
	case c[partMonth] < 1 || c[partMonth] > 12:
		return "months go from 01 to 12"
	case c[partDay] < 1 || c[partDay] > daysIn(c[partYear], c[partMonth]):
		return "the month does not have that day"
	case c[partHour] > 23:
		return "hours go from 00 to 23"
	case c[partMinute] > 59:
		return "minutes go from 00 to 59"
	case c[partSecond] > 59:
		return "seconds go from 00 to 59"
	}
	return ""
}

func daysIn(y, m int) int {
	switch m {
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// wall returns the wall-clock time as if it were UTC.
func (c *civil) wall() Micros {
	s := time.Date(c[partYear], time.Month(c[partMonth]), c[partDay], c[partHour], c[partMinute], c[partSecond], 0, time.UTC).Unix()
	return Micros(s)*Second + Micros(c[partFraction])
}
