package gate

import (
	"cmp"
	"slices"
)

// Keep returns what a commit keeps for the checks after it: of the days accepted before
// and those of the run, which take their places, the newest that are looked at. It
// changes neither, and whoever checks against it finds what all days would say.
func Keep(accepted, now []Profile, o Options) []Profile {
	if o == (Options{}) {
		o = DefaultOptions()
	}
	all := slices.Concat(now, accepted)
	slices.SortStableFunc(all, func(a, b Profile) int { return cmp.Compare(a.Day, b.Day) })
	all = slices.CompactFunc(all, func(a, b Profile) bool { return a.Day == b.Day })
	need := o.Days + o.Lasting
	final, closed, from := 0, 0, len(all)
	c := checker{Options: o}
	for from > 0 && (final < need || closed < need) {
		from--
		if all[from].Final && c.bounded(all[from].Day) {
			final++
		}
		if all[from].Closed {
			closed++
		}
	}
	return slices.DeleteFunc(all[from:], func(p Profile) bool { return !p.Final && !p.Closed })
}
