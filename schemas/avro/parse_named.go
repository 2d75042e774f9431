package avro

import (
	"fmt"
	"strings"
)

// define registers a named type and returns the namespace within it.
func (p *parser) define(n *node, v map[string]any, ns, at string) (string, error) {
	name, ok := v["name"].(string)
	if !ok {
		return "", p.fail(at+".name", fmt.Sprintf("the name of the %s is %s", kindNames[n.kind], brief(v["name"])), "give it a name")
	}
	if s, ok := v["namespace"].(string); ok {
		ns = s
	} else if v["namespace"] != nil {
		return "", p.fail(at+".namespace", "it is "+brief(v["namespace"])+", not a string", "write it as in \"com.example\"")
	}
	n.name = qualify(name, ns)
	if !validFullName(n.name) {
		return "", p.fail(at+".name", fmt.Sprintf("%q is not a name", brief(n.name)), "letters, digits and _, not beginning with a digit; dots between the parts of a namespace")
	}
	if _, ok := primitive(n.name); ok {
		return "", p.fail(at+".name", fmt.Sprintf("%q is a primitive type", n.name), "choose another name")
	}
	if p.named[n.name] != nil {
		return "", p.fail(at+".name", fmt.Sprintf("the name %s is defined twice", n.name), "refer to the first definition by its name, or rename one")
	}
	p.named[n.name] = n
	ns = namespaceOf(n.name)
	aliases, err := p.aliases(v, at)
	for _, a := range aliases {
		full := qualify(a, ns)
		if !validFullName(full) {
			return "", p.fail(at+".aliases", fmt.Sprintf("%q is not a name", brief(a)), "")
		}
		n.aliases = append(n.aliases, full)
	}
	return ns, err
}

func (p *parser) aliases(v map[string]any, at string) ([]string, error) {
	switch a := v["aliases"].(type) {
	case nil:
		return nil, nil
	case []any:
		out := make([]string, len(a))
		for i := range a {
			s, ok := a[i].(string)
			if !ok {
				return nil, p.fail(fmt.Sprintf("%s.aliases[%d]", at, i), "it is "+brief(a[i])+", not a string", "list names")
			}
			out[i] = s
		}
		return out, nil
	}
	return nil, p.fail(at+".aliases", "it is "+brief(v["aliases"])+", not an array", `list names, as in ["old_name"]`)
}

func (p *parser) enum(v map[string]any, ns, at string) (*node, error) {
	n := &node{kind: kEnum}
	if _, err := p.define(n, v, ns, at); err != nil {
		return nil, err
	}
	list, ok := v["symbols"].([]any)
	if !ok || len(list) == 0 {
		return nil, p.fail(at+".symbols", "enum "+n.name+" has no symbols", "list them as an array of strings")
	}
	seen := map[string]bool{}
	for i, x := range list {
		here := fmt.Sprintf("%s.symbols[%d]", at, i)
		s, ok := x.(string)
		if !ok || !validName(s) {
			return nil, p.fail(here, brief(x)+" is not a symbol", "letters, digits and _, not beginning with a digit")
		}
		if seen[s] {
			return nil, p.fail(here, "symbol "+s+" is listed twice", "remove one")
		}
		seen[s] = true
		n.symbols = append(n.symbols, s)
	}
	if d, ok := v["default"]; ok {
		s, isText := d.(string)
		if !isText || !seen[s] {
			return nil, p.fail(at+".default", brief(d)+" is not one of the symbols of enum "+n.name, "the default is a symbol")
		}
		n.enumDefault = s
	}
	return n, nil
}

func (p *parser) record(v map[string]any, ns, at string, depth int) (*node, error) {
	n := &node{kind: kRecord}
	ns, err := p.define(n, v, ns, at)
	if err != nil {
		return nil, err
	}
	p.defined = append(p.defined, n)
	list, ok := v["fields"].([]any)
	if !ok {
		return nil, p.fail(at+".fields", "the fields of record "+n.name+" are "+brief(v["fields"])+", not an array", `list them, as in [{"name": "id", "type": "long"}]`)
	}
	seen := make(map[string]bool, len(list))
	for i, x := range list {
		here := fmt.Sprintf("%s.fields[%d]", at, i)
		f, err := p.field(x, ns, here, depth)
		if err != nil {
			return nil, err
		}
		if seen[f.name] {
			return nil, p.fail(here, fmt.Sprintf("record %s has two fields %q", n.name, f.name), "rename or remove one")
		}
		seen[f.name] = true
		n.fields = append(n.fields, f)
	}
	return n, nil
}

func (p *parser) field(x any, ns, at string, depth int) (*field, error) {
	v, ok := x.(map[string]any)
	if !ok {
		return nil, p.fail(at, "a field cannot be "+brief(x), `write {"name": …, "type": …}`)
	}
	name, ok := v["name"].(string)
	if !ok || !validName(name) {
		return nil, p.fail(at+".name", fmt.Sprintf("the field's name is %s", brief(v["name"])), "letters, digits and _, not beginning with a digit")
	}
	at = fmt.Sprintf("%s(%s)", at, brief(name))
	t, ok := v["type"]
	if !ok {
		return nil, p.fail(at, "the field has no type", `add "type"`)
	}
	typ, err := p.typ(t, ns, at+".type", depth+1)
	if err != nil {
		return nil, err
	}
	f := &field{name: name, typ: typ}
	f.def, f.hasDefault = v["default"]
	f.aliases, err = p.aliases(v, at)
	return f, err
}

// qualify gives a name its namespace; one that has dots has it already.
func qualify(name, ns string) string {
	if ns == "" || strings.Contains(name, ".") {
		return strings.TrimPrefix(name, ".")
	}
	return ns + "." + name
}

func namespaceOf(full string) string {
	if i := strings.LastIndexByte(full, '.'); i >= 0 {
		return full[:i]
	}
	return ""
}

func validFullName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !validName(part) {
			return false
		}
	}
	return true
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
