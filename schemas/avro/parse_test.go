package avro

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// Every fault is typed and says where and what to do.
func TestParseErrors(t *testing.T) {
	cases := []struct{ name, text, at, says string }{
		{"empty", ``, "$", "not JSON"},
		{"trailing", rec("R", "") + "x", "$", "more text"},
		{"primitive top", `"int"`, "$", "not a record"},
		{"union top", `["null","int"]`, "$", "not a record"},
		{"null", `null`, "$", "quotes"},
		{"number", rec("R", fld("a", `7`)), "$.fields[0](a).type", "cannot be 7"},
		{"unknown", rec("R", fld("a", `"strng"`)), "$.fields[0](a).type", "did you mean string"},
		{"no type", `{"name":"R"}`, "$", `no "type"`},
		{"bare record", rec("R", fld("a", `"record"`)), "$.fields[0](a).type", "needs attributes"},
		{"no fields", `{"type":"record","name":"R"}`, "$.fields", "not an array"},
		{"no name", `{"type":"record","fields":[]}`, "$.name", "give it a name"},
		{"bad name", rec("R-1", ""), "$.name", "is not a name"},
		{"bad field name", rec("R", fld("a.b", `"int"`)), "$.fields[0].name", "a.b"},
		{"two fields", rec("R", fld("a", `"int"`)+","+fld("a", `"int"`)), "$.fields[1]", "two fields"},
		{"two names", rec("R", fld("a", rec("R", ""))), "$.fields[0](a).type.name", "defined twice"},
		{"cycle", rec("R", fld("a", rec("S", fld("r", `"R"`)))), "$", "without end"},
		{"nested union", rec("R", fld("a", `["int",["null"]]`)), "$.fields[0](a).type[1]", "within a union"},
		{"union twice", rec("R", fld("a", `["int","int"]`)), "$.fields[0](a).type[1]", "two branches"},
		{"empty union", rec("R", fld("a", `[]`)), "$.fields[0](a).type", "no branches"},
		{"no items", rec("R", fld("a", `{"type":"array"}`)), "$.fields[0](a).type", `no "items"`},
		{"enum", rec("R", fld("a", `{"type":"enum","name":"E","symbols":["A","A"]}`)), "$.fields[0](a).type.symbols[1]", "twice"},
		{"enum default", rec("R", fld("a", `{"type":"enum","name":"E","symbols":["A"],"default":"B"}`)), "$.fields[0](a).type.default", "not one of"},
		{"fixed", rec("R", fld("a", `{"type":"fixed","name":"F","size":-1}`)), "$.fields[0](a).type.size", "-1"},
		{"aliases", `{"type":"record","name":"R","aliases":"X","fields":[]}`, "$.aliases", "not an array"},
		{"huge", strings.Repeat(" ", 10<<20), "$", "bytes"},
		{"deep", rec("R", fld("a", strings.Repeat(`{"type":"array","items":`, 200)+`"int"`+strings.Repeat("}", 200))), "", "deep"},
		{"deeper", strings.Repeat("[", 200_000), "$", "not JSON"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("file.avsc", []byte(c.text))
			var typed *ParseError
			if !errors.As(err, &typed) || !strings.Contains(err.Error(), c.says) || c.at != "" && typed.At != c.at {
				t.Errorf("error is %v, want one at %s with %q", err, c.at, c.says)
			}
		})
	}
}

const tripText = `{"type":"record","name":"Trip","namespace":"x.y","fields":[
 {"name":"id","type":"string"},
 {"name":"fare","type":["null","double"]},
 {"name":"rider","type":["null",{"type":"record","name":"Rider","fields":[
   {"name":"tier","type":{"type":"enum","name":"Tier","symbols":["A"]}},
   {"name":"friend","type":["null","Rider"]},
   {"name":"seen","type":{"type":"long","logicalType":"local-timestamp-millis"}}]}]},
 {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
 {"name":"tags","type":{"type":"map","values":"string"}},
 {"name":"either","type":["int","string"]},
 {"name":"at","type":{"type":"int","logicalType":"time-millis"}},
 {"name":"day","type":{"type":"int","logicalType":"date"}},
 {"name":"wide","type":["int","null","long"]},
 {"name":"num","type":["int","float","double"]},
 {"name":"lines","type":["null",{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"n","type":"int"},{"name":"subs","type":{"type":"array","items":"long"}}]}}]},
 {"name":"flags","type":{"type":"array","items":"boolean"}},
 {"name":"rates","type":{"type":"array","items":"double"}},
 {"name":"span","type":{"type":"fixed","size":12,"name":"Span","logicalType":"duration"}}]}`

