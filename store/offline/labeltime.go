package offline

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tallystick/tallystick/schemas"
)

// Instants of labels lie in the years 1 to 9999.
const (
	minInstant schemas.Micros = -62_135_596_800 * schemas.Second
	maxInstant schemas.Micros = 253_402_300_800*schemas.Second - 1
)

// timeReader reads instants that people wrote.
type timeReader struct {
	unit  int64 // µs per step of an integer; 0 = integers are refused
	local *schemas.LocalParser
	// The other forms of a local time: a space for the T, no seconds.
	space, minute, spaceMinute *schemas.LocalParser
}

func newTimeReader(unit, zone string) (*timeReader, error) {
	t := &timeReader{}
	switch unit {
	case "":
	case "s":
		t.unit = 1_000_000
	case "ms":
		t.unit = 1000
	case "us":
		t.unit = 1
	default:
		return nil, fmt.Errorf("the unit of timestamps is %q and must be s, ms or us", unit)
	}
	if zone == "" {
		return t, nil
	}
	for _, p := range []struct {
		to     **schemas.LocalParser
		layout string
	}{{&t.local, ""}, {&t.space, "YYYY-MM-DD HH:mm:ss[.SSSSSS]"}, {&t.minute, "YYYY-MM-DDTHH:mm"}, {&t.spaceMinute, "YYYY-MM-DD HH:mm"}} {
		var err error
		if *p.to, err = schemas.NewLocalParser(zone, p.layout, "", ""); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// text reads RFC 3339, also with a space for its T as pandas writes it; with a
// zone YYYY-MM-DD[T ]HH:MM[:SS[.f]]; with a unit plain integers.
func (t *timeReader) text(s string) (schemas.Micros, error) {
	if isInteger(s) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, &valueError{fmt.Sprintf("%q is beyond the range of instants", short(s)), ""}
		}
		return t.number(n)
	}
	space := len(s) > 10 && s[10] == ' '
	if t.local != nil && !hasZone(s) {
		p := t.local
		switch {
		case space && len(s) == 16:
			p = t.spaceMinute
		case space:
			p = t.space
		case len(s) == 16:
			p = t.minute
		}
		m, err := p.Parse(s)
		return m, timeHint(s, err, "write YYYY-MM-DDTHH:MM:SS")
	}
	rfc := s
	if space {
		rfc = s[:10] + "T" + s[11:]
	}
	m, err := schemas.ParseInstant(rfc)
	hint := "write it as in 2026-01-31T12:00:00Z"
	if t.local == nil && !hasZone(s) {
		hint += ", or name the time zone of the labels with --timezone"
	}
	return m, timeHint(s, err, hint)
}

// timeHint quotes the text as the file has it, not as it was parsed.
func timeHint(text string, err error, hint string) error {
	var e *schemas.TimeError
	if !errors.As(err, &e) {
		return err
	}
	return &valueError{fmt.Sprintf("%q is no instant: %s", text, e.Reason), hint}
}

// number reads a count of units since the Unix epoch.
func (t *timeReader) number(n int64) (schemas.Micros, error) {
	if t.unit == 0 {
		return 0, &valueError{fmt.Sprintf("%d is a number without a unit", n), "name the unit with --timestamp-unit: s, ms or us"}
	}
	m, ok := scaleMicros(n, t.unit)
	if !ok || m < minInstant || m > maxInstant {
		return 0, &valueError{fmt.Sprintf("%d is beyond the years 1 to 9999", n), "check the unit of timestamps"}
	}
	return m, nil
}

func isInteger(s string) bool {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// hasZone tells whether a date and time ends in Z or an offset.
func hasZone(s string) bool {
	if len(s) < 11 {
		return false
	}
	if last := s[len(s)-1]; last == 'Z' || last == 'z' {
		return true
	}
	for _, c := range []byte(s[11:]) {
		if c == '+' || c == '-' {
			return true
		}
	}
	return false
}
