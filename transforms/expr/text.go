package expr

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/tallystick/tallystick/schemas"
)

// Binding strengths, weakest first.
const (
	bindConditional = iota + 1
	bindOr
	bindAnd
	bindRelation
	bindSum
	bindProduct
	bindUnary
	bindMember
)

var signs = map[string]struct {
	text string
	bind int
}{
	operators.LogicalOr:     {"||", bindOr},
	operators.LogicalAnd:    {"&&", bindAnd},
	operators.Equals:        {"==", bindRelation},
	operators.NotEquals:     {"!=", bindRelation},
	operators.Less:          {"<", bindRelation},
	operators.LessEquals:    {"<=", bindRelation},
	operators.Greater:       {">", bindRelation},
	operators.GreaterEquals: {">=", bindRelation},
	operators.In:            {"in", bindRelation},
	operators.Add:           {"+", bindSum},
	operators.Subtract:      {"-", bindSum},
	operators.Multiply:      {"*", bindProduct},
	operators.Divide:        {"/", bindProduct},
	operators.Modulo:        {"%", bindProduct},
}

// unparse returns the normal form of e.
func unparse(e ast.Expr) string {
	var w writer
	w.write(e, 0)
	return w.String()
}

// writer collects the normal form of an expression.
type writer struct {
	strings.Builder
	rename func(path string) string // nil = names as they are
}

// write writes e, in parentheses when it binds weaker than its place asks.
func (b *writer) write(e ast.Expr, bind int) {
	if p, ok := path(e); ok && b.rename != nil {
		b.WriteString(b.rename(p))
		return
	}
	own := binding(e)
	if own < bind {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	switch e.Kind() {
	case ast.LiteralKind:
		b.WriteString(literal(literalValue(e)))
	case ast.IdentKind:
		b.WriteString(e.AsIdent())
	case ast.SelectKind:
		b.write(e.AsSelect().Operand(), bindMember)
		b.WriteString("." + e.AsSelect().FieldName())
	case ast.ListKind:
		b.WriteByte('[')
		b.list(e.AsList().Elements())
		b.WriteByte(']')
	case ast.CallKind:
		b.call(e.AsCall(), own)
	default:
		b.WriteString("{…}")
	}
}

func (b *writer) call(call ast.CallExpr, own int) {
	name, args := call.FunctionName(), call.Args()
	sign, infix := signs[name]
	switch {
	case call.IsMemberFunction():
		b.write(call.Target(), bindMember)
		b.WriteString("." + name + "(")
		b.list(args)
		b.WriteByte(')')
	case name == operators.Conditional:
		b.write(args[0], own+1)
		b.WriteString(" ? ")
		b.write(args[1], own+1)
		b.WriteString(" : ")
		b.write(args[2], own)
	case infix:
		b.write(args[0], own)
		b.WriteString(" " + sign.text + " ")
		// && and || are associative: CEL's parser balances their chains.
		if name == operators.LogicalAnd || name == operators.LogicalOr {
			b.write(args[1], own)
		} else {
			b.write(args[1], own+1)
		}
	case name == operators.LogicalNot:
		b.WriteByte('!')
		b.write(args[0], bindMember)
	case name == operators.Negate:
		b.WriteByte('-')
		// -(5) is not the literal -5.
		if args[0].Kind() == ast.LiteralKind {
			b.WriteByte('(')
			defer b.WriteByte(')')
		}
		b.write(args[0], bindMember)
	case name == operators.Index:
		b.write(args[0], bindMember)
		b.WriteByte('[')
		b.write(args[1], 0)
		b.WriteByte(']')
	default:
		b.WriteString(name + "(")
		b.list(args)
		b.WriteByte(')')
	}
}

func (b *writer) list(list []ast.Expr) {
	for i, e := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.write(e, 0)
	}
}

func binding(e ast.Expr) int {
	if e.Kind() != ast.CallKind || e.AsCall().IsMemberFunction() {
		return bindMember
	}
	name := e.AsCall().FunctionName()
	switch name {
	case operators.Conditional:
		return bindConditional
	case operators.LogicalNot, operators.Negate:
		return bindUnary
	}
	if s, ok := signs[name]; ok {
		return s.bind
	}
	return bindMember
}

func literalValue(e ast.Expr) schemas.Value {
	switch l := e.AsLiteral().(type) {
	case types.Bool:
		return schemas.BoolValue(bool(l))
	case types.Int:
		return schemas.IntValue(int64(l))
	case types.Double:
		return schemas.DoubleValue(float64(l))
	case types.String:
		return schemas.StringValue(string(l))
	case types.Bytes:
		return schemas.BytesValue(string(l))
	}
	return schemas.Value{}
}

// literal writes a constant in CEL.
func literal(v schemas.Value) string {
	switch v.Kind() {
	case schemas.Double:
		s := strconv.FormatFloat(v.Double(), 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case schemas.String:
		return quote(v.Text(), false)
	case schemas.Bytes:
		return "b" + quote(v.Text(), true)
	case schemas.Timestamp:
		return "timestamp(" + quote(v.String(), false) + ")"
	}
	return v.String()
}

// quote writes a text or bytes between double quotes; \xNN is a byte in bytes
// and would be a character in a text, so texts escape by \u and \U.
func quote(s string, isBytes bool) string {
	var b strings.Builder
	b.WriteByte('"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if isBytes {
			r, n = rune(s[0]), 1
		}
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case isBytes && (r < 0x20 || r > 0x7e):
			fmt.Fprintf(&b, `\x%02x`, r)
		case isBytes || strconv.IsPrint(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	b.WriteByte('"')
	return b.String()
}

// Normalize returns the normal form of src with its fields renamed, unchecked
// but for its syntax. The error is an Errors.
func Normalize(src string, rename func(path string) string) (string, error) {
	tree, errs := parse(src)
	if len(errs) > 0 {
		return "", errs
	}
	w := writer{rename: rename}
	w.write(tree.Expr(), 0)
	return w.String(), nil
}
