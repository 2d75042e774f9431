package integration

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones of our own, beside the product's

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eTime is a source's event time: how the field holds it and what it means.
type e2eTime struct {
	typ  string // Avro type of the field
	unit int64  // µs per step of a number
	yaml string // of `event_time`, with %s for the field
	// Local times.
	zone      *time.Location
	format    string // Go's, of texts
	fold, gap string
	known     map[string]int64 // text → the instant it stands for
	start     int64            // where histories begin
}

var e2eZones = []struct {
	name        string
	transitions []string
}{
	{"America/New_York", []string{"2024-11-03T05:30:00Z", "2025-03-09T06:30:00Z"}},
	{"Europe/Berlin", []string{"2025-10-26T00:30:00Z", "2025-03-30T00:30:00Z"}},
	{"Australia/Lord_Howe", []string{"2025-04-05T14:00:00Z", "2025-10-04T15:00:00Z"}},
	{"Asia/Kolkata", []string{"2024-02-28T18:29:00Z"}},
	{"America/St_Johns", []string{"2025-11-02T04:00:00Z"}},
}

var e2eLayouts = []struct{ product, format string }{
	{"", "2006-01-02T15:04:05.999999"}, {"YYYY-MM-DDTHH:mm", "2006-01-02T15:04"}, {"DD/MM/YYYY HH:mm:ss.SSS", "02/01/2006 15:04:05.000"},
	{"YYYY-MM-DD HH:mm:ss[.SSSSSS]", "2006-01-02 15:04:05.999999"}, {"MM-DD-YYYY HH:mm:ss", "01-02-2006 15:04:05"},
}

func newE2ETime(r *rand.Rand) e2eTime {
	et := e2eTime{yaml: "%s", known: map[string]int64{}, start: pick(r, starts[:4]...).UnixMicro()} // Kafka has no timestamps before 1970
	switch r.IntN(7) {
	case 0:
		et.typ = "string" // RFC 3339
		et.format = "rfc3339"
	case 1, 2:
		et.typ = "string"
		l := pick(r, e2eLayouts...)
		et.format = l.format
		et.local(r, l.product)
	case 3:
		et.typ = pick(r, "local-timestamp-micros", "local-timestamp-millis")
		et.local(r, "")
	case 4:
		et.typ = "long"
		unit := pick(r, "s", "ms", "us")
		et.unit = map[string]int64{"s": second, "ms": 1000, "us": 1}[unit]
		et.yaml = "{field: %s, unit: " + unit + "}"
	default:
		et.typ = pick(r, "timestamp-micros", "timestamp-micros", "timestamp-millis", "date")
	}
	return et
}

func (et *e2eTime) local(r *rand.Rand, layout string) {
	z := pick(r, e2eZones...)
	var err error
	if et.zone, err = time.LoadLocation(z.name); err != nil {
		panic(err)
	}
	at, err := time.Parse(time.RFC3339, pick(r, z.transitions...))
	if err != nil {
		panic(err)
	}
	et.start = at.UnixMicro()
	et.fold, et.gap = pick(r, "", "earlier", "later", "invalid"), pick(r, "", "forward", "backward", "invalid")
	var b strings.Builder
	fmt.Fprintf(&b, "{field: %%s, zone: %s", z.name)
	for _, kv := range [][2]string{{"layout", layout}, {"fold", et.fold}, {"gap", et.gap}} {
		if kv[1] != "" {
			fmt.Fprintf(&b, ", %s: %q", kv[0], kv[1])
		}
	}
	et.yaml = b.String() + "}"
}

const unreadable = math.MinInt64 + 1 // in known: the text is no instant

