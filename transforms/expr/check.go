package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/tallystick/tallystick/schemas"
)

// typ is Type plus what the checker alone needs to know.
type typ struct {
	kind     schemas.Kind
	nullable bool
	duration bool // an Int that counts microseconds
	decimal  bool // Bytes, see Type
	scale    int
}

// node is a checked subexpression.
type node struct {
	typ   typ
	eval  evalFunc
	expr  ast.Expr
	bad   bool // already reported
	konst bool
	value schemas.Value // of a konst
	parts []evalFunc    // the operands of a chain of text + text
	enum  []string      // the symbols, where it is an enum field
}

// checker checks one expression and builds its evaluator.
type checker struct {
	scope Scope
	tree  *ast.AST
	src   []rune
	errs  Errors
	slots map[int]bool
	depth int
}

// fail reports a fault at e and returns a node that silences its parents.
func (c *checker) fail(e ast.Expr, message, hint string) node {
	l := c.tree.SourceInfo().GetLocationByOffset(c.offset(e))
	c.errs = append(c.errs, &Error{Line: max(1, l.Line()), Col: max(1, l.Column()+1), Message: message, Hint: hint})
	return node{bad: true, expr: e}
}

// offset returns where e begins for its reader: a path and a call at their
// first character, an operator at its sign.
func (c *checker) offset(e ast.Expr) int32 {
	r, _ := c.tree.SourceInfo().GetOffsetRange(e.ID())
	switch e.Kind() {
	case ast.SelectKind:
		return c.offset(e.AsSelect().Operand())
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return c.offset(call.Target())
		}
		if call.FunctionName() == operators.Index {
			return c.offset(call.Args()[0])
		}
		if isOperator(call.FunctionName()) {
			return r.Start
		}
		// CEL notes the parenthesis: walk back over the function's name.
		i := int(r.Start)
		for i > 0 && i <= len(c.src) && (c.src[i-1] == ' ' || c.src[i-1] == '\n' || c.src[i-1] == '\t') {
			i--
		}
		return int32(max(0, i-len([]rune(call.FunctionName()))))
	}
	return r.Start
}

func isOperator(name string) bool {
	_, ok := operators.FindReverse(name)
	return ok || name == operators.Conditional
}

// check checks a subexpression whose value takes part as it is.
func (c *checker) check(e ast.Expr) node {
	n := c.any(e)
	if n.typ.decimal && !n.bad {
		return c.refuseDecimal(n)
	}
	return n
}

// any checks a subexpression, which may be a decimal.
func (c *checker) any(e ast.Expr) node {
	c.depth++
	defer func() { c.depth-- }()
	if c.depth > 2*MaxDepth {
		return c.fail(e, "the expression is nested too deeply", "split it into several")
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return c.literal(e)
	case ast.IdentKind, ast.SelectKind:
		return c.field(e)
	case ast.CallKind:
		return c.call(e)
	case ast.ListKind:
		return c.fail(e, "a list may only stand to the right of `in`", "")
	case ast.MapKind, ast.StructKind:
		return c.fail(e, "maps and messages {…} are not supported", "")
	}
	return c.fail(e, "this is not supported", "")
}

func (c *checker) literal(e ast.Expr) node {
	var v schemas.Value
	switch l := e.AsLiteral().(type) {
	case types.Bool:
		v = schemas.BoolValue(bool(l))
	case types.Int:
		v = schemas.IntValue(int64(l))
	case types.Double:
		v = schemas.DoubleValue(float64(l))
	case types.String:
		v = schemas.StringValue(string(l))
	case types.Bytes:
		v = schemas.BytesValue(string(l))
	case types.Null:
	default:
		return c.fail(e, "unsigned ints are not supported", "leave out the u")
	}
	if !v.Finite() {
		return c.fail(e, "the number is not a finite double", "")
	}
	return constant(e, v)
}

func constant(e ast.Expr, v schemas.Value) node {
	return node{
		typ: typ{kind: v.Kind(), nullable: v.IsNull()}, expr: e, konst: true, value: v,
		eval: func([]schemas.Value) (schemas.Value, error) { return v, nil },
	}
}

func (c *checker) call(e ast.Expr) node {
	call := e.AsCall()
	name := call.FunctionName()
	args := call.Args()
	switch name {
	case operators.LogicalAnd, operators.LogicalOr:
		return c.logical(e, name == operators.LogicalOr, args)
	case operators.LogicalNot:
		return c.not(e, args[0])
	case operators.Conditional:
		return c.conditional(e, args)
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals,
		operators.Greater, operators.GreaterEquals:
		return c.compare(e, name, args)
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return c.arithmetic(e, name, args)
	case operators.Negate:
		return c.negate(e, args[0])
	case operators.In:
		return c.in(e, args)
	case operators.Index:
		return c.field(e)
	case operators.OptIndex, operators.OptSelect:
		return c.fail(e, "optional selection is not supported", "leave out the ?: what is not there is null")
	}
	return c.function(e, call)
}

