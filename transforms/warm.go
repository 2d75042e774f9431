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
			sum += s.levels[li].touch(len(s.levels[li].data))
		}
	}
	return sum
}

// newerAt returns where the newer tiles start in data.
func (x *tileList) newerAt() int {
	if x.olds > 0 {
		return int(x.oldEnd)
	}
	return int(x.head)
}

// touch reads a little of each line of the processor's cache from the first newer
// tile up to end.
func (x *tileList) touch(end int) (sum int64) {
	for at := x.newerAt(); at < end; at += 64 {
		sum += int64(x.data[at])
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
			x := &s.levels[li]
			if x.nearSpill() && len(x.data) > 0 {
				sum += int64(x.data[len(x.data)-1]) + int64(x.data[x.newerAt()])
			}
			if x.room == 0 { // the next tile may make others old
				sum += x.touch(len(x.data) - (len(x.data)-x.newerAt())/2)
			}
		}
	}
	return sum
}
