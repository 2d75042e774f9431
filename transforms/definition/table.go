package definition

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// KeySpec says how the keys of a table's records are written (K6). Exactly one
// of Raw and Reader is set.
type KeySpec struct {
	Raw        string // string, long, int, bytes, uuid: as Kafka's serializers write them
	Reader     *avro.Schema
	ReaderPath string
	// Paths are the key's fields, in the order of schemas.Event.Key. A key that is
	// no record has one.
	Paths []string

	types []avro.FieldType // of Paths
	ref   string           // as written
}

// rawKeys are the keys that Kafka's own serializers write.
var rawKeys = map[string]schemas.Kind{"string": schemas.String, "uuid": schemas.String, "int": schemas.Int, "long": schemas.Int, "bytes": schemas.Bytes}

// single tells whether the key is one value and no record of fields.
func (k *KeySpec) single() bool { return k.Raw != "" || k.Reader.Bare() }

// text describes the key in a message.
func (k *KeySpec) text() string {
	if k.single() {
		return "one " + k.types[0].Kind.String()
	}
	return "a record of " + strings.Join(k.Paths, ", ")
}

// notInTables are source keys that make no sense for a table, and what to do.
var notInTables = []struct{ key, hint string }{
	{"id", "leave it out: of each key the newest record counts, however often it is written"},
	{"lateness", "leave it out: whatever a record's age, of each key the newest one counts"},
	{"max_open", "leave it out: a table remembers no ids"},
	{"history_lateness", "leave it out: nothing of a table is late"},
	{"history", "leave it out: nothing of a table is late"},
}

// kind reads the source's kind, and refuses what does not go with it.
func (p *parser) kind(s *Source, e entry, o object) {
	if n := o.get("kind"); n != nil {
		k, _ := p.oneOf(n, "kind", "events", "table")
		s.Table = k == "table"
	}
	n := o.get("key")
	if !s.Table {
		if n != nil {
			p.fail(o.byKey["key"].at, "leave it out, or write `kind: table`: the entity of an event comes from the fields of its value", "`key` goes with a table only")
		}
		return
	}
	s.Lateness, s.MaxOpen = 0, 0
	for _, x := range notInTables {
		if k := o.byKey[x.key]; k.at != nil {
			p.fail(k.at, x.hint, "a table has no `%s`", x.key)
		}
	}
	if n == nil {
		p.fail(e.at, "add `key: string`, or `key: path/to/key.avsc` for Avro keys", "table %s does not say how its keys are written", s.Name)
		return
	}
	s.Key = p.tableKey(n)
}

// tableKey reads the declared key schema; nil after a fault.
func (p *parser) tableKey(n *yaml.Node) *KeySpec {
	ref, ok := p.text(n, "key")
	if !ok {
		return nil
	}
	if kind, raw := rawKeys[ref]; raw {
		return &KeySpec{Raw: ref, Paths: []string{avro.BareField}, types: []avro.FieldType{{Kind: kind, Avro: ref}}, ref: ref}
	}
	if !strings.HasSuffix(ref, ".avsc") {
		p.fail(n, "write "+strings.Join(slices.Sorted(maps.Keys(rawKeys)), ", ")+" for raw keys, or an .avsc file for Avro ones", "unknown kind of key `%s`", ref)
		return nil
	}
	k := &KeySpec{ref: ref, ReaderPath: p.resolve(ref)}
	if k.Reader = p.parseSchema(n, ref, avro.ParseAny); k.Reader == nil {
		return nil
	}
	k.Paths = k.Reader.Paths()
	for _, top := range k.Reader.Fields() {
		if !slices.ContainsFunc(k.Paths, func(path string) bool { return path == top || strings.HasPrefix(path, top+".") }) {
			k.Paths = append(k.Paths, top) // refused below, with the reason
		}
	}
	for _, path := range k.Paths {
		t, err := k.Reader.Lookup(path)
		switch what := "`" + path + "` of key " + ref; {
		case err != nil:
			p.fail(n, "a key consists of strings, ints, bools, bytes and timestamps", "%s cannot be part of an entity: %v", what, err)
			return nil
		case !keyKind(t.Kind) || t.Local:
			p.fail(n, "a key consists of strings, ints, bools, bytes and timestamps", "%s is %s, which cannot be part of an entity", what, typeText(t))
			return nil
		}
		k.types = append(k.types, t)
	}
	return k
}

