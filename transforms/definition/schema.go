package definition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/transforms"
)

// SchemaFile is the name of the JSON Schema of definition files where it stands
// beside one.
const SchemaFile = "tallystick.schema.json"

// Schema returns the JSON Schema (draft 2020-12) of definition files, for
// editors. Whatever Parse accepts is valid by it; what expressions and schemas
// say is left to Parse.
func Schema() ([]byte, error) {
	root := mappingOf(definitionKeys)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "A definition of features, as `tallystick check` reads it"
	root["$defs"] = map[string]node{
		"source":     sourceSchema(),
		"view":       mappingOf(viewKeys),
		"feature":    featureSchema(),
		"window":     windowSchema(),
		"service":    oneOrMore(node{"type": "string", "pattern": `^[a-z][a-z0-9_]*\.([a-z][a-z0-9_]*|\*)$`}),
		"key_type":   oneOf(slices.Sorted(maps.Keys(keyTypes))...),
		"text":       node{"type": []string{"string", "number", "boolean"}},
		"expression": node{"type": []string{"string", "number", "boolean"}, "description": "A field, or an expression in CEL's syntax."},
		"duration":   node{"type": "string", "pattern": "^ *([0-9][0-9 ]*(us|ms|s|m|h|d|w) *)+$", "description": "Such as 90s, 24h, 7d or 1h30m."},
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	return b.Bytes(), nil
}

// node is a part of a JSON Schema.
type node = map[string]any

func ref(name string) node { return node{"$ref": "#/$defs/" + name} }

// with returns a and b in one.
func with(a, b node) node {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func oneOf(words ...string) node { return node{"enum": words} }

func atLeast(n int) node { return node{"type": "integer", "minimum": n} }

// oneOrMore is a value or a list of such.
func oneOrMore(value node) node {
	return node{"anyOf": []node{value, {"type": "array", "items": value}}}
}

// named is a mapping from names of the user's choice.
func named(value node, least int) node {
	n := node{"type": "object", "additionalProperties": value,
		"propertyNames": node{"pattern": goodName.String(), "not": node{"pattern": "__status$"}, "maxLength": 100}}
	if least > 0 {
		n["minProperties"] = least
	}
	return n
}

// mappingOf is a mapping of known keys.
func mappingOf(ks keys) node {
	properties := map[string]node{}
	var required []string
	for _, k := range ks {
		properties[k.name] = with(k.value, node{"description": k.about})
		if k.required {
			required = append(required, k.name)
		}
	}
	n := node{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		n["required"] = required
	}
	return n
}

// requiring is one of several keys, none of the others.
func requiring(names ...string) []node {
	out := make([]node, len(names))
	for i, name := range names {
		out[i] = node{"required": []string{name}}
	}
	return out
}

// sourceSchema: a table has a key and what goes with it, events have ids.
func sourceSchema() node {
	var not []string
	for _, x := range notInTables {
		not = append(not, x.key)
	}
	return with(mappingOf(sourceKeys), node{
		"if":   node{"properties": node{"kind": node{"const": "table"}}, "required": []string{"kind"}},
		"then": node{"required": []string{"key"}, "not": node{"anyOf": requiring(not...)}},
		"else": node{"dependentRequired": map[string][]string{"version": {"id"}}, "not": node{"required": []string{"key"}}},
	})
}

func featureSchema() node {
	aggregations := transforms.AggregationNames()
	needs := map[string][]string{}
	for _, name := range aggregations {
		if name != transforms.Last.String() { // which a table has without
			needs[name] = []string{"over"}
		}
	}
	goes := map[string]node{"expr": {"not": node{"anyOf": requiring(notWithExpr...)}}}
	for parameter, of := range parameters {
		var names []string
		for _, a := range of {
			names = append(names, a.String())
			needs[a.String()] = append(needs[a.String()], parameter)
		}
		goes[parameter] = node{"anyOf": requiring(names...)}
	}
	return with(mappingOf(featureKeys), node{"oneOf": requiring(append(aggregations, "expr")...), "dependentRequired": needs, "dependentSchemas": goes,
		"description": "One of " + strings.Join(aggregations, ", ") + ", or expr."})
}

func windowSchema() node {
	mapping := with(mappingOf(windowKeys), node{"oneOf": requiring("days", "weeks", "months", "window"),
		"dependentRequired": map[string][]string{"hop": {"window"}},
		"dependentSchemas":  map[string]node{"window": {"not": node{"anyOf": requiring("exclude_current")}}}})
	return node{"anyOf": []node{ref("duration"), {"const": "lifetime"}, mapping},
		"description": "24h, 7d; {window: 7d, hop: 5m}; {days: 7}, {weeks: 2}, {months: 1}, with exclude_current: true the ones before; lifetime."}
}
