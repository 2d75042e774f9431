package schemas

import "fmt"

// TimeError says why a text or a wall-clock time is no instant (V10).
type TimeError struct {
	Text   string // as given, shortened
	Reason string
}

func (e *TimeError) Error() string {
	hint := ""
	if e.Reason == NoZone {
		hint = ", or declare the source's time zone"
	}
	return fmt.Sprintf("time %q: %s%s", e.Text, e.Reason, hint)
}

// NoZone is the Reason of a local time where an instant is asked for.
const NoZone = "it has no zone: end it with Z or ±hh:mm"

func timeError(text, reason string) error {
	if len(text) > 64 {
		text = text[:64] + "…"
	}
	return &TimeError{Text: text, Reason: reason}
}

// choice is what to do where a wall-clock time names no single instant.
type choice uint8

const (
	chooseFirst  choice = iota // fold: earlier; gap: forward
	chooseSecond               // fold: later; gap: backward
	chooseNone                 // an error
)

// LocalParser turns wall-clock times of one zone into instants (V10). It does
// not change and may be used by several goroutines at once.
type LocalParser struct {
	zone      string
	table     *zoneTable
	layout    []layoutPart
	fold, gap choice
}

// NewLocalParser returns a parser for local times in an IANA zone.
//
// layout is made of the tokens YYYY, MM (month), DD, HH (00 to 23), mm (minute),
// ss, a fraction as .SSS (exactly as many digits as there are S, at most 6) or
// [.SSSSSS] (optional, 1 to that many digits; the sign before it may be a comma),
// of punctuation and spaces, which stand for themselves, and of the letter T.
// YYYY, MM and DD must occur; times of day left out are 0. A layout with "2006"
// in it is read as Go's: 2006 01 02 15 04 05 and .000 or .999. "" stands for
//
//	YYYY-MM-DDTHH:mm:ss[.SSSSSS]
//
// fold says how to read a time that occurs twice: "earlier" (default, also ""),
// "later", "invalid". gap says how to read one that never occurs: "forward"
// (default, also ""), with the offset before the transition, which shifts it
// forward by the length of the gap; "backward", with the offset after it;
// "invalid".
func NewLocalParser(zone, layout, fold, gap string) (*LocalParser, error) {
	loc, err := LoadZone(zone)
	if err != nil {
		return nil, err
	}
	p := &LocalParser{zone: zone, table: newZoneTable(loc)}
	if p.layout, err = compileLayout(layout); err != nil {
		return nil, err
	}
	if p.fold, err = pickChoice("fold", fold, "earlier", "later"); err != nil {
		return nil, err
	}
	if p.gap, err = pickChoice("gap", gap, "forward", "backward"); err != nil {
		return nil, err
	}
	return p, nil
}

func pickChoice(what, s, one, two string) (choice, error) {
	switch s {
	case "", one:
		return chooseFirst, nil
	case two:
		return chooseSecond, nil
	case "invalid":
		return chooseNone, nil
	}
	return 0, fmt.Errorf("%s: %q is none of %q, %q, \"invalid\"", what, s, one, two)
}

// Parse reads a local time in the parser's layout. It is strict: no spaces
// around, every digit there, days as the calendar has them, years 0001 to 9999.
// The error is a *TimeError.
func (p *LocalParser) Parse(text string) (Micros, error) {
	c, n, reason := scanTime(text, p.layout)
	if reason == "" && n != len(text) {
		reason = "text is left after what the layout describes"
	}
	if reason == "" {
		reason = c.fault()
	}
	if reason != "" {
		return 0, timeError(text, reason)
	}
	return p.resolve(c.wall(), text)
}

// Wall-clock times that are accepted: years 0001 to 9999.
const (
	minWall = -62_135_596_800 * Second
	maxWall = 253_402_300_800*Second - 1
)

// FromWallClock turns a wall-clock time given as if it were UTC (Avro's
// local-timestamp-*) into the instant. The error is a *TimeError.
func (p *LocalParser) FromWallClock(wall Micros) (Micros, error) { return p.resolve(wall, "") }

// reach is more than any offset from UTC, in seconds: an instant lies within
// reach of its wall-clock time.
const reach = 26 * 3600

// resolve finds the instants whose wall clock shows wall: in each span of
// constant offset nearby, the one that the offset gives, if it lies in the span.
// time.Date is not used: which of two instants it takes is not specified.
func (p *LocalParser) resolve(wall Micros, text string) (Micros, error) {
	if wall < minWall || wall > maxWall {
		return 0, p.refuse(wall, text, "it is beyond the years 0001 to 9999")
	}
	whole := wall.Floor(Second)
	w, frac := int64(whole/Second), wall-whole
	var found [2]int64 // the first and the last instant
	n := 0
	var before, after int64 // offsets around the gap that swallows w
	gap := false
	for span := p.table.at(w - reach); ; {
		if u := w - span.offset; u >= span.start && u < span.end {
			if n == 0 {
				found[0] = u
			}
			found[1] = u
			n++
		}
		if span.end > w+reach {
			break
		}
		next := p.table.at(span.end)
		next.start = span.end
		if !gap && w >= span.end+span.offset && w < span.end+next.offset {
			gap, before, after = true, span.offset, next.offset
		}
		span = next
	}
	switch {
	case n == 1 || n > 1 && p.fold == chooseFirst:
		return Micros(found[0])*Second + frac, nil
	case n > 1 && p.fold == chooseSecond:
		return Micros(found[1])*Second + frac, nil
	case n > 1:
		return 0, p.refuse(wall, text, "it occurs twice in "+p.zone+" (the clocks were set back) and fold is invalid")
	case gap && p.gap == chooseFirst:
		return Micros(w-before)*Second + frac, nil
	case gap && p.gap == chooseSecond:
		return Micros(w-after)*Second + frac, nil
	}
	return 0, p.refuse(wall, text, "it does not occur in "+p.zone+" (the clocks were set forward) and gap is invalid")
}

func (p *LocalParser) refuse(wall Micros, text, reason string) error {
	if text == "" {
		text = wall.Time().Format("2006-01-02T15:04:05.999999")
	}
	return timeError(text, reason)
}

// ParseInstant reads an instant with a zone, strictly as RFC 3339 has it:
// YYYY-MM-DDTHH:MM:SS, then optionally a point and 1 to 6 digits, then Z or
// ±hh:mm. The error is a *TimeError.
func ParseInstant(text string) (Micros, error) {
	c, n, reason := scanTime(text, defaultLayout[:])
	switch reason {
	case "":
		reason = c.fault()
	case offLayout, shortOfLayout:
		reason = "it is not a date, T, a time of day and Z or an offset"
	}
	if reason != "" {
		return 0, timeError(text, reason)
	}
	offset, reason := zoneOffset(text[n:])
	if reason != "" {
		return 0, timeError(text, reason)
	}
	return c.wall() - offset, nil
}

// zoneOffset reads the zone of RFC 3339.
func zoneOffset(s string) (offset Micros, reason string) {
	switch {
	case s == "Z":
		return 0, ""
	case s == "":
		return 0, NoZone
	case s[0] >= '0' && s[0] <= '9':
		return 0, "its fraction has more than 6 digits"
	case len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':':
		return 0, "its zone is neither Z nor ±hh:mm"
	}
	h, ok1 := digits(s[1:3])
	m, ok2 := digits(s[4:6])
	if !ok1 || !ok2 || h > 23 || m > 59 {
		return 0, "its zone is neither Z nor ±hh:mm"
	}
	offset = Micros(h)*Hour + Micros(m)*Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, ""
}
