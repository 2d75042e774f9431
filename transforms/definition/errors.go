package definition

import (
	"fmt"
	"sort"
	"strings"
)

// Error is one fault of a definition file.
type Error struct {
	File      string
	Line, Col int    // from 1; Col in characters
	Message   string // what is wrong
	Hint      string // what to do; may be empty
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s%s", e.File, e.Line, e.Col, e.Message, hinted(e.Hint))
}

// Errors is every fault of a definition file, in the order of their places.
type Errors struct{ List []*Error }

func (e *Errors) Error() string {
	lines := make([]string, len(e.List))
	for i, x := range e.List {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

func hinted(hint string) string {
	if hint == "" {
		return ""
	}
	return "; " + hint
}

// sortedErrors orders the faults by place and drops repeated ones.
func (p *parser) sortedErrors() *Errors {
	sort.SliceStable(p.errs, func(i, j int) bool {
		a, b := p.errs[i], p.errs[j]
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
	out := &Errors{}
	seen := map[string]bool{}
	for _, e := range p.errs {
		if !seen[e.Error()] {
			seen[e.Error()] = true
			out.List = append(out.List, e)
		}
	}
	return out
}