// all checks the arguments; ok is false when one of them has been reported.
func (c *checker) all(args []ast.Expr) (nodes []node, ok bool) { return each(args, c.check) }

func each(args []ast.Expr, check func(ast.Expr) node) (nodes []node, ok bool) {
	ok = true
	nodes = make([]node, len(args))
	for i, a := range args {
		nodes[i] = check(a)
		ok = ok && !nodes[i].bad
	}
	return nodes, ok
}

// fold makes a node of eval over operands: a constant when they all are.
func (c *checker) fold(e ast.Expr, t typ, eval evalFunc, operands ...node) node {
	for _, o := range operands {
		if !o.konst {
			return node{typ: t, eval: eval, expr: e}
		}
	}
	v, err := eval(nil)
	if err != nil {
		return c.fail(e, "the result is always an error: "+err.Error(), "")
	}
	n := constant(e, v)
	n.typ.kind, n.typ.duration = t.kind, t.duration
	return n
}

func (c *checker) wantBool(n node, what string) bool {
	if n.typ.kind == schemas.Bool {
		return true
	}
	c.fail(n.expr, what+" takes conditions, this is "+articleOf(n), "compare it with something")
	return false
}

func articleOf(n node) string {
	if n.typ.decimal {
		return "a decimal"
	}
	return Article(n.typ.kind)
}

func (c *checker) not(e ast.Expr, arg ast.Expr) node {
	a := c.check(arg)
	if a.bad || !c.wantBool(a, "!") {
		return node{bad: true, expr: e}
	}
	x := a.eval
	return c.fold(e, a.typ, func(f []schemas.Value) (schemas.Value, error) {
		v, err := x(f)
		if err != nil || v.IsNull() {
			return v, err
		}
		return schemas.BoolValue(!v.Bool()), nil
	}, a)
}

// logical is Kleene's && and ||, from left to right, as far as needed.
func (c *checker) logical(e ast.Expr, or bool, args []ast.Expr) node {
	n, ok := c.all(args)
	if !ok {
		return node{bad: true, expr: e}
	}
	sign := "&&"
	if or {
		sign = "||"
	}
	okA, okB := c.wantBool(n[0], sign), c.wantBool(n[1], sign)
	if !okA || !okB {
		return node{bad: true, expr: e}
	}
	a, b := n[0].eval, n[1].eval
	t := typ{kind: schemas.Bool, nullable: n[0].typ.nullable || n[1].typ.nullable}
	return c.fold(e, t, func(f []schemas.Value) (schemas.Value, error) {
		x, err := a(f)
		if err != nil || !x.IsNull() && x.Bool() == or {
			return x, err
		}
		y, err := b(f)
		if err != nil || !y.IsNull() && y.Bool() == or || !x.IsNull() {
			return y, err
		}
		return schemas.Value{}, nil // null, and y does not decide
	}, n...)
}

func (c *checker) conditional(e ast.Expr, args []ast.Expr) node {
	n, ok := c.all(args)
	if !ok || !c.wantBool(n[0], "the question before ?") {
		return node{bad: true, expr: e}
	}
	t := n[1].typ
	switch a, b := n[1].typ.kind, n[2].typ.kind; {
	case a == schemas.Null:
		t = n[2].typ
	case b != schemas.Null && a != b:
		hint := ""
		if numeric(a) && numeric(b) {
			hint = "write " + asDouble(intOf(n[1], n[2]))
		}
		return c.fail(e, "the two results of ?: are "+articleOf(n[1])+" and "+articleOf(n[2]), hint)
	}
	t.nullable = n[0].typ.nullable || n[1].typ.nullable || n[2].typ.nullable
	t.duration = n[1].typ.duration && n[2].typ.duration
	q, a, b := n[0].eval, n[1].eval, n[2].eval
	return c.fold(e, t, func(f []schemas.Value) (schemas.Value, error) {
		v, err := q(f)
		if err != nil || v.IsNull() {
			return schemas.Value{}, err
		}
		if v.Bool() {
			return a(f)
		}
		return b(f)
	}, n...)
}

func numeric(k schemas.Kind) bool { return k == schemas.Int || k == schemas.Double }

// intOf returns the one of two numbers that is an int.
func intOf(a, b node) node {
	if a.typ.kind == schemas.Int {
		return a
	}
	return b
}

// asDouble shows how n is written as a double.
func asDouble(n node) string {
	text := unparse(n.expr)
	switch {
	case n.expr.Kind() == ast.LiteralKind:
		return "`" + text + ".0`"
	case len(text) > 60:
		return "double(…) around the int"
	}
	return "`double(" + text + ")`"
}
