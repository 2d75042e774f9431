package avro

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// Limits on schema text.
const (
	MaxSchemaBytes = 4 << 20 // longest schema text
	MaxDepth       = 64      // deepest nesting, of types in a schema and of values in a body
)

// Types is a set of named types that schemas may refer to, for schemas kept in
// several texts (Schema Registry references). The zero Types is empty.
type Types struct {
	named map[string]*node
}

// Add parses a text that defines named types; its top may be any type but a
// primitive. The error is a *ParseError.
func (t *Types) Add(name string, text []byte) error {
	_, named, err := parse(name, text, t.named)
	if err == nil {
		t.named = named
	}
	return err
}

// Parse reads an .avsc text that may refer to the added types. See Parse.
func (t *Types) Parse(name string, text []byte) (*Schema, error) {
	top, _, err := parse(name, text, t.named)
	if err != nil {
		return nil, err
	}
	if top.kind != kRecord {
		return nil, &ParseError{name, "$", "the top is " + top.String() + ", not a record", "wrap it in a record; one topic holds records of one type"}
	}
	return &Schema{name: name, top: top}, nil
}

// ParseAny is Parse for texts whose top may be any type: the keys of Kafka
// records are often of a primitive one. See Schema.Bare.
func (t *Types) ParseAny(name string, text []byte) (*Schema, error) {
	top, _, err := parse(name, text, t.named)
	if err != nil {
		return nil, err
	}
	if top.kind == kRecord {
		return &Schema{name: name, top: top}, nil
	}
	return &Schema{name: name, bare: true, top: &node{kind: kRecord, fields: []*field{{name: BareField, typ: top}}}}, nil
}

// ParseAny is Types.ParseAny where no other types are known.
func ParseAny(name string, text []byte) (*Schema, error) {
	var none Types
	return none.ParseAny(name, text)
}

// Parse reads an .avsc text (JSON) whose top is a record. name is used in
// messages only: a file path, or "schema id 7". The error is a *ParseError.
func Parse(name string, text []byte) (*Schema, error) {
	var none Types
	return none.Parse(name, text)
}

func parse(name string, text []byte, known map[string]*node) (*node, map[string]*node, error) {
	p := &parser{schema: name, named: maps.Clone(known)}
	if p.named == nil {
		p.named = map[string]*node{}
	}
	if len(text) > MaxSchemaBytes {
		return nil, nil, p.fail("$", fmt.Sprintf("the text has %d bytes, more than %d", len(text), MaxSchemaBytes), "is this a schema?")
	}
	v, err := decodeJSON(text)
	if err != nil {
		return nil, nil, p.fail("$", "not JSON: "+err.Error(), "an .avsc file holds one JSON value")
	}
	top, err := p.typ(v, "", "$", 0)
	if err != nil {
		return nil, nil, err
	}
	seen := map[*node]bool{}
	for _, n := range p.defined {
		if cycle := endless(n, seen); cycle != nil {
			return nil, nil, p.fail("$", "record "+cycle.name+" contains itself without end", "put a union with null, an array or a map between")
		}
	}
	return top, p.named, nil
}

func decodeJSON(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more text after the value, at byte %d", dec.InputOffset())
	}
	return v, nil
}

// endless finds a record that contains itself through record fields alone. seen
// holds false for records being visited, true for those found to be finite.
func endless(n *node, seen map[*node]bool) *node {
	if n.kind != kRecord {
		return nil
	}
	if done, ok := seen[n]; ok {
		if done {
			return nil
		}
		return n
	}
	seen[n] = false
	for _, f := range n.fields {
		if c := endless(f.typ, seen); c != nil {
			return c
		}
	}
	seen[n] = true
	return nil
}

type parser struct {
	schema  string
	named   map[string]*node
	defined []*node // records in this text
}

func (p *parser) fail(at, problem, hint string) error {
	return &ParseError{Schema: p.schema, At: at, Problem: problem, Hint: hint}
}

// typ parses a type within namespace ns.
func (p *parser) typ(v any, ns, at string, depth int) (*node, error) {
	if depth > MaxDepth {
		return nil, p.fail(at, fmt.Sprintf("types are nested more than %d deep", MaxDepth), "define inner types once and refer to them by name")
	}
	switch v := v.(type) {
	case string:
		return p.reference(v, ns, at)
	case []any:
		return p.union(v, ns, at, depth)
	case map[string]any:
		return p.object(v, ns, at, depth)
	case nil:
		return nil, p.fail(at, "the type is the JSON value null", `write "null" in quotes`)
	}
	return nil, p.fail(at, fmt.Sprintf("a type cannot be %s", brief(v)), "write a type's name, an object or an array (a union)")
}

