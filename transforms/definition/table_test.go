package definition

import (
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

const tableBase = `sources:
  accounts:
    kind: table
    key: schemas/account_key.avsc
    schema: schemas/account.avsc
    event_time: updated_at
    version: lsn
views:
  account:
    source: accounts
    entity: {region: string, account: int}
    features:
      status: {last: status, default: none}
      cents: {last: balance * 100.0, over: lifetime}
      overdrawn: {expr: "status == \"open\" && cents_lifetime < 0.0", default: false}
`

// K6: what a table's view is made of.
func TestTable(t *testing.T) {
	d := mustParse(t, tableBase)
	v, s := d.Views[0], d.Sources[0]
	if got, want := v.FeatureNames(), []string{"status", "cents_lifetime", "overdrawn"}; !slices.Equal(got, want) {
		t.Errorf("features %v", got)
	}
	if !s.Table || !v.Spec.Table || v.Spec.Identity != transforms.Anonymous || v.Spec.Version == nil || s.Lateness != 0 {
		t.Errorf("source %+v", s)
	}
	if want := []string{"region", "account"}; !slices.Equal(s.Key.Paths, want) {
		t.Errorf("key %v", s.Key.Paths)
	}
	compiled, err := transforms.NewView(v.Spec)
	if err != nil {
		t.Fatal(err)
	}
	in := compiled.NewInput()
	compiled.Prepare(in, &schemas.Event{Tombstone: true, Key: []schemas.Value{schemas.StringValue("eu"), schemas.IntValue(7)}})
	if want := transforms.EncodeEntity(nil, schemas.StringValue("eu"), schemas.IntValue(7)); string(in.Entity) != string(want) {
		t.Errorf("entity %x, want %x", in.Entity, want)
	}
	if ws, err := v.Warnings(); err != nil || len(ws) > 0 {
		t.Errorf("warnings %v, error %v", ws, err)
	}
	if _, err := v.Explain(2, 0); err != nil {
		t.Error(err)
	}
}

// V6: a view reads of the values what its own features need; key fields are none
// of them.
func TestTableProjection(t *testing.T) {
	text := strings.Replace(tableBase, "    version: lsn\n", "", 1) + `  other:
    source: accounts
    entity: {region: string, account: int}
    features: {balance: {last: balance}}
`
	v := mustParse(t, text).Views[1]
	var paths []string
	for _, slot := range v.Slots() {
		paths = append(paths, v.Source.Paths[slot])
	}
	if !slices.Equal(paths, []string{"updated_at", "balance"}) {
		t.Errorf("it reads %v of %v", paths, v.Source.Paths)
	}
}

// The normal form of a table reads back as itself.
func TestTableCanonical(t *testing.T) {
	for _, key := range []string{"schemas/account_key.avsc", "schemas/account_id.avsc", "string", "uuid", "bytes", "int", "long"} {
		text := strings.Replace(tableBase, "schemas/account_key.avsc", key, 1)
		if key != "schemas/account_key.avsc" {
			kind := map[string]string{"string": "string", "uuid": "string", "bytes": "bytes"}[key]
			if kind == "" {
				kind = "int"
			}
			text = strings.Replace(text, "{region: string, account: int}", "{any: "+kind+"}", 1)
		}
		v := mustParse(t, text).Views[0]
		again := mustParse(t, v.Canonical).Views[0]
		if again.Canonical != v.Canonical || again.Fingerprint != v.Fingerprint {
			t.Errorf("key %s:\n%s\nreads back as\n%s", key, v.Canonical, again.Canonical)
		}
	}
}

// §3: how keys are written is part of a view, the name of a primitive one is not.
func TestTableFingerprint(t *testing.T) {
	one := strings.Replace(tableBase, "{region: string, account: int}", "{id: int}", 1)
	of := func(key, entity string) string {
		text := strings.Replace(one, "schemas/account_key.avsc", key, 1)
		return mustParse(t, strings.Replace(text, "{id: int}", entity, 1)).Views[0].Fingerprint
	}
	seen := map[string]string{mustParse(t, tableBase).Views[0].Fingerprint: "record"}
	for _, key := range []string{"long", "int", "schemas/account_id.avsc"} {
		f := of(key, "{id: int}")
		if seen[f] != "" {
			t.Errorf("keys %s and %s have one fingerprint", key, seen[f])
		}
		seen[f] = key
		if of(key, "{account: int}") != f {
			t.Errorf("key %s: the name of the entity counts", key)
		}
	}
	events := strings.Replace(base, `{count: "*", over: 24h}`, "{last: status, over: lifetime}", 1)
	table := strings.Replace(strings.Replace(events, "event_time: event_time", "event_time: event_time\n    kind: table\n    key: string", 1), "over: lifetime", "over: lifetime", 1)
	if mustParse(t, events).Views[0].Fingerprint == mustParse(t, table).Views[0].Fingerprint {
		t.Error("a table has the fingerprint of an event view")
	}
}
