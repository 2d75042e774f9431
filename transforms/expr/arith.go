package expr

import (
	"math"
	"math/bits"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"github.com/tallystick/tallystick/schemas"
)

var verbs = map[string]string{operators.Add: "add", operators.Subtract: "subtract",
	operators.Multiply: "multiply", operators.Divide: "divide", operators.Modulo: "take the remainder of"}

func (c *checker) arithmetic(e ast.Expr, name string, args []ast.Expr) node {
	n, ok := c.all(args)
	if !ok {
		return node{bad: true, expr: e}
	}
	a, b := n[0], n[1]
	for _, x := range n {
		if isNull(x) {
			return c.fail(x.expr, "the result is always null", "")
		}
	}
	t := typ{kind: a.typ.kind, nullable: a.typ.nullable || b.typ.nullable}
	switch op, k := name, a.typ.kind; {
	case k == schemas.Timestamp || b.typ.kind == schemas.Timestamp:
		return c.instants(e, name, a, b, t)
	case k != b.typ.kind && numeric(k) && numeric(b.typ.kind):
		return c.fail(e, "cannot "+verbs[name]+" "+k.String()+" and "+b.typ.kind.String(), "write "+asDouble(intOf(a, b)))
	case k == schemas.Int && op == operators.Divide && b.typ.kind == k:
		return c.fail(e, "int / int would truncate silently", "write "+doubles(a, b))
	case k == schemas.Double && op == operators.Modulo && b.typ.kind == k:
		return c.fail(e, "% takes ints", "")
	case k == schemas.Int && b.typ.kind == k:
		t.duration = durationOf(name, a.typ.duration, b.typ.duration)
		return c.fold(e, t, binary(a, b, intOps[name]), a, b)
	case k == schemas.Double && b.typ.kind == k:
		return c.fold(e, t, binary(a, b, doubleOps[name]), a, b)
	case (k == schemas.String || k == schemas.Bytes) && k == b.typ.kind && name == operators.Add:
		return c.concat(e, t, a, b)
	}
	hint := ""
	if a.typ.kind == schemas.String && b.typ.kind == schemas.Int && name == operators.Add {
		hint = "write `string(" + unparse(b.expr) + ")`"
	} else if b.typ.kind == schemas.String && a.typ.kind == schemas.Int && name == operators.Add {
		hint = "write `string(" + unparse(a.expr) + ")`"
	}
	return c.fail(e, "cannot "+verbs[name]+" "+a.typ.kind.String()+" and "+b.typ.kind.String(), hint)
}

func doubles(a, b node) string {
	x, y := unparse(a.expr), unparse(b.expr)
	if len(x)+len(y) > 60 {
		x, y = "a", "b"
	}
	if b.expr.Kind() == ast.LiteralKind {
		return "`double(" + x + ") / " + y + ".0`"
	}
	return "`double(" + x + ") / double(" + y + ")`"
}

// durationOf tells whether the result of name counts microseconds.
func durationOf(name string, a, b bool) bool {
	switch name {
	case operators.Add, operators.Subtract:
		return a && b
	case operators.Multiply:
		return a != b
	}
	return name == operators.Modulo && a && b
}

// instants is timestamp - timestamp (a duration) and timestamp ± duration.
func (c *checker) instants(e ast.Expr, name string, a, b node, t typ) node {
	ta, tb := a.typ.kind == schemas.Timestamp, b.typ.kind == schemas.Timestamp
	// Timestamps and durations both are int64 µs, so the int operations serve.
	wrap := func(to func(int64) schemas.Value) evalFunc {
		op := addInt
		if name == operators.Subtract {
			op = subInt
		}
		return binary(a, b, func(x, y schemas.Value) (schemas.Value, error) {
			r, ok := op(x.Int(), y.Int())
			if !ok {
				return schemas.Value{}, ErrOverflow
			}
			return to(r), nil
		})
	}
	instant := func(i int64) schemas.Value { return schemas.TimestampValue(schemas.Micros(i)) }
	switch {
	case ta && tb && name == operators.Subtract:
		t.kind, t.duration = schemas.Int, true
		return c.fold(e, t, wrap(schemas.IntValue), a, b)
	case ta && b.typ.duration && (name == operators.Add || name == operators.Subtract),
		tb && a.typ.duration && name == operators.Add:
		t.kind = schemas.Timestamp
		return c.fold(e, t, wrap(instant), a, b)
	}
	hint := "timestamp - timestamp and timestamp ± duration(\"1h\") are supported"
	return c.fail(e, "cannot "+verbs[name]+" "+a.typ.kind.String()+" and "+b.typ.kind.String(), hint)
}

