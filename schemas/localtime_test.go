package schemas

import (
	"archive/zip"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func utc(t testing.TB, s string) Micros {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return Micros(at.UnixMicro())
}

// V10: folds and gaps, with instants worked out by hand.
func TestLocalTimes(t *testing.T) {
	const ny, howe, apia = "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"
	cases := []struct{ zone, text, fold, gap, want string }{
		{ny, "2013-01-01T00:00:00", "", "", "2013-01-01T05:00:00Z"},
		{ny, "2013-07-01T12:34:56.789", "", "", "2013-07-01T16:34:56.789Z"},
		{ny, "2013-03-10T01:59:59.999999", "", "", "2013-03-10T06:59:59.999999Z"},
		{ny, "2013-03-10T02:00:00", "", "", "2013-03-10T07:00:00Z"},
		{ny, "2013-03-10T02:30:00", "", "forward", "2013-03-10T07:30:00Z"}, // = 03:30 EDT
		{ny, "2013-03-10T02:30:00", "", "backward", "2013-03-10T06:30:00Z"},
		{ny, "2013-03-10T02:30:00", "", "invalid", ""},
		{ny, "2013-03-10T03:00:00", "", "invalid", "2013-03-10T07:00:00Z"},
		{ny, "2013-11-03T00:59:59", "invalid", "", "2013-11-03T04:59:59Z"},
		{ny, "2013-11-03T01:00:00", "", "", "2013-11-03T05:00:00Z"},
		{ny, "2013-11-03T01:30:00", "earlier", "", "2013-11-03T05:30:00Z"},
		{ny, "2013-11-03T01:30:00", "later", "", "2013-11-03T06:30:00Z"},
		{ny, "2013-11-03T01:30:00", "invalid", "", ""},
		{ny, "2013-11-03T02:00:00", "invalid", "", "2013-11-03T07:00:00Z"},
		{ny, "1883-11-18T12:00:00", "later", "", "1883-11-18T17:00:00Z"}, // from local mean time, −4:56:02
		{ny, "1883-11-18T12:00:00", "", "", "1883-11-18T16:56:02Z"},
		{howe, "2013-10-06T02:15:00", "", "", "2013-10-05T15:45:00Z"}, // a gap of 30 min, = 02:45
		{howe, "2013-10-06T02:15:00", "", "backward", "2013-10-05T15:15:00Z"},
		{howe, "2013-04-07T01:45:00", "", "", "2013-04-06T14:45:00Z"}, // 30 min twice
		{howe, "2013-04-07T01:45:00", "later", "", "2013-04-06T15:15:00Z"},
		{apia, "2011-12-29T23:59:59", "", "", "2011-12-30T09:59:59Z"},
		{apia, "2011-12-30T12:00:00", "", "", "2011-12-30T22:00:00Z"}, // a day that was not, = 31st noon
		{apia, "2011-12-30T12:00:00", "", "backward", "2011-12-29T22:00:00Z"},
		{apia, "2011-12-30T12:00:00", "", "invalid", ""},
		{apia, "2011-12-31T00:00:00", "", "invalid", "2011-12-30T10:00:00Z"},
		{"Pacific/Honolulu", "2020-06-01T00:00:00", "invalid", "invalid", "2020-06-01T10:00:00Z"},
		{"UTC", "0001-01-01T00:00:00", "", "", "0001-01-01T00:00:00Z"},
		{"UTC", "9999-12-31T23:59:59.999999", "", "", "9999-12-31T23:59:59.999999Z"},
		{"Europe/Berlin", "2096-12-31T12:00:00", "", "", "2096-12-31T11:00:00Z"}, // package time's short leap years
		{"Europe/Berlin", "2204-12-31T12:00:00", "", "", "2204-12-31T11:00:00Z"},
	}
	for _, c := range cases {
		p, err := NewLocalParser(c.zone, "", c.fold, c.gap)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Parse(c.text)
		if c.want == "" {
			var typed *TimeError
			if !errors.As(err, &typed) {
				t.Errorf("%s in %s is %v, want an error", c.text, c.zone, got)
			}
			continue
		}
		if err != nil || got != utc(t, c.want) {
			t.Errorf("%s in %s (%s %s) is %v, %v; want %s", c.text, c.zone, c.fold, c.gap, got, err, c.want)
		}
		if wall, err := p.FromWallClock(utc(t, c.text+"Z")); err != nil || wall != got {
			t.Errorf("FromWallClock gives %v, %v; Parse %v", wall, err, got)
		}
	}
}

// V10: strict in every layout.
func TestLocalLayouts(t *testing.T) {
	cases := []struct{ layout, text, want string }{
		{"", "2020-02-29T23:59:59", "2020-02-29T23:59:59Z"},
		{"", "2020-02-29T23:59:59.1", "2020-02-29T23:59:59.1Z"},
		{"", "2021-02-29T00:00:00", ""}, {"", "2020-02-31T00:00:00", ""}, {"", "2020-04-31T00:00:00", ""},
		{"", "1900-02-29T00:00:00", ""}, {"", "2000-02-29T00:00:00", "2000-02-29T00:00:00Z"},
		{"", "2020-01-01T24:00:00", ""}, {"", "2020-01-01T00:60:00", ""}, {"", "2020-01-01T00:00:60", ""},
		{"", "0000-01-01T00:00:00", ""}, {"", "2020-00-01T00:00:00", ""}, {"", "2020-13-01T00:00:00", ""}, {"", "2020-01-00T00:00:00", ""},
		{"", "2020-01-01T00:00:00.", ""}, {"", "2020-01-01T00:00:00.1234567", ""}, {"", "2020-01-01T00:00:00Z", ""},
		{"", "2020-01-01T00:00:00+01:00", ""}, {"", " 2020-01-01T00:00:00", ""}, {"", "2020-01-01 00:00:00", ""},
		{"", "2020-01-01T00:00", ""}, {"", "+020-01-01T00:00:00", ""}, {"", "", ""}, {"", "2020-1-01T00:00:00", ""},
		{"YYYY-MM-DDTHH:mm", "2020-01-02T03:04", "2020-01-02T03:04:00Z"},
		{"YYYY-MM-DDTHH:mm", "2020-01-02T03:04:05", ""},
		{"YYYY-MM-DD HH:mm:ss", "2020-01-02 03:04:05", "2020-01-02T03:04:05Z"},
		{"DD.MM.YYYY HH:mm", "31.12.2020 03:04", "2020-12-31T03:04:00Z"},
		{"YYYYMMDDHHmmss.SSS", "20200102030405.678", "2020-01-02T03:04:05.678Z"},
		{"YYYYMMDDHHmmss.SSS", "20200102030405.67", ""},
		{"YYYYMMDDHHmmss.SSS", "20200102030405.6789", ""},
		{"YYYY-MM-DDTHH:mm:ss[,SSS]", "2020-01-02T03:04:05,6", "2020-01-02T03:04:05.6Z"},
		{"YYYY-MM-DD", "2020-01-02", "2020-01-02T00:00:00Z"},
		{"2006-01-02T15:04", "2020-01-02T03:04", "2020-01-02T03:04:00Z"},
		{"02/01/2006 15:04:05.999", "31/12/2020 03:04:05.25", "2020-12-31T03:04:05.25Z"},
		{"20060102150405", "20200102030405", "2020-01-02T03:04:05Z"},
	}
	for _, c := range cases {
		p, err := NewLocalParser("UTC", c.layout, "", "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Parse(c.text)
		var typed *TimeError
		if c.want == "" && !errors.As(err, &typed) || c.want != "" && (err != nil || got != utc(t, c.want)) {
			t.Errorf("%q in layout %q is %v, %v; want %q", c.text, c.layout, got, err, c.want)
		}
	}
	for _, layout := range []string{"YYYY-MM", "HH:mm", "YYYY-MM-DDTHH:MM:ss", "YYYY-MM-DD ss", "YYYY-MM-DDTHH:mmZ", "YYYY-MM-DD hh:mm",
		"2006-01-02 03:04PM", "Jan 02 2006", "YYYY-MM-DDTHH:mm[.SSS]", "YYYY-MM-DDTHH:mm:ss[.]", "YYYY-MM-DDTHH:mm:ss[.SSS", "YYYY-MM-DDTHH:mm:ss.SSSSSSS", "YYYY-MM-DDTHH:mm.SSS"} {
		if _, err := NewLocalParser("UTC", layout, "", ""); err == nil {
			t.Errorf("layout %q is accepted", layout)
		}
	}
}

func TestLocalParserRefuses(t *testing.T) {
	for _, c := range [][3]string{{"", "", ""}, {"Local", "", ""}, {"Mars/Olympus", "", ""}, {"America", "", ""}, {"America/", "", ""}, {"../etc/passwd", "", ""},
		{"UTC", "first", ""}, {"UTC", "", "skip"}} {
		if _, err := NewLocalParser(c[0], "", c[1], c[2]); err == nil {
			t.Errorf("%q is accepted", c)
		}
	}
}

// V10: instants with a zone.
func TestParseInstant(t *testing.T) {
	for text, want := range map[string]string{
		"2020-01-02T03:04:05Z": "2020-01-02T03:04:05Z", "2020-01-02T03:04:05.123456Z": "2020-01-02T03:04:05.123456Z",
		"2020-01-02T03:04:05+05:30": "2020-01-01T21:34:05Z", "2020-01-02T03:04:05.5-00:30": "2020-01-02T03:34:05.5Z",
		"2020-01-02T03:04:05.1234567Z": "", "2020-01-02T03:04:05": "", "2020-01-02T03:04:05.Z": "", "2020-01-02t03:04:05Z": "",
		"2020-01-02T03:04:05z": "", "2020-01-02T03:04:05+0530": "", "2020-01-02T03:04:05+24:00": "", "2020-01-02T03:04:05+05:60": "",
		"2020-01-02T03:04:05ZZ": "", "2020-01-02T03:04:60Z": "", "2020-02-30T03:04:05Z": "", "": "", "2020-01-02T03:04:05+aa:00": "",
	} {
		got, err := ParseInstant(text)
		var typed *TimeError
		if want == "" && !errors.As(err, &typed) || want != "" && (err != nil || got != utc(t, want)) {
			t.Errorf("%q is %v, %v; want %q", text, got, err, want)
		}
	}
}

func zoneNames(t testing.TB) []string {
	r, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range r.File {
		if !strings.HasSuffix(f.Name, "/") {
			names = append(names, f.Name)
		}
	}
	return names
}

// candidates finds the instants with a given wall clock by trying every offset
// in use nearby: the definition, slowly.
func candidates(loc *time.Location, wall time.Time) (all []int64) {
	for h := -26 * 60; h <= 26*60; h += 5 {
		_, offset := wall.Add(time.Duration(h) * time.Minute).In(loc).Zone()
		u := wall.Unix() - int64(offset)
		if _, o := time.Unix(u, 0).In(loc).Zone(); o == offset && !slices.Contains(all, u) {
			all = append(all, u)
		}
	}
	slices.Sort(all)
	return all
}

// V10: around random transitions of random zones, the result's wall clock is
// the one given unless none exists, and folds are chosen as asked.
func TestLocalTimesAroundTransitions(t *testing.T) {
	names := zoneNames(t)
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(names).Draw(t, "zone")
		early, err := NewLocalParser(zone, "YYYY-MM-DDTHH:mm", "earlier", "invalid")
		if err != nil {
			t.Fatal(err)
		}
		late, _ := NewLocalParser(zone, "YYYY-MM-DDTHH:mm", "later", "forward")
		loc := early.table.loc
		at := time.Unix(rapid.Int64Range(-4e9, 6e9).Draw(t, "near"), 0).In(loc)
		if start, _ := at.ZoneBounds(); !start.IsZero() {
			at = start
		}
		_, offset := at.Zone()
		wall := at.UTC().Add(time.Duration(offset) * time.Second).Truncate(time.Minute)
		wall = wall.Add(time.Duration(rapid.IntRange(-200, 200).Draw(t, "minutes")) * time.Minute)
		text, want := wall.Format("2006-01-02T15:04"), candidates(loc, wall)
		a, errA := early.Parse(text)
		b, errB := late.Parse(text)
		if errB != nil {
			t.Fatal(errB)
		}
		if len(want) == 0 {
			if errA == nil || b.Time().In(loc).Format("2006-01-02T15:04:05") <= text+":00" {
				t.Fatalf("%s in %s: a gap, read as %v (%v) and %v", text, zone, a, errA, b)
			}
			return
		}
		if errA != nil || a != Micros(want[0])*Second || b != Micros(want[len(want)-1])*Second {
			t.Fatalf("%s in %s: %v (%v) and %v, want of %v", text, zone, a, errA, b, want)
		}
	})
}

