package definition

import (
	"testing"

	"github.com/tallystick/tallystick/transforms"
)

// V12: event streams have fields whose names CEL reserves.
func TestReservedFieldNames(t *testing.T) {
	const schema = `{"type":"record","name":"Change","fields":[{"name":"namespace","type":"int"},{"name":"package","type":["null","string"],"default":null},
 {"name":"import","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"var","type":{"type":"record","name":"Var","fields":[{"name":"if","type":"string"}]}}]}`
	const text = `sources:
  change: {schema: c.avsc, event_time: import, id: var.if, accept_defaults: [package], expect: ["namespace >= 0"]}
views:
  v:
    source: change
    entity: {namespace: int, kind: {type: string, field: package}}
    where: var.if != "const"
    features:
      loop: {max: namespace, where: 'package == "x"', over: 24h}
`
	read := func(string) ([]byte, error) { return []byte(schema), nil }
	d, err := Parse("f.yaml", []byte(text), read)
	if err != nil {
		t.Fatal(err)
	}
	v := d.Views[0]
	again, err := Parse("f.yaml", []byte(v.Canonical), read)
	if err != nil || again.Views[0].Canonical != v.Canonical || again.Views[0].Fingerprint != v.Fingerprint {
		t.Errorf("the canonical form is another definition: %v\n%s", err, v.Canonical)
	}
	if _, err := transforms.NewView(v.Spec); err != nil {
		t.Error(err)
	}
}
