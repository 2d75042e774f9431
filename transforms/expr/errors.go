package expr

import (
	"fmt"
	"sort"
	"strings"

	"github.com/tallystick/tallystick/schemas"
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
	best := schemas.Similar(name, known)
	switch {
	case len(best) > 0:
		return "did you mean `" + best[0] + "`?"
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
