package oracle

import (
	"math"
	"time"
)

// WindowKind is the shape of a window.
type WindowKind uint8

// The window shapes.
const (
	Sliding WindowKind = iota
	Days
	Weeks
	Months
	Lifetime
)

// Window is the interval of event time a feature looks at (V3).
type Window struct {
	Kind           WindowKind
	Length, Hop    int64 // Sliding
	N              int   // Days, Weeks, Months
	ExcludeCurrent bool
}

// Span returns [lo, hi) as of t, by the calendar of package time. Where lo lies
// before every int64, arithmetic wraps to beyond t: then nothing is too old.
func (w Window) Span(t int64) (lo, hi int64) {
	if lo, hi = w.span(t); lo > t {
		lo = math.MinInt64
	}
	return lo, hi
}

func (w Window) span(t int64) (lo, hi int64) {
	if w.Kind == Lifetime {
		return math.MinInt64, t
	}
	if w.Kind == Sliding {
		lo = t - w.Length
		for lo%w.Hop != 0 { // at most two steps: % rounds towards zero
			if r := lo % w.Hop; r > 0 {
				lo -= r
			} else {
				lo -= w.Hop + r
			}
		}
		return lo, t
	}
	now := time.UnixMicro(t).UTC()
	unit := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	back := func(n int) time.Time { return unit.AddDate(0, 0, -n) }
	switch w.Kind {
	case Weeks:
		for unit.Weekday() != time.Monday {
			unit = unit.AddDate(0, 0, -1)
		}
		back = func(n int) time.Time { return unit.AddDate(0, 0, -7*n) }
	case Months:
		unit = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
		back = func(n int) time.Time { return unit.AddDate(0, -n, 0) }
	}
	if w.ExcludeCurrent {
		return back(w.N).UnixMicro(), unit.UnixMicro()
	}
	return back(w.N - 1).UnixMicro(), t
}

// Level returns the grid of the window's tail.
func (w Window) Level() int64 {
	if w.Kind == Sliding {
		return w.Hop
	}
	return 86_400_000_000
}
