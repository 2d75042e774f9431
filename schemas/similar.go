package schemas

import (
	"cmp"
	"slices"
	"strings"
)

// similarLen bounds names that are compared, in bytes: longer ones resemble
// nothing, so that a hint costs little whatever it is asked about.
const similarLen = 128

// Similar returns up to three of the known names that name may be meant for,
// best first. Letter case does not count. Near are names within three edits,
// fewer for a short one, and those that differ in a prefix path or an affix.
func Similar(name string, known []string) []string {
	type near struct {
		name string
		d    int
	}
	limit := min(3, len([]rune(name))/3+1)
	lower := strings.ToLower(name)
	var found []near
	for _, k := range known {
		low := strings.ToLower(k)
		d := distance(lower, low, limit)
		switch {
		case d > 1 && lastPart(lower) == lastPart(low):
			d = 1
		case d > limit && len(k) >= 3 && len(name) >= 3 && affix(name, k):
			d = limit
		}
		if d <= limit {
			found = append(found, near{k, d})
		}
	}
	slices.SortFunc(found, func(a, b near) int { return cmp.Or(cmp.Compare(a.d, b.d), cmp.Compare(a.name, b.name)) })
	var out []string
	for _, n := range found[:min(3, len(found))] {
		out = append(out, n.name)
	}
	return out
}

// lastPart is what stands behind the last dot of a path.
func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// affix tells whether one name continues the other, at an underscore or dot or
// after four letters.
func affix(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(a) == len(b) {
		return false
	}
	sep := func(c byte) bool { return c == '_' || c == '.' }
	return strings.HasPrefix(b, a) && (len(a) >= 4 || sep(b[len(a)])) || strings.HasSuffix(b, a) && sep(b[len(b)-len(a)-1])
}

// distance is Levenshtein's, in bytes, or limit+1 where it is sure to be more
// than limit.
func distance(a, b string, limit int) int {
	if len(a) > similarLen || len(b) > similarLen || max(len(a)-len(b), len(b)-len(a)) > limit {
		return limit + 1
	}
	var row [similarLen + 1]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
