package transforms

import "github.com/tallystick/tallystick/schemas"

// span returns the interval [lo, hi) of event time that the window covers as
// of t (V3). lo is a multiple of the window's hop.
func (w Window) span(t schemas.Micros) (lo, hi schemas.Micros) {
	switch w.Kind {
	case Sliding:
		return t.SubSat(w.Length).Floor(w.Hop), t
	case Lifetime:
		return schemas.Never, t
	}
	f := w.unitStart(t, 0)
	if w.ExcludeCurrent {
		return w.unitStart(t, w.N), f
	}
	return w.unitStart(t, w.N-1), t
}

// Span returns the interval [lo, hi) of event time that the window covers as of
// t; lo is schemas.Never for lifetime.
func (w Window) Span(t schemas.Micros) (lo, hi schemas.Micros) { return w.span(t) }

// unitStart returns the start of the calendar unit n units before the one that
// t lies in.
func (w Window) unitStart(t schemas.Micros, n int) schemas.Micros {
	d := int64(t / schemas.Day)
	if schemas.Micros(d)*schemas.Day > t {
		d--
	}
	switch w.Kind {
	case Weeks: // day 4 was a Monday
		return startOf(d-((d-4)%7+7)%7-7*int64(n), schemas.Day)
	case Months:
		y, m, _ := civil(d)
		k := y*12 + m - 1 - int64(n)
		y, m = k/12, k%12
		if m < 0 {
			y, m = y-1, m+12
		}
		return startOf(daysFromCivil(y, m+1), schemas.Day)
	}
	return startOf(d-int64(n), schemas.Day)
}

// startOf returns index × hop, held within [Never, Forever]. It lies less than
// 2^63 µs outside.
func startOf(index int64, hop schemas.Micros) schemas.Micros {
	switch t := schemas.Micros(index) * hop; {
	case index < 0 && t > 0:
		return schemas.Never
	case index > 0 && t < 0:
		return schemas.Forever
	default:
		return t
	}
}

// Reach returns how far back from t the window can look, in µs: a month counts as
// 31 days; Forever for lifetime.
func (w Window) Reach() schemas.Micros {
	if w.Kind == Lifetime {
		return schemas.Forever
	}
	return w.reach()
}

// reach returns the length of event time that the window can look back from t,
// for retention: a month counts as 31 days (V3, V11). With ExcludeCurrent the
// unit that t lies in stands between t and the window and counts too.
func (w Window) reach() schemas.Micros {
	n := schemas.Micros(w.N)
	if w.ExcludeCurrent {
		n++
	}
	switch w.Kind {
	case Sliding:
		return w.Length
	case Days:
		return n * schemas.Day
	case Weeks:
		return n * 7 * schemas.Day
	case Months:
		return n * 31 * schemas.Day
	}
	return 0
}

// civil converts days since the epoch to year, month (1-12) and day in the
// proleptic Gregorian calendar; Howard Hinnant, "chrono-Compatible Low-Level
// Date Algorithms", civil_from_days.
func civil(z int64) (y, m, d int64) {
	z += 719468
	era := z / 146097
	if z < 0 {
		era = (z - 146096) / 146097
	}
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	m = mp + 3
	if m > 12 {
		m -= 12
	}
	y = yoe + era*400
	if m <= 2 {
		y++
	}
	return y, m, d
}

// daysFromCivil returns the days from the epoch to the first of the month;
// same source, days_from_civil.
func daysFromCivil(y, m int64) int64 {
	if m <= 2 {
		y--
	}
	era := y / 400
	if y < 0 {
		era = (y - 399) / 400
	}
	yoe := y - era*400
	mp := m - 3
	if m <= 2 {
		mp = m + 9
	}
	doy := (153*mp + 2) / 5
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}
