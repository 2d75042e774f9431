package expr

import (
	"fmt"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

var units = []struct {
	name string
	size schemas.Micros
}{
	{"w", 7 * schemas.Day}, {"d", schemas.Day}, {"h", schemas.Hour}, {"m", schemas.Minute},
	{"s", schemas.Second}, {"ms", 1000}, {"us", 1},
}

// ParseDuration reads a positive duration such as 24h, 7d or 1h30m: integers
// each with one of the units us, ms, s, m, h, d, w, blanks allowed between
// them. It returns microseconds.
func ParseDuration(text string) (schemas.Micros, error) {
	bad := fmt.Errorf("%q is not a duration such as 24h, 7d or 1h30m (units: us, ms, s, m, h, d, w)", text)
	rest := strings.ReplaceAll(text, " ", "")
	if rest == "" || len(rest) > 100 {
		return 0, bad
	}
	var total schemas.Micros
	for rest != "" {
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		u := len(rest[n:]) - len(strings.TrimLeft(rest[n:], "abcdefghijklmnopqrstuvwxyz"))
		size := unitSize(rest[n : n+u])
		if n == 0 || size == 0 {
			return 0, bad
		}
		var v int64
		for _, c := range rest[:n] {
			p, ok := mulInt(v, 10)
			s, ok2 := addInt(p, int64(c-'0'))
			if !ok || !ok2 {
				return 0, fmt.Errorf("duration %q is too long", text)
			}
			v = s
		}
		p, ok := mulInt(v, int64(size))
		s, ok2 := addInt(int64(total), p)
		if !ok || !ok2 {
			return 0, fmt.Errorf("duration %q is too long", text)
		}
		total, rest = schemas.Micros(s), rest[n+u:]
	}
	if total <= 0 {
		return 0, fmt.Errorf("duration %q must be positive", text)
	}
	return total, nil
}

func unitSize(name string) schemas.Micros {
	for _, u := range units {
		if u.name == name {
			return u.size
		}
	}
	return 0
}

// FormatDuration writes a positive duration so that ParseDuration reads it, in
// the largest units that fit; weeks are written as days.
func FormatDuration(d schemas.Micros) string {
	var b strings.Builder
	for _, u := range units[1:] {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d %= u.size
		}
	}
	return b.String()
}
