package transforms

// WarmBytes is Warm for AppendServed.
//
//go:noinline
func WarmBytes(states []*State) (sum int64) {
	for _, s := range states {
		sum += s.last + int64(s.old.size)
	}
	for _, s := range states {
		for li := range s.levels {
			x := &s.levels[li]
			sum += x.first + int64(x.tail[0]) + int64(x.tail[tailRoom-1]) + int64(x.at[recent-1])
			if x.hot != nil {
				sum += x.hot.events
			}
		}
	}
	for _, s := range states {
		for li := range s.levels {
			x, from := &s.levels[li], 0
			if x.olds > 0 {
				from = int(x.oldEnd)
			}
			for at := from; at < len(x.data); at += 64 {
				sum += int64(x.data[at])
			}
		}
	}
	return sum
}

// Warm reads a little of each state, so that Step finds them near: a state that
// was not in use lies far from the processor, and waiting for some thirty at once
// takes little longer than waiting for one. It returns nothing of meaning, but
// keeps the compiler from leaving it out.
//
//go:noinline
func Warm(states []*State) (sum int64) {
	for _, s := range states {
		sum += s.last
	}
	for _, s := range states {
		for li := range s.levels {
			x := &s.levels[li]
			sum += x.first + int64(x.tail[0]) + int64(x.tail[tailRoom-1])
			if x.hot != nil {
				sum += x.hot.events
			}
		}
	}
	for _, s := range states {
		for li := range s.levels {
			if x := &s.levels[li]; x.nearSpill() && len(x.data) > 0 {
				sum += int64(x.data[len(x.data)-1]) + int64(x.data[x.head])
			}
		}
	}
	return sum
}
