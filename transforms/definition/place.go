package definition

import (
	"errors"
	"strings"

	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// exprErrors reports the faults of an expression at their places in the file.
func (p *parser) exprErrors(n *yaml.Node, err error) {
	var list expr.Errors
	if !errors.As(err, &list) {
		p.fail(n, "", "%v", err)
		return
	}
	for _, e := range list {
		line, col := p.place(n, e.Line, e.Col)
		p.failAt(line, col, e.Hint, "%s", e.Message)
	}
}

// place maps a line and column of a scalar's value to the file's. Where that
// cannot be done simply, it is the scalar's own place.
func (p *parser) place(n *yaml.Node, line, col int) (int, int) {
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return p.placeInBlock(n, line, col)
	}
	if line > 1 || n.Line < 1 || n.Line > len(p.lines) {
		return n.Line, n.Column
	}
	src := []rune(p.lines[n.Line-1])
	start := n.Column - 1
	if start >= len(src) {
		return n.Line, n.Column
	}
	at := start
	switch src[start] {
	case '"':
		at++
		for c := 1; c < col && at < len(src); c++ {
			at += escapeWidth(src[at:])
		}
	case '\'':
		at++
		for c := 1; c < col && at < len(src); c++ {
			if src[at] == '\'' {
				at++
			}
			at++
		}
	default:
		first, _, _ := strings.Cut(n.Value, " ")
		if !strings.HasPrefix(string(src[start:]), first) {
			return n.Line, n.Column
		}
		at += col - 1
	}
	if at > len(src) {
		return n.Line, n.Column
	}
	return n.Line, at + 1
}

// escapeWidth is how many characters of a double-quoted scalar make one.
func escapeWidth(src []rune) int {
	if src[0] != '\\' || len(src) < 2 {
		return 1
	}
	switch src[1] {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 2
}

// placeInBlock finds a place in a | or > scalar, whose text begins a line below.
func (p *parser) placeInBlock(n *yaml.Node, line, col int) (int, int) {
	at := n.Line + line // the value's first line is the one below the indicator
	if n.Style&yaml.FoldedStyle != 0 && line > 1 || at < 1 || at > len(p.lines) {
		return n.Line, n.Column
	}
	text := p.lines[at-1]
	indent := len(text) - len(strings.TrimLeft(text, " "))
	if first := p.lines[min(n.Line, len(p.lines)-1)]; line > 1 {
		indent = len(first) - len(strings.TrimLeft(first, " "))
	}
	if n.Style&yaml.FoldedStyle != 0 && indent+col > len([]rune(text))+1 {
		return n.Line, n.Column
	}
	return at, indent + col
}
