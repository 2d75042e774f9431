package avro

import (
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/tallystick/tallystick/schemas"
)

const purchaseText = `{"type":"record","name":"Purchase","namespace":"com.example","fields":[
 {"name":"event_id","type":"string"},
 {"name":"user_id","type":"string"},
 {"name":"merchant_id","type":"int"},
 {"name":"amount","type":"double"},
 {"name":"currency","type":"string"},
 {"name":"ts","type":{"type":"long","logicalType":"timestamp-micros"}}]}`

var purchasePaths = []string{"user_id", "amount", "ts"}

func mustParse(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCompile(t testing.TB, w, r *Schema, paths ...string) *Decoder {
	t.Helper()
	d, err := Compile(w, r, paths, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// encode returns the Avro body of a native value, written by the oracle.
func encode(t testing.TB, schema string, native any) []byte {
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

func purchaseBody(t testing.TB) []byte {
	return encode(t, purchaseText, map[string]any{
		"event_id": "0123456789abcdef", "user_id": "user-00042", "merchant_id": 1234,
		"amount": 12.5, "currency": "EUR", "ts": int64(1_700_000_000_123_456),
	})
}

// A3: nothing is allocated on the success path.
func TestDecodeAllocatesNothing(t *testing.T) {
	s := mustParse(t, purchaseText)
	d, body := mustCompile(t, s, s, purchasePaths...), purchaseBody(t)
	dst := make([]schemas.Value, 3)
	allocs := testing.AllocsPerRun(100, func() {
		if err := d.Decode(dst, body); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("Decode allocates %v times", allocs)
	}
	if dst[0].Text() != "user-00042" || dst[1].Double() != 12.5 || dst[2].Micros() != 1_700_000_000_123_456 {
		t.Errorf("decoded %v", dst)
	}
}

func BenchmarkDecode(b *testing.B) {
	s := mustParse(b, purchaseText)
	d, body := mustCompile(b, s, s, purchasePaths...), purchaseBody(b)
	dst := make([]schemas.Value, 3)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := d.Decode(dst, body); err != nil {
			b.Fatal(err)
		}
	}
}

// What reading some of an array and of a map costs.
func BenchmarkDecodeNested(b *testing.B) {
	s := mustParse(b, nestedText)
	d, body := mustCompile(b, s, s, "lines[1].n", "size(lines)", `"k" in tags`, "buyer.tier", "3 in ranks", `legs["a"][0].to`), nestedBody(b)
	dst := make([]schemas.Value, 6)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := d.Decode(dst, body); err != nil {
			b.Fatal(err)
		}
	}
}
