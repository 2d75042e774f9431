package avro

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/tallystick/tallystick/schemas"
)

const nestedText = `{"type":"record","name":"Order","fields":[
 {"name":"id","type":"string"},
 {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
   {"name":"sku","type":"bytes"},{"name":"n","type":"int"},{"name":"sub","type":["null","Line"]}]}}},
 {"name":"tags","type":{"type":"map","values":["null","string","double"]}},
 {"name":"buyer","type":["null",{"type":"record","name":"Buyer","fields":[
   {"name":"tier","type":{"type":"enum","name":"Tier","symbols":["A","B"]}},
   {"name":"score","type":["float","null"]},{"name":"hash","type":{"type":"fixed","name":"H","size":4}}]}]},
 {"name":"ok","type":"boolean"},
 {"name":"day","type":{"type":"int","logicalType":"date"}},
 {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}]},
 {"name":"ranks","type":{"type":"array","items":["null","int"]}},
 {"name":"legs","type":{"type":"map","values":{"type":"array","items":{"type":"record","name":"Leg","fields":[
   {"name":"to","type":"string"},{"name":"ns","type":{"type":"long","logicalType":"timestamp-nanos"}}]}}}}]}`

// nestedPaths are paths of every form into nestedText.
var nestedPaths = []string{"lines[0].sku", "lines[2].n", "lines[0].sub.n", "size(lines)", "present(lines[1].sub)", "size(tags)", `"k" in tags`,
	`present(tags["k"])`, "buyer.tier", "present(buyer)", "price", "ranks[0]", "ranks[3]", "3 in ranks", "-1 in ranks", "size(ranks)",
	`legs["a"][1].to`, `legs["a"][0].ns`, `size(legs["b"])`, `"b" in legs`, `present(legs["a"][1])`}

func nestedBody(t testing.TB) []byte {
	line := map[string]any{"sku": []byte("s1"), "n": 3, "sub": goavro.Union("Line", map[string]any{"sku": []byte{}, "n": -1, "sub": nil})}
	return encode(t, nestedText, map[string]any{
		"id": "order-1", "lines": []any{line, line},
		"tags":  map[string]any{"k": goavro.Union("string", "v"), "d": goavro.Union("double", 2.5)},
		"buyer": goavro.Union("Buyer", map[string]any{"tier": "B", "score": goavro.Union("float", float32(0.5)), "hash": []byte("abcd")}),
		"ok":    true, "day": 19_000, "at": int64(1_700_000_000_000), "price": goavro.Union("bytes.decimal", big.NewRat(-1250, 100)),
		"ranks": []any{goavro.Union("int", 5), nil, goavro.Union("int", 3)},
		"legs":  map[string]any{"a": []any{map[string]any{"to": "JFK", "ns": int64(-1)}, map[string]any{"to": "LGA", "ns": int64(1)}}, "b": []any{}},
	})
}

// S3: a body cut anywhere, or with a byte too many, is an error.
func TestTruncation(t *testing.T) {
	for _, c := range []struct {
		text string
		body []byte
	}{{nestedText, nestedBody(t)}, {purchaseText, purchaseBody(t)}} {
		s := mustParse(t, c.text)
		all := s.Paths()
		if c.text == nestedText {
			all = append(all, nestedPaths...)
		}
		if !sameVerdict(t, s, all, c.body) {
			t.Fatal("the whole body is not valid")
		}
		for n := range c.body {
			if sameVerdict(t, s, all, c.body[:n:n]) {
				t.Errorf("valid with %d of %d bytes", n, len(c.body))
			}
		}
		if sameVerdict(t, s, all, append(c.body, 0)) {
			t.Error("valid with a byte too many")
		}
	}
}

// S3, A1: hostile bytes never panic; the verdict does not depend on the
// projection; what we accept the oracle reads alike.
func FuzzDecode(f *testing.F) {
	s := mustParse(f, nestedText)
	codec, err := goavro.NewCodec(nestedText)
	if err != nil {
		f.Fatal(err)
	}
	body := nestedBody(f)
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x03\x0c\x00\x02\x00\x00\x00\x00\x00\x01\x00\x00"))
	f.Add([]byte("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	all := append(s.Paths(), nestedPaths...)
	f.Fuzz(func(t *testing.T, b []byte) {
		if !sameVerdict(t, s, all, b) {
			return
		}
		// Avro does not forbid a map key to come twice; goavro alone does.
		if _, _, err := codec.NativeFromBinary(b); err == nil || !strings.Contains(err.Error(), "duplicate key") {
			compareWithOracle(t, s, codec, all, b)
		}
	})
}

// S3: hostile schema text never panics, and what parses compiles with itself.
func FuzzParse(f *testing.F) {
	for _, text := range []string{nestedText, purchaseText, tripText, `["null"]`, `{"type":{"type":"record","name":"R","fields":[]}}`,
		rec("R", fld("a", `{"type":"array","items":"R"}`))} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz", text)
		if err != nil {
			var typed *ParseError
			if !errors.As(err, &typed) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		paths := s.Paths()
		d, err := Compile(s, s, paths, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_ = d.Decode(make([]schemas.Value, len(paths)), text)
	})
}

// S3: no text of a path panics; what Lookup takes compiles, and reads a body.
func FuzzLookup(f *testing.F) {
	s := mustParse(f, nestedText)
	body := nestedBody(f)
	for _, p := range append(s.Paths(), nestedPaths...) {
		f.Add(p)
	}
	f.Add("timestamp(5) in lines[0][\"x\"]..b")
	f.Fuzz(func(t *testing.T, path string) {
		typ, err := s.Lookup(path)
		if err != nil {
			var typed *PathError
			if !errors.As(err, &typed) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		dst := make([]schemas.Value, 1)
		if err := mustCompile(t, s, s, path).Decode(dst, body); err != nil || dst[0].IsNull() && !typ.Nullable || !dst[0].IsNull() && dst[0].Kind() != typ.Kind {
			t.Fatalf("%s reads %v, %v; its type is %+v", path, dst[0], err, typ)
		}
		if names := Names(path); !strings.Contains(path, names) {
			t.Fatalf("%s begins with %s", path, names)
		}
	})
}

// A1: depth counts alike whether the records around a value are projected or not.
func TestDepthDoesNotDependOnProjection(t *testing.T) {
	s := mustParse(t, rec("R", fld("l", `["null",`+rec("L", fld("v", `"int"`)+","+fld("next", `["null","L"]`))+`]`)))
	for n := 60; n < 70; n++ {
		body := []byte(strings.Repeat("\x02\x02", n) + "\x00")
		if valid := sameVerdict(t, s, []string{"l.v", "l.next.v", "l.next.next.next.v"}, body); valid != (n <= MaxDepth) {
			t.Errorf("%d deep: valid is %v", n, valid)
		}
	}
}
