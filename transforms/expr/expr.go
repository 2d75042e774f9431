package expr

import (
	"errors"
	"sort"

	"github.com/tallystick/tallystick/schemas"
)

// The errors of Eval. They are sentinels: compare with ==.
var (
	// ErrNonFinite: a double read or computed is NaN or infinite.
	ErrNonFinite = errors.New("a double is not finite")
	// ErrOverflow: an integer or a timestamp leaves 64 bits, or is divided by zero.
	ErrOverflow = errors.New("an integer overflows or is divided by zero")
	// ErrDecimal: a decimal has no bytes, or more than 512.
	ErrDecimal = errors.New("a decimal is empty or has more than 512 bytes")
	// ErrField: a field is missing or not of its declared type: the caller's fault.
	ErrField = errors.New("a field is missing or not of its declared type")
)

// Type is the static type of a field or an expression.
type Type struct {
	Kind     schemas.Kind
	Nullable bool // may be null
	// Decimal marks Bytes that are a decimal: an integer in two's complement,
	// big-endian, in units of 10^-Scale. No expression's result is one.
	Decimal bool
	Scale   int
}

// Scope resolves the dotted path of a field to its slot, an index into the
// values given to Eval, and its type. Where the error is an *Error, its Message
// and Hint are reported, see UnknownField. A scope with arrays, maps and records
// also resolves what is read of them, in the forms of package avro: a[0].b,
// a["k"], size(a), "x" in a, present(a).
type Scope interface {
	Resolve(path string) (slot int, t Type, err error)
}

// EnumScope is a Scope that knows which fields are enums: a comparison with a
// text that such a field never holds is refused, as it never says anything.
type EnumScope interface {
	Scope
	// Symbols returns what an enum field may hold, nil for any other field.
	Symbols(path string) []string
}

// ScopeFunc is a Scope made of a function.
type ScopeFunc func(path string) (int, Type, error)

// Resolve calls f.
func (f ScopeFunc) Resolve(path string) (int, Type, error) { return f(path) }

// Fields is a Scope of named fields; a field's slot is its index.
type Fields []Field

// Field is one of Fields.
type Field struct {
	Path string
	Type Type
}

// Resolve finds the field of that path.
func (s Fields) Resolve(path string) (int, Type, error) {
	names := make([]string, len(s))
	for i, f := range s {
		if f.Path == path {
			return i, f.Type, nil
		}
		names[i] = f.Path
	}
	return 0, Type{}, UnknownField(path, "", names)
}

type evalFunc func(fields []schemas.Value) (schemas.Value, error)

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	eval  evalFunc
	typ   Type
	slots []int
	text  string
}

// Eval evaluates the program over fields, indexed by slot. Its errors are
// ErrNonFinite, ErrOverflow and ErrField. A string result may alias a field.
func (p *Program) Eval(fields []schemas.Value) (schemas.Value, error) { return p.eval(fields) }

// Type returns the type of the result.
func (p *Program) Type() Type { return p.typ }

// Slots returns the slots that the program reads, ascending.
func (p *Program) Slots() []int { return append([]int(nil), p.slots...) }

// Canonical returns the normal form of the source: equal for texts that differ
// in blanks and needless parentheses only, and itself a source of the same program.
func (p *Program) Canonical() string { return p.text }

// Compile checks src against the scope. The error is an Errors: every fault of
// the expression.
func Compile(src string, scope Scope) (*Program, error) {
	tree, errs := parse(src)
	if len(errs) > 0 {
		return nil, errs
	}
	c := &checker{scope: scope, tree: tree, src: []rune(src), slots: map[int]bool{}}
	n := c.check(tree.Expr())
	if len(c.errs) == 0 && n.typ.kind == schemas.Null {
		c.fail(tree.Expr(), "the expression is always null", "")
	}
	if len(c.errs) > 0 {
		return nil, c.errs.sorted()
	}
	p := &Program{eval: n.eval, typ: Type{Kind: n.typ.kind, Nullable: n.typ.nullable}, text: unparse(tree.Expr())}
	for s := range c.slots {
		p.slots = append(p.slots, s)
	}
	sort.Ints(p.slots)
	return p, nil
}

// CompileBool is Compile for expressions that must be true or false.
func CompileBool(src string, scope Scope) (*Program, error) {
	p, err := Compile(src, scope)
	if err != nil {
		return nil, err
	}
	if k := p.typ.Kind; k != schemas.Bool {
		hint := "compare it with something"
		if k == schemas.String {
			hint = `compare it with something: ` + p.text + ` == "…"`
		}
		return nil, Errors{{Line: 1, Col: 1, Message: "a condition must be true or false, this is " + Article(k), Hint: hint}}
	}
	return p, nil
}

// Constant returns a program of kind k that always yields v.
func Constant(v schemas.Value) *Program {
	return &Program{
		eval: func([]schemas.Value) (schemas.Value, error) { return v, nil },
		typ:  Type{Kind: v.Kind(), Nullable: v.IsNull()},
		text: literal(v),
	}
}

// Article returns the name of a kind with its article: "an int".
func Article(k schemas.Kind) string {
	if k == schemas.Int {
		return "an int"
	}
	return "a " + k.String()
}
