package expr

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/parser"
)

// Limits on a source. Deeper nesting, or longer chains of one operator, are refused.
const (
	MaxLength = 64 << 10 // bytes
	MaxDepth  = 250
)

// parse returns the tree of src, without macros, or its syntax errors.
func parse(src string) (tree *ast.AST, errs Errors) {
	one := func(format string, args ...any) Errors {
		return Errors{{Line: 1, Col: 1, Message: fmt.Sprintf(format, args...)}}
	}
	switch {
	case len(src) > MaxLength:
		return nil, one("the expression has %d bytes, more than the %d allowed", len(src), MaxLength)
	case !utf8.ValidString(src):
		return nil, one("the expression is not valid UTF-8")
	case strings.TrimSpace(src) == "":
		return nil, one("the expression is empty")
	}
	// The parser is not ours: a panic in it is a refusal, not a crash.
	defer func() {
		if r := recover(); r != nil {
			tree, errs = nil, one("the expression cannot be parsed")
		}
	}()
	p, err := parser.NewParser(parser.MaxRecursionDepth(MaxDepth), parser.ErrorRecoveryLimit(4),
		parser.ErrorRecoveryLookaheadTokenLimit(32), parser.ErrorReportingLimit(8))
	if err != nil {
		return nil, one("the expression cannot be parsed: %v", err)
	}
	text, was := masked(src)
	tree, celErrs := p.Parse(common.NewTextSource(text))
	if len(was) > 0 && tree != nil {
		unmask(tree, was)
	}
	syntax := false
	for _, e := range celErrs.GetErrors() {
		isSyntax := strings.HasPrefix(e.Message, "Syntax error: ")
		if isSyntax && syntax {
			continue // what follows the first one is mostly its echo
		}
		syntax = syntax || isSyntax
		errs = append(errs, rewrite(e, src))
	}
	return tree, errs.sorted()
}

// rewrite turns an error of CEL's parser into one for readers of YAML and SQL.
func rewrite(e *common.Error, src string) *Error {
	out := &Error{Line: max(1, e.Location.Line()), Col: max(1, e.Location.Column()+1)}
	msg := strings.TrimPrefix(e.Message, "Syntax error: ")
	switch {
	case strings.Contains(msg, "recursion"):
		out.Message = fmt.Sprintf("the expression is nested more than %d deep", MaxDepth)
		out.Hint = "split it into several"
	case strings.HasPrefix(msg, "reserved identifier: "):
		out.Message = "`" + strings.TrimPrefix(msg, "reserved identifier: ") + "` is a reserved word"
	case strings.HasPrefix(msg, "invalid int literal"):
		out.Message, out.Hint = "the int does not fit into 64 bits", "write a double: add .0"
	case strings.HasPrefix(msg, "invalid double literal"):
		out.Message = "the number is not a finite double"
	case strings.HasPrefix(msg, "invalid uint literal"):
		out.Message, out.Hint = "unsigned ints are not supported", "leave out the u"
	case strings.HasPrefix(msg, "unsupported syntax"):
		out.Message = "the expression has " + strings.TrimPrefix(msg, "unsupported ") + ", which is not supported"
	case strings.Contains(msg, "<EOF>") && !strings.Contains(msg, "expecting <EOF>"):
		out.Message, out.Hint = "the expression ends too early", "something is missing after it"
	default:
		word := wordAt(src, out.Line, out.Col)
		out.Message = "unexpected `" + word + "`"
		if word == "" {
			out.Message = "the expression cannot be read from here on"
		}
		out.Hint = wordHint(word)
	}
	return out
}

// wordAt returns the identifier, number or sign at that place.
func wordAt(src string, line, col int) string {
	lines := strings.Split(src, "\n")
	if line > len(lines) {
		return ""
	}
	rest := []rune(lines[line-1])
	if col > len(rest) {
		return ""
	}
	rest = rest[col-1:]
	n := 0
	for n < len(rest) && n < 40 && isWord(rest[n]) {
		n++
	}
	return string(rest[:max(1, n)])
}

func isWord(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// wordHint says what stands in CEL for a word or sign of SQL or Python.
func wordHint(word string) string {
	switch strings.ToLower(word) {
	case "=":
		return "write == to compare"
	case "and", "&":
		return "write &&"
	case "or", "|":
		return "write ||"
	case "not":
		return "write !"
	case "is":
		return "write `x == null` or `x != null`"
	case ">":
		return "write != for unequal"
	case "between":
		return "write `x >= a && x <= b`"
	case "like":
		return "use startsWith, endsWith or contains"
	case "case", "when", "then":
		return "write `condition ? a : b`"
	case "\"", "'":
		return "a text needs the same quote at both ends"
	case "`":
		return "write field names without quotes"
	}
	return ""
}
