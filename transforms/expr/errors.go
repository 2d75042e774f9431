package expr

import (
	"fmt"
	"sort"
	"strings"
)

// Error is one fault of an expression. Line and Col, in characters, count from 1
// within the source.
type Error struct {
	Line, Col int
	Message   string // what is wrong, one sentence without a full stop
	Hint      string // what to do; may be empty
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Text()) }

// Text returns the message and the hint without the place.
func (e *Error) Text() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Errors is every fault of an expression, in the order of their places.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, x := range e {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

func (e Errors) sorted() Errors {
	sort.SliceStable(e, func(i, j int) bool {
		if e[i].Line != e[j].Line {
			return e[i].Line < e[j].Line
		}
		return e[i].Col < e[j].Col
	})
	return e
}

// UnknownField says that there is no field of that path in where ("source
// trips"; may be empty), and names the nearest that there is.
func UnknownField(path, where string, known []string) *Error {
	m := "unknown field `" + path + "`"
	if where != "" {
		m += " in " + where
	}
	return &Error{Line: 1, Col: 1, Message: m, Hint: DidYouMean(path, known)}
}

// DidYouMean returns a hint that names the entry of known nearest to name, or
// lists them when none is near and they are few; it may be empty.
func DidYouMean(name string, known []string) string {
	best, least := "", len([]rune(name))/3+1
	for _, k := range known {
		// A name that differs only in its prefix path or in an affix is near.
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if d > least && len(k) >= 3 && len(name) >= 3 && affix(name, k) {
			d = least
		}
		if d < least || d == least && (best == "" || k < best) {
			best, least = k, d
		}
	}
	switch {
	case best != "":
		return "did you mean `" + best + "`?"
	case len(known) > 0 && len(known) <= 12:
		list := append([]string(nil), known...)
		sort.Strings(list)
		if len(list) == 1 {
			return "there is only " + list[0]
		}
		return "there are " + strings.Join(list, ", ")
	}
	return ""
}

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

// distance is Levenshtein's, in bytes; names longer than 64 are far from everything.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var row [65]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
