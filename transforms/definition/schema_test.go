package definition

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

const schemaFile = "../../docs/" + SchemaFile

// docs/tallystick.schema.json is the schema of this build.
func TestSchemaIsCurrent(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(schemaFile)
	if err == nil && bytes.Equal(have, want) {
		return
	}
	if !*rewrite {
		t.Fatalf("%s is not that of this build (%v): run `go test ./transforms/definition -run Schema -rewrite`", schemaFile, err)
	}
	if err := os.WriteFile(schemaFile, want, 0o666); err != nil {
		t.Fatal(err)
	}
}

// compiled returns the schema; it is checked against draft 2020-12 itself.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(SchemaFile, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance returns a definition as JSON has it, as editors do.
func instance(t *testing.T, def string) any {
	t.Helper()
	var x any
	if err := yaml.Unmarshal([]byte(def), &x); err != nil {
		t.Fatalf("%v\n%s", err, def)
	}
	return jsonOf(x)
}

func jsonOf(x any) any {
	switch x := x.(type) {
	case map[string]any:
		for k, v := range x {
			x[k] = jsonOf(v)
		}
		return x
	case map[any]any:
		out := map[string]any{}
		for k, v := range x {
			out[fmt.Sprint(k)] = jsonOf(v)
		}
		return out
	case []any:
		for i, v := range x {
			x[i] = jsonOf(v)
		}
		return x
	case time.Time:
		return x.Format(time.RFC3339)
	}
	return x
}

// Whatever the parser accepts is valid: the examples of the documentation, those
// of the repository, and of this package's tests.
func TestSchemaTakesExamples(t *testing.T) {
	s := compiled(t)
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	defs := documented(string(text))
	files, err := filepath.Glob("../../examples/*/tallystick.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range append(files, "testdata/flights.yaml") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		defs = append(defs, string(text))
	}
	for _, def := range defs {
		if err := s.Validate(instance(t, def)); err != nil {
			t.Errorf("%v\nof\n%s", err, def)
		}
		// The canonical form is a definition too.
		if d, err := Parse("docs", []byte(def), read); err == nil {
			for _, v := range d.Views {
				if err := s.Validate(instance(t, v.Canonical)); err != nil {
					t.Errorf("%v\nof\n%s", err, v.Canonical)
				}
			}
		}
	}
}

// What the parser refuses because of a key is not valid: the malformed
// definitions with a key that is unknown, not supported or out of place.
func TestSchemaRefusesUnknownKeys(t *testing.T) {
	s := compiled(t)
	text, err := os.ReadFile("testdata/malformed.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		def, want := malformed(t, c)
		if !strings.Contains(want, "unknown key `") && !strings.Contains(want, "not supported yet") && !strings.Contains(want, "does not go with") {
			continue
		}
		seen++
		if err := s.Validate(instance(t, def)); err == nil {
			t.Errorf("the schema accepts what the parser refuses: %s\n%s", want, def)
		}
	}
	if seen < 8 {
		t.Errorf("only %d cases seen", seen)
	}
}

// A key that one of the tables lacks is refused by the parser and the schema
// alike, wherever it stands; every key has a description.
func TestSchemaAndParserShareKeys(t *testing.T) {
	s := compiled(t)
	if err := s.Validate(instance(t, base)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"sources:\n", "zzz: 1\nsources:\n"},
		{"    event_time: event_time\n", "    event_time: event_time\n    zzz: 1\n"},
		{"event_time: event_time", "event_time: {field: event_time, zzz: 1}"},
		{"    event_time: event_time\n", "    event_time: event_time\n    writers: {zzz: 1}\n"},
		{"    source: flights\n", "    source: flights\n    zzz: 1\n"},
		{"{dest: string}", "{dest: {type: string, zzz: 1}}"},
		{`{count: "*"`, `{zzz: 1, count: "*"`},
		{"over: 24h", "over: {window: 24h, zzz: 1}"},
	} {
		def := strings.Replace(base, c[0], c[1], 1)
		_, err := Parse("f.yaml", []byte(def), read)
		if err == nil || !strings.Contains(err.Error(), "unknown key `zzz`") {
			t.Errorf("the parser: %v\n%s", err, def)
		}
		if err := s.Validate(instance(t, def)); err == nil {
			t.Errorf("the schema accepts\n%s", def)
		}
	}
	for _, ks := range []keys{definitionKeys, sourceKeys, writersKeys, eventTimeKeys, viewKeys, keyFieldKeys, featureKeys, windowKeys} {
		for _, k := range ks {
			if k.about == "" || k.value == nil {
				t.Errorf("`%s` has no description or no value", k.name)
			}
		}
	}
}
