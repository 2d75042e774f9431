package definition

import (
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// Migration computes reader fields from the fields of one writer schema (S2).
type Migration struct {
	// Writer is a schema id, the base name of a schema file (flight.v1 for
	// schemas/flight.v1.avsc) or the full name of the writer's record.
	Writer string
	Rules  []MigrationRule // sorted by Field

	reader *avro.Schema
	source string
}

// MigrationRule computes one reader field.
type MigrationRule struct {
	Field string    // reader path
	Type  expr.Type // of the reader field; a null for one that is not Nullable is a fault
	Text  string    // as written, over the writer's fields
	Line  int       // in the definition file

	canonical string
}

// BoundMigration is a migration compiled for a writer schema.
type BoundMigration struct {
	Paths  []string // writer paths that the programs read; a slot is an index into them
	Fields []string // reader paths, one per program
	Types  []expr.Type
	Rules  []*expr.Program
}

// Matches tells whether the migration is meant for a writer schema with that
// id, file (may be empty) and record.
func (m *Migration) Matches(id int32, file, fullName string) bool {
	base := strings.TrimSuffix(path.Base(strings.ReplaceAll(file, `\`, "/")), ".avsc")
	return m.Writer == strconv.Itoa(int(id)) || file != "" && m.Writer == base || m.Writer == fullName
}

// Bind type-checks the rules over a writer schema. Its error names every rule
// that does not fit.
func (m *Migration) Bind(writer *avro.Schema) (*BoundMigration, error) {
	b := &BoundMigration{}
	var errs []error
	for _, r := range m.Rules {
		prog, err := m.bindRule(b, r, writer)
		if err != nil {
			errs = append(errs, &MigrationError{m.source, m.Writer, r.Field, err})
			continue
		}
		b.Fields, b.Types, b.Rules = append(b.Fields, r.Field), append(b.Types, r.Type), append(b.Rules, prog)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return b, nil
}

// MigrationError says why a rule does not fit a writer schema.
type MigrationError struct {
	Source, Writer, Field string
	Err                   error // an expr.Errors
}

func (e *MigrationError) Error() string {
	return "source " + e.Source + ", migrate " + e.Writer + ", field " + e.Field + ": " + e.Err.Error()
}

func (e *MigrationError) Unwrap() error { return e.Err }

func (m *Migration) bindRule(b *BoundMigration, r MigrationRule, writer *avro.Schema) (*expr.Program, error) {
	prog, err := expr.Compile(r.Text, fieldScope{schema: writer, ScopeFunc: func(path string) (int, expr.Type, error) {
		t, err := writer.Lookup(path)
		if err != nil {
			return 0, expr.Type{}, unknownPath(writer, path, "writer "+m.Writer)
		}
		if t.Local {
			return 0, expr.Type{}, localField(path)
		}
		i := slices.Index(b.Paths, path)
		if i < 0 {
			i = len(b.Paths)
			b.Paths = append(b.Paths, path)
		}
		return i, exprType(t), nil
	}})
	if err != nil {
		return nil, err
	}
	if got := prog.Type().Kind; got != r.Type.Kind {
		hint := ""
		if got == schemas.Int && r.Type.Kind == schemas.Double {
			hint = "write `double(…)` around it"
		}
		return nil, expr.Errors{{Line: 1, Col: 1, Hint: hint,
			Message: "the reader field `" + r.Field + "` is " + expr.Article(r.Type.Kind) + ", this is " + expr.Article(got)}}
	}
	return prog, nil
}

var writerKey = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*$`)

func (p *parser) migrations(s *Source, n *yaml.Node) {
	for _, e := range p.mapping(n, "migrate") {
		if !writerKey.MatchString(e.key) || strings.HasSuffix(e.key, ".avsc") {
			hint := "write a schema id, a schema file's name without .avsc, or the record's full name"
			p.fail(e.at, hint, "`%s` does not name a writer schema", e.key)
			continue
		}
		m := &Migration{Writer: e.key, reader: s.Reader, source: s.Name}
		nodes := map[string]*yaml.Node{}
		for _, r := range p.mapping(e.value, "migrate "+e.key) {
			if rule, ok := p.rule(s, r); ok {
				m.Rules = append(m.Rules, rule)
				nodes[rule.Field] = r.value
			}
		}
		sort.Slice(m.Rules, func(i, j int) bool { return m.Rules[i].Field < m.Rules[j].Field })
		s.Migrations = append(s.Migrations, m)
		p.bindNow(s, m, e.at, nodes)
	}
	sort.SliceStable(s.Migrations, func(i, j int) bool { return s.Migrations[i].Writer < s.Migrations[j].Writer })
}

func (p *parser) rule(s *Source, e entry) (MigrationRule, bool) {
	r := MigrationRule{Field: e.key, Text: e.value.Value, Line: e.value.Line}
	if s.Reader != nil {
		t, err := s.Reader.Lookup(e.key)
		switch {
		case err != nil:
			p.exprErrors(e.at, expr.Errors{s.unknown(e.key)})
			return r, false
		case avro.Names(e.key) != e.key:
			p.fail(e.at, "name a field, within records if need be, that is no array or map", "a rule cannot compute `%s`", e.key)
			return r, false
		case t.Decimal:
			p.fail(e.at, "declare it as a double or a long in the source's schema, and let a rule for each writer compute double(…) or unscaled(…)",
				"a rule cannot compute `%s`, a decimal", e.key)
			return r, false
		}
		if t.Local {
			p.fail(e.at, "let the writer send it, or use a field that holds an instant", "a rule cannot compute `%s`, a local timestamp", e.key)
			return r, false
		}
		r.Type = exprType(t)
	}
	text, ok := p.text(e.value, "a migration rule")
	if !ok {
		return r, false
	}
	canonical, err := expr.Normalize(text, nil)
	if err != nil {
		p.exprErrors(e.value, err)
		return r, false
	}
	r.canonical = canonical
	return r, true
}

// bindNow checks a migration against the writer schemas that it names, where
// they are at hand. Several may bear a record's name: one that fits is enough.
func (p *parser) bindNow(s *Source, m *Migration, at *yaml.Node, nodes map[string]*yaml.Node) {
	writers, complete := p.writersOf(s, m)
	if len(writers) == 0 && complete {
		p.fail(at, "name one of the ids, file names or records of `writers`", "`%s` is none of the writer schemas of source %s", m.Writer, s.Name)
	}
	if len(writers) == 0 || s.Reader == nil {
		return
	}
	for _, w := range writers[1:] {
		if _, err := m.Bind(w); err == nil {
			return
		}
	}
	b := &BoundMigration{}
	for _, r := range m.Rules {
		if _, err := m.bindRule(b, r, writers[0]); err != nil {
			p.exprErrors(nodes[r.Field], err)
		}
	}
}

// writersOf finds the writer schemas that a migration names; complete tells
// whether there can be no others. A registry and the ids of a directory cannot
// be asked here: what they hold is checked when it is first seen.
func (p *parser) writersOf(s *Source, m *Migration) (list []*avro.Schema, complete bool) {
	w := s.writers
	parse := func(ref string) *avro.Schema {
		text, err := p.readFile(p.resolve(ref))
		if err != nil {
			return nil
		}
		sch, err := avro.ParseAny(ref, text)
		if err != nil {
			return nil
		}
		return sch
	}
	for _, id := range slices.Sorted(maps.Keys(w.Files)) {
		if sch := parse(w.Files[id]); sch != nil && m.Matches(id, w.Files[id], sch.FullName()) {
			list = append(list, sch)
		}
	}
	if w.Directory != "" {
		if sch := parse(path.Join(w.Directory, m.Writer+".avsc")); sch != nil {
			list = append(list, sch)
		}
	}
	return list, len(w.Files) > 0
}