func TestZoneRules(t *testing.T) {
	ny := ZoneRules("America/New_York")
	if len(ny) != 32 || ny != ZoneRules("America/New_York") || ny != ZoneRules("US/Eastern") {
		t.Errorf("digest of New York is %q, of its other name %q", ny, ZoneRules("US/Eastern"))
	}
	if ny == ZoneRules("America/Chicago") || ZoneRules("Nowhere") != "" {
		t.Error("other zones have the same digest")
	}
}

func TestTimesAllocateNothing(t *testing.T) {
	p, err := NewLocalParser("America/New_York", "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		p.Parse("2013-07-01T12:34:56.789")
		ParseInstant("2020-01-02T03:04:05.123456+05:30")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzTimes(f *testing.F) {
	p, err := NewLocalParser("America/New_York", "", "", "invalid")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("2013-03-10T02:30:00")
	f.Add("2013-11-03T01:30:00.5")
	f.Add("2020-01-02T03:04:05+05:30")
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := p.Parse(text); err == nil {
			got := m.Time().In(p.table.loc).Format("2006-01-02T15:04:05")
			if got != text[:len("2006-01-02T15:04:05")] {
				t.Errorf("%q reads as %s", text, got)
			}
		}
		if m, err := ParseInstant(text); err == nil {
			if at, err := time.Parse(time.RFC3339Nano, text); err != nil || at.UnixMicro() != int64(m) {
				t.Errorf("%q reads as %v, package time has %v %v", text, m, at, err)
			}
		}
	})
}

func BenchmarkLocalParse(b *testing.B) {
	p, err := NewLocalParser("America/New_York", "", "", "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Parse("2013-07-01T12:34:56.789")
	}
}
