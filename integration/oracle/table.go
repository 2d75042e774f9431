package oracle

// TableOutcome judges one record of a table's log, with the clock at it (K6, V6):
// there are no ids, no filter and nothing is late.
func TableOutcome(c *Config, r *Record, clock int64) Outcome {
	switch {
	case r.Kind == Bad || r.Entity == "", r.Invalid && !r.Gone:
		return Invalid
	case exceeds(r.happened(), clock, c.MaxFuture):
		return Future
	}
	return Applied
}

// happened is a record's event time: a tombstone has that of its record.
func (r *Record) happened() int64 {
	if r.Gone {
		return r.Timestamp
	}
	return r.EventTime
}

// TableValues returns every feature of an entity as of t over all of its records
// that count, whatever their order (K6, V9).
func TableValues(c *Config, applied []*Record, t int64) []Result {
	var last *Record
	for _, r := range applied {
		if r.happened() < t && (last == nil || overtakes(r, last)) {
			last = r
		}
	}
	out := make([]Result, len(c.Features))
	vals := make([]Val, len(out))
	for i, f := range c.Features {
		switch {
		case last == nil || last.Gone:
			out[i] = Result{Status: Absent}
		case f.Derived != nil:
			out[i] = derived(f, vals, out)
		default:
			v := last.Inputs[f.Input]
			if v.Kind == Null {
				v = f.Default
			}
			out[i] = Result{v, Present}
			if v.Kind == Null {
				out[i].Status = IsNull
			}
		}
		vals[i] = out[i].Val
	}
	return out
}

// overtakes tells whether a is the later one of two records of an entity: by
// event time, of equal ones a tombstone, then by version, partition and offset.
func overtakes(a, b *Record) bool {
	switch {
	case a.happened() != b.happened():
		return a.happened() > b.happened()
	case a.Gone != b.Gone:
		return a.Gone
	case !a.Gone && a.Version != b.Version:
		return a.Version > b.Version
	case a.Partition != b.Partition:
		return a.Partition > b.Partition
	}
	return a.Offset > b.Offset
}
