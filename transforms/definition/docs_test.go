package definition

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

const docs = "../../docs/definition.md"

// TestDocsExamples loads every example of docs/definition.md. A block of
// ```yaml is a whole definition; source, view and features are parts of one.
func TestDocsExamples(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	for _, def := range documented(string(text)) {
		d, err := Parse("docs", []byte(def), read)
		if err != nil {
			t.Errorf("%v\nin\n%s", err, def)
			continue
		}
		for _, v := range d.Views {
			if _, err := transforms.NewView(v.Spec); err != nil {
				t.Error(err)
			}
		}
	}
	for _, name := range transforms.AggregationNames() {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s is not described", name)
		}
	}
}

// documented returns the examples of a text, each as a whole definition.
func documented(text string) (defs []string) {
	for _, b := range strings.Split(text, "```yaml")[1:] {
		kind, body, _ := strings.Cut(b, "\n")
		body, _, _ = strings.Cut(body, "```")
		def := body
		switch strings.TrimSpace(kind) {
		case "source":
			def = strings.Replace(base, "    event_time: event_time\n", indent(4, body), 1)
			if !strings.Contains(body, "event_time:") {
				def = strings.Replace(base, "    event_time: event_time\n", "    event_time: event_time\n"+indent(4, body), 1)
			}
		case "view":
			def, _, _ = strings.Cut(base, "    source: flights")
			def += indent(4, body)
		case "features":
			def, _, _ = strings.Cut(base, "      n:")
			def += indent(6, body)
		}
		defs = append(defs, def)
	}
	return defs
}

func indent(n int, text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return strings.Repeat(" ", n) + strings.Join(lines, "\n"+strings.Repeat(" ", n)) + "\n"
}

// TestDocsFunctions compares the tables of operators and functions with the code.
func TestDocsFunctions(t *testing.T) {
	const marker = "-run Docs -rewrite` -->\n"
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	table := func(title string, list []expr.Doc) {
		fmt.Fprintf(&b, "\n| %s | meaning | example |\n|---|---|---|\n", title)
		for _, d := range list {
			cell := strings.NewReplacer("|", `\|`)
			fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", cell.Replace(d.Syntax), d.Text, cell.Replace(d.Example))
		}
	}
	table("operator", expr.Operators())
	table("function", expr.Functions())
	head, tail, ok := strings.Cut(string(text), marker)
	if !ok {
		t.Fatal("the marker is missing")
	}
	if tail == b.String() {
		return
	}
	if !*rewrite {
		t.Fatalf("the tables differ from the code; run with -rewrite\n%s", b.String())
	}
	if err := os.WriteFile(docs, []byte(head+marker+b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}