func TestLookup(t *testing.T) {
	s := mustParse(t, tripText)
	if got := s.FullName(); got != "x.y.Trip" {
		t.Errorf("FullName is %s", got)
	}
	if got, want := strings.Join(s.Paths(), " "), "id fare rider.tier rider.seen price at day wide num"; got != want {
		t.Errorf("Paths are %s, want %s", got, want)
	}
	for path, want := range map[string]FieldType{
		"id":                {Kind: schemas.String, Avro: "string"},
		"fare":              {Kind: schemas.Double, Nullable: true, Avro: "double"},
		"rider.tier":        {Kind: schemas.String, Nullable: true, Avro: "enum"},
		"rider.seen":        {Kind: schemas.Timestamp, Nullable: true, Avro: "long", Logical: "local-timestamp-millis", Local: true},
		"rider.friend.tier": {Kind: schemas.String, Nullable: true, Avro: "enum"},
		"at":                {Kind: schemas.Int, Avro: "int", Logical: "time-millis", Unit: "ms"},
		"day":               {Kind: schemas.Timestamp, Avro: "int", Logical: "date"},
		"price":             {Kind: schemas.Bytes, Avro: "bytes", Logical: "decimal", Decimal: true, Scale: 2},
		"wide":              {Kind: schemas.Int, Nullable: true, Avro: "long"},
		"num":               {Kind: schemas.Double, Avro: "double"},
		`tags["k"]`:         {Kind: schemas.String, Nullable: true, Avro: "string"},
		`"k" in tags`:       {Kind: schemas.Bool, Avro: "boolean"},
		"size(tags)":        {Kind: schemas.Int, Avro: "long"},
		"lines[0].n":        {Kind: schemas.Int, Nullable: true, Avro: "int"},
		"lines[9].subs[1]":  {Kind: schemas.Int, Nullable: true, Avro: "long"},
		"size(lines)":       {Kind: schemas.Int, Nullable: true, Avro: "long"},
		"1 in rates":        {Kind: schemas.Bool, Avro: "boolean"},
		"present(rider)":    {Kind: schemas.Bool, Nullable: true, Avro: "boolean"},
		"present(either)":   {Kind: schemas.Bool, Nullable: true, Avro: "boolean"},
	} {
		if got, err := s.Lookup(path); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", path, got, err, want)
		}
	}
	for path, says := range map[string]string{
		"fair": "did you mean `fare`", "tier": "did you mean `rider.tier`", "rider": "name one of its fields",
		"rider.teir": "did you mean `rider.tier`", "tags": "it is map of string; use a value (`tags[\"key\"]`), `size(tags)` or `\"key\" in tags`", "either": "it is union [int, string], whose values no one type holds exactly",
		"price.x": "no fields within", "size(id)": "takes an array or a map", "tags[0]": "a key in quotes", "tags[x]": "must be an index", "id[0]": "only arrays and maps",
		"tags.k": "write `tags[\"k\"]`", "1 in tags": "keys are texts", `"x" in id`: "an array or a map", "present(nope)": "no such field", "tags[\"k\"]x": "cannot follow", "either.x": "where it has one type",
		"lines.n": "as in `lines[0].n`", "lines[-1].n": "must be an index", "lines[01].n": "must be an index", `"x" in lines`: "scalars only", "1 in day": "an array or a map", "span": "duration",
		`"a" in flags`: "kind bool, the constant is of kind string", "9007199254740993 in rates": "no double",
		"id.x": "no fields within", "": "no such field", "rider.": "no field", ".": "no such field", "fare..x": "no fields within",
	} {
		_, err := s.Lookup(path)
		var typed *PathError
		if !errors.As(err, &typed) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error is %v, want one with %q", path, err, says)
		}
	}
}

// S3: a small schema that spells out 10¹⁸ paths is read in no time.
func TestManyPaths(t *testing.T) {
	var fields []string
	for i := range 18 {
		inner := `"int"`
		if i > 0 {
			inner = fmt.Sprintf(`"N%d"`, i-1)
		}
		var kids []string
		for j := range 10 {
			kids = append(kids, fld(fmt.Sprintf("k%d", j), inner))
		}
		fields = append(fields, fld(fmt.Sprintf("f%d", i), `["null",`+rec(fmt.Sprintf("N%d", i), strings.Join(kids, ","))+`]`))
	}
	s := mustParse(t, rec("R", strings.Join(fields, ",")))
	if n := len(s.Paths()); n != maxPaths {
		t.Errorf("%d paths", n)
	}
	mustCompile(t, s, s, "f17.k0.k1.k2.k3.k4.k5.k6.k7.k8.k9.k0.k1.k2.k3.k4.k5.k6.k7")
}

// S1: the types of a schema may come from several texts.
func TestTypes(t *testing.T) {
	var types Types
	if err := types.Add("rider", []byte(rec("x.Rider", fld("tier", `"int"`)))); err != nil {
		t.Fatal(err)
	}
	s, err := types.Parse("trip", []byte(`{"type":"record","name":"Trip","namespace":"x","fields":[`+fld("rider", `"Rider"`)+`]}`))
	if err != nil || !slices.Equal(s.Paths(), []string{"rider.tier"}) {
		t.Fatalf("%v, %v", s, err)
	}
	if err := types.Add("again", []byte(rec("x.Rider", ""))); err == nil {
		t.Error("a second x.Rider was accepted")
	}
}

func TestFrame(t *testing.T) {
	id, body, err := Frame([]byte("\x00\x00\x00\x01\x02xyz"))
	if id != 258 || string(body) != "xyz" || err != nil {
		t.Errorf("Frame gives %d %q %v", id, body, err)
	}
	for _, b := range []string{"", "\x00\x00\x00\x01", "\x01\x00\x00\x00\x01", "{\"a\":1}", "\x00\xff\x00\x00\x00"} {
		var typed *FrameError
		if _, _, err := Frame([]byte(b)); !errors.As(err, &typed) {
			t.Errorf("%q: error is %v", b, err)
		}
	}
}
