package reading_test

import (
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/expr"
	"github.com/tallystick/tallystick/transforms/reading"
)

const orderSchema = "../definition/testdata/schemas/order.avsc"

// documentedOrders returns the definition of docs/definition.md over orders.
func documentedOrders(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/definition.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```yaml\nsources:\n  orders:")
	block, _, _ = strings.Cut(block, "```")
	if !ok {
		t.Fatal("the example is missing")
	}
	return "sources:\n  orders:" + block
}

func order(more map[string]any) map[string]any {
	line := func(sku string, quantity int, price *big.Rat) map[string]any {
		return map[string]any{"sku": sku, "quantity": quantity, "price": price}
	}
	o := map[string]any{
		"order_id": []byte("0123456789abcdef"), "revision": 3, "placed": int64(-1), "amount": big.NewRat(1250, 100), // −1 ns
		"customer": goavro.Union("demo.Customer", map[string]any{"id": "6fa459ea", "tier": "GOLD",
			"address": goavro.Union("demo.Address", map[string]any{"city": goavro.Union("string", "Paris")})}),
		"lines":      []any{line("a", 2, big.NewRat(25, 10_000)), line("b", 1, big.NewRat(-1, 1))},
		"attributes": map[string]any{"channel": goavro.Union("string", "web")}, "tags": []any{"gift"},
		"weight": goavro.Union("float", float32(0.5)), "reference": goavro.Union("long", 7), "parent": nil,
		"opens": nil, "local": nil, "warranty": goavro.Union("demo.Span", []byte("123456789012")), "due": goavro.Union("int.date", 1),
		"checksum": []byte("abcd"), "payload": []byte{}, "matrix": []any{[]any{}, []any{2.5}},
		"scores": map[string]any{"risk": []any{goavro.Union("float", float32(0.25))}}, "paid": true,
	}
	for k, v := range more {
		o[k] = v
	}
	return o
}

