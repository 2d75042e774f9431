package expr

import (
	"slices"
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/tallystick/tallystick/schemas"
)

var (
	valueTrue  = schemas.BoolValue(true)
	valueFalse = schemas.BoolValue(false)
)

func boolOf(b bool) schemas.Value {
	if b {
		return valueTrue
	}
	return valueFalse
}

// comparison tells which signs of "left compared with right" make it true.
type comparison struct{ less, equal, greater bool }

func (o comparison) of(sign int) schemas.Value {
	return boolOf(sign < 0 && o.less || sign == 0 && o.equal || sign > 0 && o.greater)
}

func comparisonOf(operator string) comparison {
	switch operator {
	case operators.Equals:
		return comparison{equal: true}
	case operators.NotEquals:
		return comparison{less: true, greater: true}
	case operators.Less:
		return comparison{less: true}
	case operators.LessEquals:
		return comparison{less: true, equal: true}
	case operators.Greater:
		return comparison{greater: true}
	}
	return comparison{greater: true, equal: true}
}

func (c *checker) compare(e ast.Expr, name string, args []ast.Expr) node {
	check := c.check
	if isNullLiteral(args[0]) || isNullLiteral(args[1]) {
		check = c.nullable
	}
	n, ok := each(args, check)
	if !ok {
		return node{bad: true, expr: e}
	}
	a, b := n[0], n[1]
	if isNull(a) || isNull(b) {
		return c.nullTest(e, name, a, b)
	}
	if !comparable(a.typ.kind, b.typ.kind) {
		return c.fail(e, "cannot compare "+a.typ.kind.String()+" with "+b.typ.kind.String(), compareHint(a, b))
	}
	if a.typ.kind == schemas.Bool && name != operators.Equals && name != operators.NotEquals {
		return c.fail(e, "bools have no order", "use == or !=")
	}
	if name == operators.Equals || name == operators.NotEquals {
		if !c.isSymbol(a, b) || !c.isSymbol(b, a) {
			return node{bad: true, expr: e}
		}
	}
	t := typ{kind: schemas.Bool, nullable: a.typ.nullable || b.typ.nullable}
	return c.fold(e, t, compareFunc(a, b, comparisonOf(name)), a, b)
}

// isSymbol refuses a constant that the enum field it is compared with never holds.
func (c *checker) isSymbol(field, constant node) bool {
	if field.enum == nil || !constant.konst || slices.Contains(field.enum, constant.value.Text()) {
		return true
	}
	p, _, _ := access(field.expr)
	c.fail(constant.expr, strconv.Quote(constant.value.Text())+" is no symbol of the enum `"+p+"`", DidYouMean(constant.value.Text(), field.enum))
	return false
}

func isNullLiteral(e ast.Expr) bool {
	if e.Kind() != ast.LiteralKind {
		return false
	}
	_, null := e.AsLiteral().(types.Null)
	return null
}

func isNull(n node) bool { return n.typ.kind == schemas.Null }

func comparable(a, b schemas.Kind) bool { return a == b || numeric(a) && numeric(b) }

func compareHint(a, b node) string {
	for _, p := range [][2]node{{a, b}, {b, a}} {
		x, y := p[0], p[1]
		text := unparse(y.expr)
		switch {
		case x.typ.kind == schemas.Timestamp && y.typ.kind == schemas.String && y.konst:
			return "write `timestamp(" + text + ")`"
		case x.typ.kind == schemas.Timestamp && y.typ.kind == schemas.Int:
			return "write an instant as `timestamp(\"2024-01-31T00:00:00Z\")`"
		case x.typ.kind == schemas.String && numeric(y.typ.kind) && y.konst:
			return "write `\"" + text + "\"`"
		case x.typ.kind == schemas.String && (y.typ.kind == schemas.Int || y.typ.kind == schemas.Bool) && x.konst:
			return "write it without quotes"
		case x.typ.kind == schemas.Bytes && y.typ.kind == schemas.String && y.konst:
			return "write `b" + text + "`"
		case x.typ.kind == schemas.Bool && y.konst && numeric(y.typ.kind):
			return "write true or false"
		}
	}
	return ""
}

