package definition

import (
	"errors"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// resolve makes a Source the scope of its expressions: a path that is used
// joins the projection.
func (s *Source) resolve(path string) (int, expr.Type, error) {
	t, err := s.Reader.Lookup(path)
	if err != nil {
		return 0, expr.Type{}, s.unknown(path)
	}
	if t.Local {
		return 0, expr.Type{}, localField(path)
	}
	return s.slot(path, t), exprType(t), nil
}

// exprType is what a field is to expressions.
func exprType(t avro.FieldType) expr.Type {
	return expr.Type{Kind: t.Kind, Nullable: t.Nullable, Decimal: t.Decimal, Scale: t.Scale}
}

// plainPath returns the one text of a path that stands outside of expressions:
// a['k'] is a["k"]. What only reads something of a field, such as size(a), is none.
func plainPath(text string) (path string, ok bool) {
	if p, ok := expr.Path(text); ok {
		return p, true
	}
	return text, !strings.ContainsAny(text, "( ")
}

// fieldScope is the scope of expressions over a schema's fields.
type fieldScope struct {
	expr.ScopeFunc
	schema *avro.Schema
}

// Symbols implements expr.EnumScope.
func (s fieldScope) Symbols(path string) []string { return s.schema.Symbols(path) }

// localField refuses what is no instant in an expression (V10).
func localField(path string) *expr.Error {
	return &expr.Error{Message: "`" + path + "` is a local timestamp without a zone, which is no instant",
		Hint: "only event_time can give it a zone"}
}

// slot returns the index of path in the projection.
func (s *Source) slot(path string, t avro.FieldType) int {
	if i, ok := s.slots[path]; ok {
		return i
	}
	i := len(s.Paths)
	s.slots[path] = i
	s.Paths, s.types = append(s.Paths, path), append(s.types, t)
	return i
}

// unknown says why path is not a usable field of the source.
func (s *Source) unknown(path string) *expr.Error {
	return unknownPath(s.Reader, path, "source "+s.Name)
}

func unknownPath(schema *avro.Schema, path, where string) *expr.Error {
	_, err := schema.Lookup(path)
	names := avro.Names(path)
	first, _, _ := strings.Cut(names, ".")
	var pe *avro.PathError
	if !errors.As(err, &pe) || !slices.Contains(schema.Fields(), first) {
		return expr.UnknownField(names, where, schema.Paths())
	}
	what := "field `" + path + "`"
	if strings.Contains(path, " ") {
		what = "`" + path + "`"
	}
	e := &expr.Error{Line: 1, Col: 1, Message: what + " of " + where + " cannot be used: " + pe.Problem}
	if len(pe.Nearest) > 0 {
		e.Hint = "did you mean `" + strings.Join(pe.Nearest, "` or `") + "`?"
	}
	return e
}

// expression compiles the scalar n over the source's fields; nil after a fault,
// or when the source has no sound schema.
func (p *parser) expression(n *yaml.Node, s *Source, what string) *expr.Program {
	return p.compile(n, s, what, expr.Compile)
}

// condition is expression for what must be true or false.
func (p *parser) condition(n *yaml.Node, s *Source, what string) *expr.Program {
	return p.compile(n, s, what, expr.CompileBool)
}

func (p *parser) compile(n *yaml.Node, s *Source, what string, compile func(string, expr.Scope) (*expr.Program, error)) *expr.Program {
	text, ok := p.text(n, what)
	if !ok || s == nil || s.Reader == nil {
		return nil
	}
	prog, err := compile(text, fieldScope{s.resolve, s.Reader})
	if err != nil {
		p.exprErrors(n, err)
		return nil
	}
	return prog
}

// keyKind tells whether values of kind k may be part of an entity.
func keyKind(k schemas.Kind) bool {
	return k != schemas.Double && k != schemas.Null
}
