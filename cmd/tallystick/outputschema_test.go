package main

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/reconcile"
)

var rewriteOutputs = flag.Bool("rewrite-outputs", false, "rewrite docs/output.schema.json")

// printed is what each command prints with --json.
var printed = map[string]any{"check": checkOutput{}, "check --explain": explained{}, "cut": schemas.Cut{}, "demo": demoOutput{}, "drop": dropOutput{}, "fill": fillOutput{}, "gc": gcOutput{},
	"get": getOutput{}, "init": initOutput{}, "live": liveOutput{}, "reconcile": reconcileOutput{}, "replay": replayOutput{}, "replay --estimate": estimateOutput{}, "replay accept": replayOutput{}, "replay held": heldOutput{}, "replay plan": replayPlan{}, "replay publish": replayOutput{}, "replay run": sharedOutput{}, "run": runOutput{},
	"stream": streamOutput{}, "tick": tickOutput{}, "train": trainOutput{}}

// outputSchemas returns the JSON Schema of all of them, generated from their Go
// types: one definition per command.
func outputSchemas() []byte {
	root := &jsonschema.Schema{Version: jsonschema.Version, Title: "What tallystick prints with --json, by command", Definitions: jsonschema.Definitions{}}
	for _, name := range slices.Sorted(maps.Keys(printed)) {
		s := (&jsonschema.Reflector{Anonymous: true, Mapper: mapped}).Reflect(printed[name])
		maps.Copy(root.Definitions, s.Definitions) // the Go types within, by their names
		s.Version, s.Definitions = "", nil
		root.Definitions[name] = s
	}
	var b bytes.Buffer
	if err := printJSON(&b, root); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// mapped are the types that do not print as their Go type says.
func mapped(t reflect.Type) *jsonschema.Schema {
	instant := &jsonschema.Schema{Type: "string", Format: "date-time"}
	switch t {
	case reflect.TypeFor[reconcile.Instant]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{instant, {Type: "null"}}}
	}
	return nil
}

var compiled = sync.OnceValues(func() (map[string]*validator.Schema, error) {
	doc, err := validator.UnmarshalJSON(bytes.NewReader(outputSchemas()))
	if err != nil {
		return nil, err
	}
	c := validator.NewCompiler()
	if err := c.AddResource("outputs.json", doc); err != nil {
		return nil, err
	}
	all := map[string]*validator.Schema{}
	for name := range printed {
		if all[name], err = c.Compile("outputs.json#/$defs/" + strings.ReplaceAll(name, " ", "%20")); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// checkPrinted holds what a command printed with --json against its schema.
func checkPrinted(t *testing.T, args []string, text string) {
	t.Helper()
	name := args[0]
	if name == "check" && slices.Contains(args, "--explain") {
		name = "check --explain"
	}
	if slices.Contains(args, "--estimate") {
		name = "replay --estimate"
	}
	all, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("tallystick %s prints no JSON: %v", strings.Join(args, " "), err)
	}
	if s := all[name]; s == nil {
		t.Errorf("nothing says what %s --json prints", name)
	} else if err := s.Validate(doc); err != nil {
		t.Errorf("tallystick %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// docs/output.schema.json says what every command prints with --json: every
// command is there, and what the other tests make them print is held against it.
func TestOutputSchemas(t *testing.T) {
	for _, c := range allCommands(newRoot()) {
		if _, ok := printed[named(c)]; !ok && c.Flags().Lookup("json") != nil {
			t.Errorf("%s has --json and no schema", c.Name())
		}
	}
	const path = "../../docs/output.schema.json"
	want := outputSchemas()
	if *rewriteOutputs {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not current; rewrite it with -rewrite-outputs (%v)", path, err)
	}
}
