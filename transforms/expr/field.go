package expr

import (
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/tallystick/tallystick/schemas"
)

// path returns the dotted path of an identifier or a selection, false when
// something else is selected from.
func path(e ast.Expr) (string, bool) {
	var parts []string
	for e.Kind() == ast.SelectKind {
		parts = append(parts, e.AsSelect().FieldName())
		e = e.AsSelect().Operand()
	}
	if e.Kind() != ast.IdentKind {
		return "", false
	}
	parts = append(parts, e.AsIdent())
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, "."), true
}

// access returns the path of a field within records, arrays and maps, as Scope
// takes it. ok is false for anything else; bad is then the part of [ ] that is
// no constant, if that is why.
func access(e ast.Expr) (text string, ok bool, bad ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true, nil
	case ast.SelectKind:
		text, ok, bad = access(e.AsSelect().Operand())
		return text + "." + e.AsSelect().FieldName(), ok, bad
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index || call.IsMemberFunction() {
			return "", false, nil
		}
		if text, ok, bad = access(call.Args()[0]); !ok {
			return "", false, bad
		}
		index := call.Args()[1]
		if index.Kind() == ast.LiteralKind {
			switch l := index.AsLiteral().(type) {
			case types.Int:
				if l >= 0 && l < 1<<31 {
					return text + "[" + strconv.Itoa(int(l)) + "]", true, nil
				}
			case types.String:
				return text + "[" + strconv.Quote(string(l)) + "]", true, nil
			}
		}
		return "", false, index
	}
	return "", false, nil
}

// Path returns the one text of a path such as a.b, a[0].b or a['k'], as Scope
// takes it; false when src is no path.
func Path(src string) (string, bool) {
	tree, errs := parse(src)
	if len(errs) > 0 {
		return "", false
	}
	text, ok, _ := access(tree.Expr())
	return text, ok
}

// field checks a path.
func (c *checker) field(e ast.Expr) node {
	p, ok, bad := access(e)
	switch {
	case bad != nil:
		return c.fail(bad, "what stands in [ ] must be a constant: an index from 0, or a key in quotes", "")
	case !ok:
		return c.fail(e, "a field can only be selected from a record", "")
	}
	slot, t, err := c.scope.Resolve(p)
	if err != nil {
		if array, _, indexed := strings.Cut(p, "["); indexed {
			if _, t, err := c.scope.Resolve(array); err == nil {
				return c.fail(e, "only arrays and maps take [ ], `"+array+"` is "+Article(t.Kind), "")
			}
		}
		return c.unresolved(e, err)
	}
	if t.Kind == schemas.Null {
		return c.fail(e, "field `"+p+"` is always null", "")
	}
	n := c.slot(e, slot, t)
	if s, ok := c.scope.(EnumScope); ok {
		n.enum = s.Symbols(p)
	}
	return n
}

func (c *checker) unresolved(e ast.Expr, err error) node {
	if x, ok := err.(*Error); ok {
		return c.fail(e, x.Message, x.Hint)
	}
	return c.fail(e, err.Error(), "")
}

func (c *checker) slot(e ast.Expr, slot int, t Type) node {
	c.slots[slot] = true
	return node{typ: typ{kind: t.Kind, nullable: t.Nullable, decimal: t.Decimal, scale: t.Scale}, expr: e, eval: readField(slot, t.Kind)}
}

// reading checks what before + path + after reads of the array, map or record
// that of is, standing in place of e; false when the scope has no such reading.
func (c *checker) reading(e, of ast.Expr, before, after string) (node, bool) {
	p, ok, _ := access(of)
	if !ok {
		return node{}, false
	}
	slot, t, err := c.scope.Resolve(before + p + after)
	if err != nil {
		return node{}, false
	}
	return c.slot(e, slot, t), true
}

// nullable checks x of x == null, which may be of any type.
func (c *checker) nullable(e ast.Expr) node {
	if p, ok, _ := access(e); ok {
		if _, _, err := c.scope.Resolve(p); err != nil {
			if n, ok := c.reading(e, e, "present(", ")"); ok {
				return n
			}
		}
	}
	return c.any(e)
}

// contains is constant in path: whether an array has an item, a map a key.
func (c *checker) contains(e ast.Expr, args []ast.Expr) node {
	const list, like = "`in` takes a list of constants on its right", "write `x in [1, 2, 3]`"
	p, ok, bad := access(args[1])
	x := c.check(args[0])
	switch {
	case x.bad:
		return x
	case !ok && bad != nil:
		return c.field(args[1])
	case !ok:
		return c.fail(e, list, like)
	}
	_, _, err := c.scope.Resolve(p)
	switch {
	case err == nil:
		return c.fail(e, list, like)
	case !x.konst || x.value.IsNull():
		return c.unresolved(args[1], err)
	}
	slot, t, err := c.scope.Resolve(constantText(x.value) + " in " + p)
	if err != nil {
		return c.unresolved(args[1], err)
	}
	return c.slot(e, slot, t)
}

// constantText writes a constant as package avro reads it.
func constantText(v schemas.Value) string {
	switch v.Kind() {
	case schemas.String:
		return strconv.Quote(v.Text())
	case schemas.Bytes:
		return "b" + strconv.Quote(v.Text())
	case schemas.Timestamp:
		return "timestamp(" + strconv.FormatInt(int64(v.Micros()), 10) + ")"
	}
	return literal(v)
}

// readField yields the value in slot, which must be null or of kind k.
func readField(slot int, k schemas.Kind) evalFunc {
	if k == schemas.Double {
		return func(f []schemas.Value) (schemas.Value, error) {
			if slot >= len(f) {
				return schemas.Value{}, ErrField
			}
			v := f[slot]
			switch {
			case v.Kind() == schemas.Double && v.Finite():
				return schemas.DoubleValue(v.Double()), nil
			case v.Kind() == schemas.Double:
				return schemas.Value{}, ErrNonFinite
			case v.IsNull():
				return v, nil
			}
			return schemas.Value{}, ErrField
		}
	}
	return func(f []schemas.Value) (schemas.Value, error) {
		if slot >= len(f) || f[slot].Kind() != k && !f[slot].IsNull() {
			return schemas.Value{}, ErrField
		}
		return f[slot], nil
	}
}