func typeText(t avro.FieldType) string {
	if t.Local {
		return "a local timestamp"
	}
	return expr.Article(t.Kind)
}

// resolve makes a key the scope of key fields.
func (k *KeySpec) resolve(path string) (int, expr.Type, error) {
	i := slices.Index(k.Paths, path)
	if i < 0 {
		return 0, expr.Type{}, expr.UnknownField(path, "", k.Paths)
	}
	return i, exprType(k.types[i]), nil
}

// tableKeyField reads which field of the table's key a key field is; nil after a
// fault.
func (p *parser) tableKeyField(v *View, e entry, field, exp *yaml.Node) *expr.Program {
	k := v.Source.Key
	if k == nil {
		return nil // its fault is reported
	}
	if exp != nil {
		p.fail(exp, "name a field of the key", "key field %s of a table is a field of its key, no expression: there is one value per key", e.key)
		return nil
	}
	path, at := e.key, e.at
	switch {
	case k.single():
		if field != nil {
			p.fail(field, "leave `field` out: any name will do", "the key of table %s is %s", v.Source.Name, k.text())
			return nil
		}
		path = k.Paths[0]
	case field != nil:
		var ok bool
		if path, ok = p.text(field, "field"); !ok {
			return nil
		}
		at = field
	}
	if !slices.Contains(k.Paths, path) {
		p.fail(at, expr.DidYouMean(path, k.Paths), "`%s` is no field of the key of table %s, which is %s", path, v.Source.Name, k.text())
		return nil
	}
	prog, err := expr.Compile(path, expr.ScopeFunc(k.resolve))
	if err != nil {
		p.exprErrors(at, err)
		return nil
	}
	return prog
}

// wholeKey sees to it that the entity is the key: there is one value per key.
func (p *parser) wholeKey(v *View, n *yaml.Node) {
	k := v.Source.Key
	if k == nil || len(p.errs) > 0 {
		return
	}
	taken := make([]string, len(k.Paths))
	for _, f := range v.Spec.Key {
		for _, slot := range f.Expr.Slots() {
			if taken[slot] != "" {
				p.fail(n, "keep one of them", "key fields %s and %s of view %s are the same field of the table's key", taken[slot], f.Name, v.Name)
			}
			taken[slot] = f.Name
		}
	}
	for i, path := range k.Paths {
		if taken[i] == "" {
			p.fail(n, fmt.Sprintf("add `%s: {type: %s, field: %s}`", goodWord(path), k.types[i].Kind, path),
				"the entity of view %s leaves out `%s` of the table's key: there is one value per key", v.Name, path)
		}
	}
}

// goodWord makes a name of a path.
func goodWord(path string) string {
	return strings.ToLower(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// leastSnapshot bounds the rows of a table's features table: no tiles do.
const leastSnapshot = schemas.Minute

// lifetimeWindow is what the features of a table look at.
func lifetimeWindow() transforms.Window {
	return transforms.Window{Kind: transforms.Lifetime, Hop: schemas.Day}
}

// tableFeature refuses what a feature of a table cannot have; false after a fault.
func (p *parser) tableFeature(agg transforms.Aggregation, what entry, o object) bool {
	before := len(p.errs)
	if agg != transforms.Last {
		p.fail(what.at, "write `last: FIELD`: of each key the newest record is kept, and no other", "a table takes `last` only, not %s", agg)
	}
	if n := o.byKey["where"]; n.at != nil {
		p.fail(n.at, "give the condition to an `expr` feature over this one, as in `expr: status == \"open\" ? balance : 0`", "a table has one record per key, which `where` cannot choose among")
	}
	if n := o.byKey["hop"]; n.at != nil {
		p.fail(n.at, "leave it out", "a table has no tiles, and so no `hop`")
	}
	if n := o.get("over"); n != nil {
		for _, w := range p.list(n) {
			if w.Value != "lifetime" {
				p.fail(w, "leave `over` out: as of t the newest record before t counts, whatever its age", "a table has no windows")
			}
		}
	}
	return len(p.errs) == before
}

// rules adds what makes an entity of a record's key.
func (k *KeySpec) rules(add func(string, ...any)) {
	if k.Raw != "" {
		add("table, key raw %s", k.Raw)
		return
	}
	add("table, key avro")
	for i, path := range k.Paths {
		t := k.types[i]
		add("key field %q %s nullable=%t %s %s %s", path, t.Kind, t.Nullable, t.Avro, t.Logical, k.Reader.Describe(path))
	}
}