func (p *parser) reference(name, ns, at string) (*node, error) {
	if k, ok := primitive(name); ok {
		return &node{kind: k}, nil
	}
	for _, full := range []string{qualify(name, ns), name} {
		if n := p.named[full]; n != nil {
			return n, nil
		}
	}
	switch name {
	case "record", "enum", "fixed", "array", "map", "error":
		return nil, p.fail(at, fmt.Sprintf("%q needs attributes", name), fmt.Sprintf(`write {"type": %q, …}`, name))
	}
	names := make([]string, 0, len(p.named)+8)
	for k := kNull; k <= kString; k++ {
		names = append(names, kindNames[k])
	}
	for full := range p.named {
		names = append(names, full)
	}
	hint := "a type is defined where it is first used, references come after it"
	if near := schemas.Similar(name, names); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return nil, p.fail(at, fmt.Sprintf("unknown type %q", brief(name)), hint)
}

func (p *parser) union(v []any, ns, at string, depth int) (*node, error) {
	if len(v) == 0 {
		return nil, p.fail(at, "the union has no branches", `name its types, as in ["null", "string"]`)
	}
	u := &node{kind: kUnion, branches: make([]*node, 0, len(v))}
	seen := map[string]bool{}
	for i, b := range v {
		here := fmt.Sprintf("%s[%d]", at, i)
		n, err := p.typ(b, ns, here, depth+1)
		if err != nil {
			return nil, err
		}
		if n.kind == kUnion {
			return nil, p.fail(here, "a union directly within a union", "list all branches in one union")
		}
		key := n.name
		if key == "" {
			key = kindNames[n.kind]
		}
		if seen[key] {
			return nil, p.fail(here, "the union has two branches of type "+key, "a union holds each type once")
		}
		seen[key] = true
		u.branches = append(u.branches, n)
	}
	return u, nil
}

func (p *parser) object(v map[string]any, ns, at string, depth int) (*node, error) {
	t, ok := v["type"]
	if !ok {
		return nil, p.fail(at, "the object has no \"type\"", "every type object needs one")
	}
	s, ok := t.(string)
	if !ok { // {"type": {"type": …}}
		return p.typ(t, ns, at+".type", depth+1)
	}
	switch s {
	case "record", "error":
		return p.record(v, ns, at, depth)
	case "enum":
		return p.enum(v, ns, at)
	case "fixed":
		return p.fixed(v, ns, at)
	case "array", "map":
		key, k := "items", kArray
		if s == "map" {
			key, k = "values", kMap
		}
		inner, ok := v[key]
		if !ok {
			return nil, p.fail(at, fmt.Sprintf("the %s has no %q", s, key), "name the type it holds")
		}
		items, err := p.typ(inner, ns, at+"."+key, depth+1)
		if err != nil {
			return nil, err
		}
		return &node{kind: k, items: items}, nil
	}
	n, err := p.reference(s, ns, at+".type")
	if err != nil || n.name != "" {
		return n, err
	}
	return n, p.annotate(n, v, at)
}

// annotate reads the logical type of a primitive or fixed.
func (p *parser) annotate(n *node, v map[string]any, at string) error {
	lt, ok := v["logicalType"]
	if !ok {
		return nil
	}
	s, ok := lt.(string)
	if !ok {
		return p.fail(at+".logicalType", "it is "+brief(lt)+", not a string", "name a logical type, as in \"timestamp-micros\"")
	}
	n.attr = s
	for _, k := range logicalBases(s) {
		if k == n.kind {
			n.logical = s
		}
	}
	switch n.logical {
	case "decimal":
		var ok bool
		n.precision, ok = wholeNumber(v["precision"])
		n.scale, _ = wholeNumber(v["scale"])
		if !ok || n.precision < 1 || n.scale < 0 || n.scale > n.precision || n.kind == kFixed && n.precision > digitsOf(n.size) {
			n.logical, n.precision, n.scale = "", 0, 0 // as the specification has it
		}
	case "uuid":
		if n.kind == kFixed && n.size != 16 {
			n.logical = ""
		}
	case "duration":
		if n.size != 12 {
			n.logical = ""
		}
	}
	return nil
}

// digitsOf returns how many decimal digits always fit into so many bytes, in
// two's complement.
func digitsOf(bytes int) int {
	return int(math.Floor(math.Log10(2) * float64(8*bytes-1)))
}

func (p *parser) fixed(v map[string]any, ns, at string) (*node, error) {
	n := &node{kind: kFixed}
	if _, err := p.define(n, v, ns, at); err != nil {
		return nil, err
	}
	size, ok := wholeNumber(v["size"])
	if !ok || size < 0 || size > math.MaxInt32 {
		return nil, p.fail(at+".size", "the size of fixed "+n.name+" is "+brief(v["size"]), "give a number of bytes from 0 to 2147483647")
	}
	n.size = size
	return n, p.annotate(n, v, at)
}

func wholeNumber(v any) (int, bool) {
	num, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(num.String(), 10, 64)
	return int(i), err == nil
}

// brief shows a JSON value in a message, shortened.
func brief(v any) string {
	if v == nil {
		return "missing or null"
	}
	s, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v)
		s = string(b)
	}
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
