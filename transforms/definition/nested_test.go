package definition

import (
	"strings"
	"testing"
)

// orders is a definition over a nested schema; SOURCE and INPUT are replaced.
const orders = `sources:
  orders:
    schema: schemas/order.avsc
    event_time: placed
    SOURCE
views:
  v:
    source: orders
    entity: {key: KEY}
    features:
      n: {count: INPUT, over: 24h}
`

func nested(source, key, input string) string {
	return strings.NewReplacer("SOURCE", source, "KEY", key, "INPUT", input).Replace(orders)
}

// V12, S2: every place that takes a field takes one of a nested type, and what
// cannot be used is refused in one sentence that says what can.
func TestNestedFields(t *testing.T) {
	const key, input = "{type: string, field: customer.id}", `"*"`
	for _, c := range []struct{ source, key, input, says string }{
		{"", key, input, ""},
		{"id: lines[0].sku\n    version: lines[0].quantity", key, input, ""},
		{"id: order_id", "{type: bytes, field: order_id}", input, ""},
		{"id: checksum", "{type: string, field: 'attributes[\"channel\"]'}", "lines[3].price == null", ""},
		{`expect: ["size(scores) > 0", "parent.parent.customer.address != null", "'gift' in tags"]`, key, "string(parent.amount)", ""},
		{`accept_defaults: [customer.address.city, tags, "attributes['k']", customer]`, key, "tags[0]", ""},
		{"migrate: {\"9\": {customer.address.city: town, customer.tier: 'x ? \"GOLD\" : \"BASIC\"'}}", key, input, ""},
		{"", key, "weight * 2.0", ""},
		{"", key, "amount", "`amount` is a decimal, which is not calculated with as it is; write `double(amount)`, the nearest double, or `unscaled(amount)`, an int in units of 0.01"},
		{"", "{type: bytes, field: amount}", input, "`amount` is a decimal"},
		{"id: amount", key, input, "`amount` is a decimal"},
		{"", key, "lines[0].price", "an int in units of 0.0001"},
		{"", key, "amount > 3", "`amount` is a decimal"},
		{"", key, "lines", "it is array of record demo.Line; use an item (`lines[0]`), its length (`size(lines)`)"},
		{"", key, "lines[0]", "it is a record; name one of its fields"},
		{"", key, "lines.sku", "`lines` is array of record demo.Line; name an item, as in `lines[0].sku`"},
		{"", key, "attributes.channel", "write `attributes[\"channel\"]`"},
		{"", key, "attributes[0]", "write a key in quotes, as in `attributes[\"key\"]`"},
		{"", key, "tags['a']", "write an index from 0, as in `tags[0]`"},
		{"", key, "customer.id in tags", "it is array of string; use an item"},
		{"", key, "3 in tags", "the items of `tags` are of kind string, the constant is of kind int"},
		{"", key, "3 in attributes", "`attributes` is a map, whose keys are texts"},
		{"", key, "'a' in lines", "`in` compares scalars only"},
		{"", key, "reference", "it is union [null, string, long, record demo.Address], whose values no one type holds exactly"},
		{"", key, "reference.city", "`reference` is union [null, string, long, record demo.Address]; what is within can be used only where it has one type"},
		{"", key, "warranty", "it is a duration of months, days and milliseconds, which has no one length; let the producer send a long in one unit"},
		{"", key, "local", "a local timestamp without a zone"},
		{"", key, "customer.adress.city", "did you mean `customer.address.city`?"},
		{"", key, "size(customer)", "it is a record"},
		{"", key, "size(nope)", "unknown field `nope`"},
		{"", key, "'a' in nope", "unknown field `nope`"},
		{"accept_defaults: [size(tags)]", key, input, "`size(tags)` is no field; name the field itself"},
		{"accept_defaults: [customer.nope]", key, input, "has no field `nope`"},
		{"migrate: {\"9\": {amount: double(x)}}", key, input, "a rule cannot compute `amount`, a decimal; declare it as a double or a long"},
		{"migrate: {\"9\": {'tags[0]': x}}", key, input, "a rule cannot compute `tags[0]`"},
		{"migrate: {\"9\": {tags: x}}", key, input, "it is array of string"},
	} {
		d, err := Parse("f.yaml", []byte(nested(c.source, c.key, "'"+strings.ReplaceAll(strings.Trim(c.input, `"`), "'", "''")+"'")), read)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s %s %s: %v", c.source, c.key, c.input, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Count(err.Error(), "\n") > 0):
			t.Errorf("%s %s %s: error is %v, want one with %q", c.source, c.key, c.input, err, c.says)
		case err == nil:
			again := mustParse(t, d.Views[0].Canonical).Views[0]
			if again.Canonical != d.Views[0].Canonical || again.Fingerprint != d.Views[0].Fingerprint {
				t.Errorf("%s\nbecomes\n%s", d.Views[0].Canonical, again.Canonical)
			}
		}
	}
	for path, says := range map[string]string{
		"size(lines)": "event_time is not an expression", "lines": "it is array", "opens": "event_time cannot be `opens`, a time-millis",
		"amount": "event_time cannot be `amount`, a decimal", "parent.placed": "", "due": "", "parent.parent.due": "", "parent['x']": "only arrays and maps",
		"{field: parent.local, zone: Europe/Paris}": "",
	} {
		_, err := Parse("f.yaml", []byte(strings.Replace(nested("", key, input), "event_time: placed", "event_time: "+path, 1)), read)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("event_time %s: error is %v, want %q", path, err, says)
		}
	}
}