// write returns a value of the field that stands for about that instant.
func (et *e2eTime) write(r *rand.Rand, want int64) oracle.Val {
	v := oracle.Val{Kind: e2eKinds[et.typ], I: want}
	odd := r.IntN(40) == 0
	switch {
	case et.typ == "date":
		v.I = floorDiv(want, day) * day
	case et.typ == "timestamp-millis":
		v.I = floorDiv(want, 1000) * 1000
	case et.typ == "long":
		if v.I = floorDiv(want, et.unit); odd && et.unit > 1 {
			v.I = pick[int64](r, math.MaxInt64, math.MinInt64, math.MaxInt64/et.unit+1)
		}
	case et.zone != nil && et.typ != "string":
		v.I = et.wall(r, want)
		if et.typ == "local-timestamp-millis" {
			v.I = floorDiv(v.I, 1000) * 1000
		}
	case et.typ == "string":
		v.I, v.S = 0, et.text(r, want, odd)
	}
	return v
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// wall is the wall clock at an instant, now and then beside it: in a gap, say.
func (et *e2eTime) wall(r *rand.Rand, t int64) int64 {
	_, off := time.UnixMicro(t).In(et.zone).Zone()
	return t + int64(off)*second + pick[int64](r, 0, 0, 0, hour, -hour, 30*minute)
}

func (et *e2eTime) text(r *rand.Rand, want int64, odd bool) (s string) {
	at := want
	if et.format == "rfc3339" {
		digits := pick(r, "", ".000", ".000000", ".9")
		zone := time.FixedZone("", pick(r, 0, 0, 5*3600+1800, -8*3600))
		s = time.UnixMicro(want).In(zone).Format("2006-01-02T15:04:05" + digits + "Z07:00")
		back, err := time.Parse(time.RFC3339Nano, s)
		if at = back.UnixMicro(); err != nil {
			at = unreadable
		}
		if odd {
			s = pick(r, "", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.1234567Z", " "+s, "yesterday", s+"Z")
			at = unreadable
		}
	} else {
		s = time.UnixMicro(et.wall(r, want)).UTC().Format(et.format)
		back, err := time.Parse(et.format, s)
		if err != nil {
			panic(err)
		}
		var ok bool
		if at, ok = resolve(back.UnixMicro(), et.zone, et.fold, et.gap); !ok {
			at = unreadable
		}
		if odd {
			s, at = pick(r, "", s+"Z", " "+s, "0000-00-00", s[:len(s)-1]+"x"), unreadable
		}
	}
	et.known[s] = at
	return s
}

// resolve reads a wall clock in a zone by package time's rules of the zone: the
// offsets a day before and after (V10).
func resolve(wall int64, zone *time.Location, fold, gap string) (int64, bool) {
	offset := func(t int64) int64 {
		_, off := time.UnixMicro(t).In(zone).Zone()
		return int64(off) * second
	}
	a, b := offset(wall-day), offset(wall+day)
	first, second := wall-a, wall-b
	okA, okB := offset(first) == a, offset(second) == b
	switch {
	case okA && okB && first != second:
		switch fold {
		case "later":
			return max(first, second), true
		case "invalid":
			return 0, false
		}
		return min(first, second), true
	case okA:
		return first, true
	case okB:
		return second, true
	case gap == "invalid":
		return 0, false
	case gap == "backward":
		return second, true
	}
	return first, true
}

// read says what a value of the field stands for.
func (et *e2eTime) read(v oracle.Val) (int64, bool) {
	switch {
	case v.Kind == oracle.Null:
		return 0, false
	case et.typ == "string":
		at, ok := et.known[v.S]
		return at, ok && at != unreadable
	case et.typ == "long":
		at := v.I * et.unit
		return at, at/et.unit == v.I
	case et.zone != nil:
		return resolve(v.I, et.zone, et.fold, et.gap)
	}
	return v.I, true
}

// The judge's own reading of local times, held against times worked out by hand.
func TestJudgeResolvesLocalTimes(t *testing.T) {
	for _, c := range []struct{ zone, wall, fold, gap, want string }{
		{"America/New_York", "2024-11-03T01:30:00Z", "", "", "2024-11-03T05:30:00Z"},
		{"America/New_York", "2024-11-03T01:30:00Z", "later", "", "2024-11-03T06:30:00Z"},
		{"America/New_York", "2025-03-09T02:30:00Z", "", "", "2025-03-09T07:30:00Z"},
		{"America/New_York", "2025-03-09T02:30:00Z", "", "backward", "2025-03-09T06:30:00Z"},
		{"America/New_York", "2025-03-09T02:30:00Z", "", "invalid", ""},
		{"Asia/Kolkata", "2024-02-29T00:00:00Z", "invalid", "invalid", "2024-02-28T18:30:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		wall, err := time.Parse(time.RFC3339, c.wall)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if at, ok := resolve(wall.UnixMicro(), zone, c.fold, c.gap); ok {
			got = time.UnixMicro(at).UTC().Format(time.RFC3339)
		}
		if got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}