func (c *checker) negate(e ast.Expr, arg ast.Expr) node {
	a := c.check(arg)
	if a.bad {
		return a
	}
	if !numeric(a.typ.kind) {
		return c.fail(e, "cannot negate "+articleOf(a), "")
	}
	x := a.eval
	return c.fold(e, a.typ, func(f []schemas.Value) (schemas.Value, error) {
		v, err := x(f)
		switch {
		case err != nil || v.IsNull():
			return v, err
		case v.Kind() == schemas.Double:
			return schemas.DoubleValue(-v.Double()), nil
		case v.Int() == math.MinInt64:
			return schemas.Value{}, ErrOverflow
		}
		return schemas.IntValue(-v.Int()), nil
	}, a)
}

type valueOp = func(x, y schemas.Value) (schemas.Value, error)

var intOps = map[string]valueOp{
	operators.Add:      intOp(addInt),
	operators.Subtract: intOp(subInt),
	operators.Multiply: intOp(mulInt),
	operators.Modulo:   intOp(modInt),
}

func intOp(op func(a, b int64) (int64, bool)) valueOp {
	return func(x, y schemas.Value) (schemas.Value, error) {
		r, ok := op(x.Int(), y.Int())
		if !ok {
			return schemas.Value{}, ErrOverflow
		}
		return schemas.IntValue(r), nil
	}
}

func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

func subInt(a, b int64) (int64, bool) {
	d := a - b
	return d, (d < a) == (b > 0)
}

func mulInt(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(abs(a), abs(b))
	if neg := (a < 0) != (b < 0); neg {
		return -int64(lo), hi == 0 && lo <= 1<<63
	}
	return int64(lo), hi == 0 && lo < 1<<63
}

func abs(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// modInt has the sign of a, as in SQL.
func modInt(a, b int64) (int64, bool) {
	switch b {
	case 0:
		return 0, false
	case -1: // avoids MinInt64 % -1
		return 0, true
	}
	return a % b, true
}

var doubleOps = map[string]valueOp{
	operators.Add:      func(x, y schemas.Value) (schemas.Value, error) { return finite(x.Double() + y.Double()) },
	operators.Subtract: func(x, y schemas.Value) (schemas.Value, error) { return finite(x.Double() - y.Double()) },
	operators.Multiply: func(x, y schemas.Value) (schemas.Value, error) { return finite(float64(x.Double() * y.Double())) },
	operators.Divide:   func(x, y schemas.Value) (schemas.Value, error) { return finite(x.Double() / y.Double()) },
}

func finite(d float64) (schemas.Value, error) {
	v := schemas.DoubleValue(d)
	if !v.Finite() {
		return schemas.Value{}, ErrNonFinite
	}
	return v, nil
}

// maxConcat is how many texts are joined in one allocation.
const maxConcat = 8

// concat joins texts; a chain a + b + c is one node and one allocation.
func (c *checker) concat(e ast.Expr, t typ, a, b node) node {
	parts := append(append([]evalFunc(nil), chain(a)...), chain(b)...)
	text := schemas.StringValue
	if t.kind == schemas.Bytes {
		text = schemas.BytesValue
	}
	if len(parts) > maxConcat {
		return c.fold(e, t, binary(a, b, func(x, y schemas.Value) (schemas.Value, error) {
			return text(x.Text() + y.Text()), nil
		}), a, b)
	}
	n := c.fold(e, t, func(f []schemas.Value) (schemas.Value, error) {
		var texts [maxConcat]string
		size, null := 0, false
		for i, p := range parts {
			v, err := p(f)
			if err != nil {
				return schemas.Value{}, err
			}
			null = null || v.IsNull()
			texts[i] = v.Text()
			size += len(texts[i])
		}
		if null {
			return schemas.Value{}, nil
		}
		var s strings.Builder
		s.Grow(size)
		for _, x := range texts[:len(parts)] {
			s.WriteString(x)
		}
		return text(s.String()), nil
	}, a, b)
	if !n.konst {
		n.parts = parts
	}
	return n
}

// chain returns the evaluators of the operands of a chain of +, or n's own.
func chain(n node) []evalFunc {
	if n.parts != nil {
		return n.parts
	}
	return []evalFunc{n.eval}
}