func encoded(t *testing.T, schema string, native map[string]any) []byte {
	t.Helper()
	codec, err := goavro.NewCodec(schema)
	if err != nil {
		t.Fatal(err)
	}
	b, err := codec.BinaryFromNative(nil, native)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDocumentedTypes reads a record of the schema that the documentation uses,
// and one in which all that may be null is (V12, V2).
func TestDocumentedTypes(t *testing.T) {
	text, err := os.ReadFile(orderSchema)
	if err != nil {
		t.Fatal(err)
	}
	d := define(t, string(text), documentedOrders(t))
	w := &writers{schemas: map[int]*registry.Writer{}}
	w.add(t, 1, "order", string(text))
	v := d.Views[0]
	s := reading.NewSource(v, w)
	r, e := s.NewReader(), s.NewEvent()
	bare := map[string]any{"customer": nil, "attributes": map[string]any{}, "tags": []any{}, "weight": nil, "reference": nil, "due": nil,
		"matrix": []any{}, "scores": map[string]any{}, "amount": new(big.Rat), "lines": []any{}}
	want := map[string][2]string{
		"unscaled(amount)": {"1250", "0"}, "double(amount)": {"12.5", "0"}, "string(amount)": {"12.50", "0.00"},
		"double(lines[0].price)": {"0.0025", "null"}, "size(lines)": {"2", "0"}, "customer.address.city": {"Paris", "null"},
		"weight": {"0.5", "null"}, "checksum": {"61626364", "61626364"}, "parent.parent.order_id": {"null", "null"},
		"matrix[1][0]": {"2.5", "null"}, `scores["risk"][0]`: {"0.25", "null"}, "due - placed": {"86400000001", "null"},
		`paid && !("test" in tags) && attributes["channel"] != "internal"`: {"true", "null"},
		`"channel" in attributes`: {"true", "false"}, "reference != null": {"true", "false"},
		"size(lines) > 0": {"true", "false"}, "double(amount) >= 0.0": {"true", "true"}, `customer == null || customer.tier != "OTHER"`: {"true", "true"},
		"customer.id": {"6fa459ea", "null"}, "order_id": {"30313233343536373839616263646566", "30313233343536373839616263646566"}, "revision": {"3", "3"},
	}
	for n, more := range []map[string]any{nil, bare} {
		if err := r.Read(background(t), record(1, int64(n), encoded(t, string(text), order(more))), e); err != nil || e.Fault != nil {
			t.Fatalf("%v %v", err, e.Fault)
		}
		if e.EventTime != -1 { // −1 ns rounds down to −1 µs
			t.Errorf("event time %d", e.EventTime)
		}
		programs := append([]*expr.Program{v.Spec.Where, v.Spec.Key[0].Expr, v.Spec.ID, v.Spec.Version}, append(v.Spec.Inputs, v.Spec.Filters...)...)
		for _, x := range v.Spec.Expect {
			programs = append(programs, x.Expr)
		}
		for _, p := range programs {
			x, err := p.Eval(e.Fields)
			if want, ok := want[p.Canonical()]; !ok || err != nil || x.String() != want[n] {
				t.Errorf("%s is %v, %v; want %s", p.Canonical(), x, err, want[n])
			}
		}
	}
}

// TestNestedEvolution: a change of unit within a record, an array or a map stops
// the pipeline or quarantines, by policy, once a view uses the field, and never
// else; a rule over the writer's nested fields bridges it (S2).
func TestNestedEvolution(t *testing.T) {
	text, err := os.ReadFile(orderSchema)
	if err != nil {
		t.Fatal(err)
	}
	// A reader with instants within a record, an array and a map, and a writer of another unit.
	with := func(logical string) string {
		at := `{"type":"long","logicalType":"` + logical + `"}`
		return strings.Replace(string(text), `{"name": "paid",`, `{"name": "ship", "type": ["null", {"type": "record", "name": "Ship", "fields": [
			{"name": "at", "type": `+at+`}, {"name": "stops", "type": {"type": "array", "items": `+at+`}}, {"name": "by", "type": {"type": "map", "values": ["null", `+at+`]}}]}]}, {"name": "paid",`, 1)
	}
	instant := map[string]any{"at": int64(5), "stops": []any{int64(6)}, "by": map[string]any{"air": nil}}
	native := order(map[string]any{"ship": goavro.Union("demo.Ship", instant)})
	body := encoded(t, with("timestamp-millis"), native)
	read := func(input, source string) (*definition.View, *schemas.Event, error) {
		def := strings.Replace(documentedOrders(t), "cents: {sum: unscaled(amount), over: 7d}", "x: {last: '"+input+"', over: 7d}", 1)
		def = strings.Replace(def, "    event_time: placed", "    event_time: placed"+source, 1)
		d := define(t, with("timestamp-micros"), def)
		w := &writers{schemas: map[int]*registry.Writer{}}
		w.add(t, 1, "v1", with("timestamp-millis"))
		s := reading.NewSource(d.Views[0], w)
		e := s.NewEvent()
		return d.Views[0], e, s.NewReader().Read(background(t), record(1, 0, body), e)
	}
	for _, input := range []string{"ship.at", "ship.stops[0]", `ship.by["air"]`} {
		if _, _, err := read(input, ""); err == nil || !strings.Contains(err.Error(), "`"+input+"`: the logical type differs") || strings.Count(err.Error(), "differs") != 1 {
			t.Errorf("%s: error is %v", input, err)
		}
		_, e, err := read(input, "\n    incompatible: quarantine")
		if err != nil || e.Fault == nil || e.Fault.Stage != schemas.StageMigrate {
			t.Errorf("%s: %v, %v, want it quarantined", input, e.Fault, err)
		}
	}
	for _, input := range []string{"size(ship.stops)", "ship != null", "paid"} { // no instants
		if _, e, err := read(input, ""); err != nil || e.Fault != nil {
			t.Errorf("%s: %v, %v", input, e.Fault, err)
		}
	}
	v, e, err := read("ship.at", "\n    migrate: {v1: {ship.at: 'ship.stops[0] + (ship.at - ship.at)'}}")
	if err != nil || e.Fault != nil {
		t.Fatal(err, e.Fault)
	}
	if x, err := v.Spec.Inputs[0].Eval(e.Fields); err != nil || x.Micros() != 6000 {
		t.Errorf("%v, %v", x, err)
	}
}