// TestFingerprintOfNestedTypes: what the reader schema says along the paths in
// use counts, wherever it is written, and nothing else does (§3, S2).
func TestFingerprintOfNestedTypes(t *testing.T) {
	def := nested("accept_defaults: [tags]", "{type: string, field: customer.id}",
		`'double(lines[0].price) > 1.0 && customer.tier == "GOLD" && "gift" in tags && parent.customer.address != null && weight > 1.0 && double(amount) > 0.5'`)
	of := func(old, with string) string {
		d, err := Parse("f.yaml", []byte(def), func(path string) ([]byte, error) {
			text, err := read(path)
			if !strings.Contains(string(text), old) {
				t.Errorf("there is no %s", old)
			}
			return []byte(strings.Replace(string(text), old, with, 1)), err
		})
		if err != nil {
			t.Fatalf("%s → %s: %v", old, with, err)
		}
		return d.Views[0].Fingerprint
	}
	want := of("", "")
	for _, c := range []struct {
		old, with string
		same      bool
	}{
		{`"name": "sku"`, `"name": "SKU"`, true},
		{`"size": 4}`, `"size": 5}`, true},
		{`"precision": 18, "scale": 4`, `"precision": 18, "scale": 3`, false},
		{`"precision": 18, "scale": 4`, `"precision": 17, "scale": 4`, false},
		{`"precision": 18, "scale": 2`, `"precision": 18, "scale": 1`, false},
		{`"default": "OTHER"`, `"default": "BASIC"`, false},
		{`"GOLD", "OTHER"]`, `"GOLD", "OTHER", "NEW"]`, false},
		{`"name": "tier",`, `"name": "tier", "aliases": ["class"],`, false},
		{`"name": "tier",`, `"name": "tier", "doc": "of the customer",`, true},
		{`"name": "Line",`, `"name": "Line", "aliases": ["Item"],`, false},
		{`"name": "address",`, `"name": "address", "aliases": ["home"],`, false},
		{`"default": []},
  {"name": "weight"`, `"default": ["gift"]},
  {"name": "weight"`, false},
		{`"int", "float", "double"]`, `"int", "double"]`, false},
		{`"string", "long", "Address"]`, `"string", "long"]`, true},
	} {
		if got := of(c.old, c.with); (got == want) != c.same {
			t.Errorf("%s → %s: same fingerprint = %t", c.old, c.with, got == want)
		}
	}
}
