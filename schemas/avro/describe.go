package avro

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Describe returns what the schema says along a path besides what Lookup tells
// of it and the top field's own aliases and default: all that reading the path
// depends on. It is "" where there is no more, and for a path that is none.
// Equal texts read alike.
func (s *Schema) Describe(path string) string {
	t, problem := parsePath(path)
	if problem != "" {
		return ""
	}
	typ, _, err := s.walk(path, t)
	if err != nil {
		return ""
	}
	leaf, _ := typ.deref()
	if len(t.steps) == 1 && t.reads == readValue && leaf.kind <= kString && leaf.logical == leaf.attr && leaf.attr != "decimal" {
		return ""
	}
	var b strings.Builder
	n := s.top
	for i, st := range t.steps {
		inner, _ := n.deref()
		if n = inner.items; st.kind == stepField {
			f := inner.field(st.name)
			n = f.typ
			fmt.Fprintf(&b, ".%s", st.name)
			if i > 0 { // the top field's are told elsewhere
				fmt.Fprintf(&b, "%q", f.aliases)
				if f.hasDefault {
					text, _ := json.Marshal(f.def) // of what encoding/json read
					fmt.Fprintf(&b, "=%s", text)
				}
			}
		}
		b.WriteString(" " + n.describe(i == len(t.steps)-1))
	}
	if leaf.kind == kArray && t.reads == readIn {
		b.WriteString(" " + leaf.items.describe(true))
	}
	return b.String()
}

// describe tells of a type, of a leaf with all that decides how it is read, but
// nothing of what is within it.
func (n *node) describe(leaf bool) string {
	text := fmt.Sprintf("%s %s%q %s/%s", kindNames[n.kind], n.name, n.aliases, n.attr, n.logical)
	if n.kind == kUnion {
		text += "("
		for _, b := range n.branches {
			text += b.describe(leaf) + ";"
		}
		return text + ")"
	}
	if leaf {
		text += fmt.Sprintf(" %d %d %d %q %q", n.size, n.precision, n.scale, n.symbols, n.enumDefault)
	}
	return text
}
