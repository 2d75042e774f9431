package schemas

// Clock is the log clock of one (source, partition): the running maximum of
// the timestamps of the records delivered so far. It is advanced once per
// record, in offset order, by the reader (DESIGN §3, K7). The zero Clock has
// seen nothing.
type Clock struct {
	now Micros
	set bool
	// HistoryEnd is the first offset beyond a declared load of old events;
	// below it event times drive the clock.
	HistoryEnd int64
	// MaxFuture bounds how far past its record's timestamp an event time may
	// drive the clock of a history load.
	MaxFuture Micros
}

// ClockAt returns a clock that continues from a recorded one; Never = none.
func ClockAt(now Micros, historyEnd int64, maxFuture Micros) Clock {
	return Clock{now: now, set: now != Never, HistoryEnd: historyEnd, MaxFuture: maxFuture}
}

// Now returns the clock, Never while it has seen nothing.
func (c *Clock) Now() Micros {
	if !c.set {
		return Never
	}
	return c.now
}

// Tick advances the clock by a tick record.
func (c *Clock) Tick(r *Record) {
	if r.Offset >= c.HistoryEnd {
		c.to(r.Timestamp)
	}
}

// Stamp advances the clock by an event and writes the result into e.Clock. The
// event's offset, timestamp and, below HistoryEnd, event time and fault count.
func (c *Clock) Stamp(e *Event) {
	switch {
	case e.Offset >= c.HistoryEnd:
		c.to(e.Timestamp)
	case e.Fault == nil && e.EventTime <= e.Timestamp.AddSat(c.MaxFuture):
		c.to(e.EventTime)
	}
	e.Clock = c.Now()
}

func (c *Clock) to(t Micros) {
	if !c.set || t > c.now {
		c.now, c.set = t, true
	}
}