// nullTest is x == null and x != null, which are never null themselves.
func (c *checker) nullTest(e ast.Expr, name string, a, b node) node {
	if name != operators.Equals && name != operators.NotEquals {
		return c.fail(e, "null has no order", "write `x == null` or `x != null`")
	}
	x := a
	if isNull(a) {
		x = b
	}
	want, eval := name == operators.Equals, x.eval
	return c.fold(e, typ{kind: schemas.Bool}, func(f []schemas.Value) (schemas.Value, error) {
		v, err := eval(f)
		if err != nil {
			return schemas.Value{}, err
		}
		return boolOf(v.IsNull() == want), nil
	}, x)
}

// compareFunc builds the comparison of two comparable operands.
func compareFunc(l, r node, o comparison) evalFunc {
	if l.typ.kind != r.typ.kind {
		return binary(l, r, func(x, y schemas.Value) (schemas.Value, error) { return o.of(compareMixed(x, y)), nil })
	}
	return binary(l, r, func(x, y schemas.Value) (schemas.Value, error) { return o.of(x.Compare(y)), nil })
}

// binary evaluates both operands, then op unless one of them is null.
func binary(l, r node, op valueOp) evalFunc {
	a, b := l.eval, r.eval
	if r.konst && !r.value.IsNull() { // the usual case: a field with a constant
		k := r.value
		return func(f []schemas.Value) (schemas.Value, error) {
			x, err := a(f)
			if err != nil || x.IsNull() {
				return schemas.Value{}, err
			}
			return op(x, k)
		}
	}
	return func(f []schemas.Value) (schemas.Value, error) {
		x, err := a(f)
		if err != nil {
			return schemas.Value{}, err
		}
		y, err := b(f)
		if err != nil || x.IsNull() || y.IsNull() {
			return schemas.Value{}, err
		}
		return op(x, y)
	}
}

// compareMixed compares two numbers, of which either may be the int, exactly.
func compareMixed(x, y schemas.Value) int {
	switch {
	case x.Kind() == y.Kind():
		return x.Compare(y)
	case x.Kind() == schemas.Int:
		return compareIntDouble(x.Int(), y.Double())
	}
	return -compareIntDouble(y.Int(), x.Double())
}

// compareIntDouble compares i with a finite d without rounding either.
func compareIntDouble(i int64, d float64) int {
	switch {
	case d >= 1<<63:
		return -1
	case d < -1<<63:
		return 1
	}
	t := int64(d) // towards zero; exact, as |d| ≤ 2^63
	switch frac := d - float64(t); {
	case i < t || i == t && frac > 0:
		return -1
	case i > t || i == t && frac < 0:
		return 1
	}
	return 0
}

// in is x in [constants…], or constant in path.
func (c *checker) in(e ast.Expr, args []ast.Expr) node {
	if args[1].Kind() != ast.ListKind {
		return c.contains(e, args)
	}
	x := c.check(args[0])
	elems, ok := c.all(args[1].AsList().Elements())
	if x.bad || !ok {
		return node{bad: true, expr: e}
	}
	if len(elems) == 0 {
		return c.fail(args[1], "the list is empty", "")
	}
	for _, n := range elems {
		switch {
		case isNull(n) || n.konst && n.value.IsNull():
			return c.fail(n.expr, "null is never in a list", "write `x == null || x in […]`")
		case !n.konst:
			return c.fail(n.expr, "a list may only hold constants", "compare with == and ||")
		case !comparable(x.typ.kind, n.typ.kind):
			return c.fail(n.expr, "cannot compare "+x.typ.kind.String()+" with "+n.typ.kind.String(), compareHint(x, n))
		case !c.isSymbol(x, n):
			ok = false
		}
	}
	if !ok {
		return node{bad: true, expr: e}
	}
	return c.fold(e, typ{kind: schemas.Bool, nullable: x.typ.nullable}, inFunc(x, elems), x)
}

func inFunc(x node, elems []node) evalFunc {
	list := make([]schemas.Value, len(elems))
	var set map[schemas.Value]bool // for long lists of the operand's own kind
	if len(elems) > 8 {
		set = make(map[schemas.Value]bool, len(elems))
	}
	for i, n := range elems {
		list[i] = n.value
		if n.typ.kind != x.typ.kind {
			set = nil
		}
		if set != nil {
			set[n.value] = true
		}
	}
	eval := x.eval
	return func(f []schemas.Value) (schemas.Value, error) {
		v, err := eval(f)
		if err != nil || v.IsNull() {
			return schemas.Value{}, err
		}
		if set != nil {
			return boolOf(set[v]), nil
		}
		for _, k := range list {
			if compareMixed(v, k) == 0 {
				return valueTrue, nil
			}
		}
		return valueFalse, nil
	}
}
