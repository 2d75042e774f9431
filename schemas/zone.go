package schemas

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"time"
)

// The IANA database, release 2025c, as Go ships it in lib/time. It is embedded
// here rather than through time/tzdata because time.LoadLocation asks the
// machine's own database first, and a value must not depend on the machine (V1).
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// LoadZone returns the rules of an IANA zone from the embedded database.
func LoadZone(name string) (*time.Location, error) {
	switch name {
	case "":
		return nil, fmt.Errorf("no time zone is named; name one of the IANA database, as in \"America/New_York\", or \"UTC\"")
	case "Local":
		return nil, fmt.Errorf("time zone \"Local\" is whatever the machine is set to; name one of the IANA database, as in \"America/New_York\"")
	}
	files, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		return nil, fmt.Errorf("embedded zone database: %w", err)
	}
	i := slices.IndexFunc(files.File, func(f *zip.File) bool { return f.Name == name && !f.FileInfo().IsDir() })
	if i < 0 {
		return nil, fmt.Errorf("time zone %q is not in the IANA database; names are written as in \"America/New_York\", upper case matters", name)
	}
	r, err := files.File[i].Open()
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	loc, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	return loc, nil
}

// ZoneRules returns a digest of a zone's transitions in the years 1900 to 2100,
// for fingerprints; "" when the zone is not in the database. Zones with equal
// rules have equal digests, whatever their names.
func ZoneRules(zone string) string {
	loc, err := LoadZone(zone)
	if err != nil {
		return ""
	}
	h := sha256.New()
	for _, s := range newZoneTable(loc).spans {
		var b [12]byte
		binary.BigEndian.PutUint64(b[:], uint64(s.start))
		binary.BigEndian.PutUint32(b[8:], uint32(s.offset))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// zoneSpan is a time, in Unix seconds [start, end), during which local time is
// UTC + offset seconds.
type zoneSpan struct {
	start, end int64
	offset     int64
}

// zoneTable holds the spans of 1900 to 2100; others are looked up.
type zoneTable struct {
	loc   *time.Location
	spans []zoneSpan
}

const (
	tableStart = -2208988800 // 1900-01-01
	tableEnd   = 4133980800  // 2101-01-01
)

func newZoneTable(loc *time.Location) *zoneTable {
	z := &zoneTable{loc: loc}
	for at := int64(tableStart); at < tableEnd; {
		s := z.slow(at)
		s.start, s.end = at, min(s.end, tableEnd)
		if n := len(z.spans); n > 0 && z.spans[n-1].offset == s.offset {
			z.spans[n-1].end = s.end
		} else {
			z.spans = append(z.spans, s)
		}
		at = s.end
	}
	return z
}

// at returns a span of constant offset around Unix second u. Adjacent spans may
// have the same offset.
func (z *zoneTable) at(u int64) zoneSpan {
	if u < tableStart || u >= tableEnd {
		return z.slow(u)
	}
	return z.spans[sort.Search(len(z.spans), func(i int) bool { return z.spans[i].end > u })]
}

func (z *zoneTable) slow(u int64) zoneSpan {
	t := time.Unix(u, 0).In(z.loc)
	_, offset := t.Zone()
	s := zoneSpan{start: math.MinInt64, end: math.MaxInt64, offset: int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		s.start = start.Unix()
	}
	if !end.IsZero() {
		s.end = end.Unix()
	}
	// Package time takes every year of a rule for 365 days long: on the last
	// day of a leap year the bounds end before it. Then go on by the minute.
	if s.start > u {
		s.start = u
	}
	if s.end <= u {
		s.end = u + 60
	}
	return s
}
