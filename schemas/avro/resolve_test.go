package avro

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// rec wraps fields into a record schema.
func rec(name, fields string) string {
	return `{"type":"record","name":"` + name + `","fields":[` + fields + `]}`
}

func fld(name, typ string) string { return `{"name":"` + name + `","type":` + typ + `}` }

var (
	null = schemas.Value{}
	i    = schemas.IntValue
	f    = schemas.DoubleValue
	s    = schemas.StringValue
	ts   = schemas.TimestampValue
)

// Bodies are written by hand: zig-zag varints (2 = 1, 3 = −2), a string's
// length (8 = 4 bytes), doubles little-endian.
var resolutions = []struct {
	name           string
	writer, reader string // fields of record R
	body           string
	paths          string
	want           []schemas.Value
	fails          string // part of the DecodeError
}{
	{name: "int to long", writer: fld("a", `"int"`), reader: fld("a", `"long"`), body: "\x03", paths: "a", want: []schemas.Value{i(-2)}},
	{name: "int to float rounds to 32 bits", writer: fld("a", `"int"`), reader: fld("a", `"float"`),
		body: "\x82\x80\x80\x10", paths: "a", want: []schemas.Value{f(16777216)}}, // 2²⁴+1
	{name: "int to double", writer: fld("a", `"int"`), reader: fld("a", `"double"`), body: "\x82\x80\x80\x10", paths: "a", want: []schemas.Value{f(16777217)}},
	{name: "long to double as Go converts", writer: fld("a", `"long"`), reader: fld("a", `"double"`),
		body: "\x82\x80\x80\x80\x80\x80\x80\x20", paths: "a", want: []schemas.Value{f(9007199254740992)}}, // 2⁵³+1
	{name: "long to float", writer: fld("a", `"long"`), reader: fld("a", `"float"`), body: "\x82\x80\x80\x10", paths: "a", want: []schemas.Value{f(16777216)}},
	{name: "float to double", writer: fld("a", `"float"`), reader: fld("a", `"double"`), body: "\x00\x00\x80\x3f", paths: "a", want: []schemas.Value{f(1)}},
	{name: "-0 becomes +0 (V2)", writer: fld("a", `"double"`), reader: fld("a", `"double"`), body: "\x00\x00\x00\x00\x00\x00\x00\x80", paths: "a", want: []schemas.Value{f(0)}},
	{name: "infinity passes", writer: fld("a", `"double"`), reader: fld("a", `"double"`), body: "\x00\x00\x00\x00\x00\x00\xf0\x7f", paths: "a", want: []schemas.Value{f(math.Inf(1))}},
	{name: "string to bytes", writer: fld("a", `"string"`), reader: fld("a", `"bytes"`), body: "\x04hi", paths: "a", want: []schemas.Value{schemas.BytesValue("hi")}},
	{name: "bytes to string", writer: fld("a", `"bytes"`), reader: fld("a", `"string"`), body: "\x04hi", paths: "a", want: []schemas.Value{s("hi")}},
	{name: "bytes to string, not UTF-8", writer: fld("a", `"bytes"`), reader: fld("a", `"string"`), body: "\x02\xff", paths: "a", fails: "UTF-8"},
	{name: "reordered, some skipped", writer: fld("a", `"int"`) + "," + fld("x", `"string"`) + "," + fld("b", `"boolean"`),
		reader: fld("b", `"boolean"`) + "," + fld("a", `"int"`), body: "\x02\x04hi\x01", paths: "b a b", want: []schemas.Value{schemas.BoolValue(true), i(1), schemas.BoolValue(true)}},
	{name: "field alias", writer: fld("old", `"int"`), reader: `{"name":"a","type":"int","aliases":["older","old"]}`, body: "\x02", paths: "a", want: []schemas.Value{i(1)}},
	{name: "the name goes before an alias", writer: fld("old", `"int"`) + "," + fld("a", `"int"`),
		reader: `{"name":"a","type":"int","aliases":["old"]}`, body: "\x02\x04", paths: "a", want: []schemas.Value{i(2)}},
	{name: "writer's value into reader's union", writer: fld("a", `"int"`), reader: fld("a", `["null","long"]`), body: "\x02", paths: "a", want: []schemas.Value{i(1)}},
	{name: "null into reader's union", writer: fld("a", `"null"`), reader: fld("a", `["null","long"]`), body: "", paths: "a", want: []schemas.Value{null}},
	{name: "union in another order", writer: fld("a", `["int","null"]`), reader: fld("a", `["null","long"]`), body: "\x00\x02", paths: "a", want: []schemas.Value{i(1)}},
	{name: "union's null", writer: fld("a", `["int","null"]`), reader: fld("a", `["null","long"]`), body: "\x02", paths: "a", want: []schemas.Value{null}},
	{name: "union read as its type", writer: fld("a", `["null","int"]`), reader: fld("a", `"double"`), body: "\x02\x02", paths: "a", want: []schemas.Value{f(1)}},
	{name: "union read as its type, null", writer: fld("a", `["null","int"]`), reader: fld("a", `"double"`), body: "\x00", paths: "a", fails: "union branch"},
	{name: "branches promote each in its way", writer: fld("a", `["null","int","float","string"]`), reader: fld("a", `["null","double"]`), body: "\x04\x00\x00\x80\x3f", paths: "a", want: []schemas.Value{f(1)}},
	{name: "branch that does not fit", writer: fld("a", `["null","int","float","string"]`), reader: fld("a", `["null","double"]`), body: "\x06\x02x", paths: "a", fails: "union branch"},
	{name: "union index beyond", writer: fld("a", `["null","int"]`), reader: fld("a", `["null","int"]`), body: "\x04\x02", paths: "a", fails: "union index"},
	{name: "enum symbols by name", writer: fld("a", `{"type":"enum","name":"E","symbols":["X","Y","Z"]}`),
		reader: fld("a", `{"type":"enum","name":"E","symbols":["Z","Y"]}`), body: "\x04", paths: "a", want: []schemas.Value{s("Z")}},
	{name: "enum default", writer: fld("a", `{"type":"enum","name":"E","symbols":["X","Y"]}`),
		reader: fld("a", `{"type":"enum","name":"E","symbols":["Y","Q"],"default":"Q"}`), body: "\x00", paths: "a", want: []schemas.Value{s("Q")}},
	{name: "enum symbol unknown", writer: fld("a", `{"type":"enum","name":"E","symbols":["X","Y"]}`),
		reader: fld("a", `{"type":"enum","name":"E","symbols":["Y"]}`), body: "\x00", paths: "a", fails: "symbol"},
	{name: "enum alias with namespace", writer: fld("a", `{"type":"enum","name":"n.Old","symbols":["X"]}`),
		reader: fld("a", `{"type":"enum","name":"m.New","aliases":["n.Old"],"symbols":["X"]}`), body: "\x00", paths: "a", want: []schemas.Value{s("X")}},
	{name: "record in another namespace", writer: fld("a", rec("n.In", fld("v", `"int"`))), reader: fld("a", rec("m.In", fld("v", `"long"`))), body: "\x02", paths: "a.v", want: []schemas.Value{i(1)}},
	{name: "nullable record", writer: fld("a", `["null",`+rec("In", fld("u", `"string"`)+","+fld("v", `"int"`))+`]`),
		reader: fld("a", `["null",`+rec("In", fld("v", `"long"`))+`]`), body: "\x02\x02x\x06", paths: "a.v", want: []schemas.Value{i(3)}},
	{name: "nullable record, null", writer: fld("a", `["null",`+rec("In", fld("v", `"int"`))+`]`),
		reader: fld("a", `["null",`+rec("In", fld("v", `"long"`))+`]`), body: "\x00", paths: "a.v", want: []schemas.Value{null}},
	{name: "millis", writer: fld("a", `{"type":"long","logicalType":"timestamp-millis"}`), reader: fld("a", `{"type":"long","logicalType":"timestamp-millis"}`), body: "\x03", paths: "a", want: []schemas.Value{ts(-2000)}},
	{name: "millis beyond µs", writer: fld("a", `{"type":"long","logicalType":"timestamp-millis"}`), reader: fld("a", `{"type":"long","logicalType":"timestamp-millis"}`),
		body: "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", paths: "a", fails: "microseconds"},
	{name: "millis beyond µs, not projected (A1)", writer: fld("a", `{"type":"long","logicalType":"timestamp-millis"}`), reader: fld("a", `"int"`),
		body: "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", paths: "", fails: "microseconds"},
	{name: "nanos round down", writer: fld("a", `{"type":"long","logicalType":"timestamp-nanos"}`), reader: fld("a", `{"type":"long","logicalType":"timestamp-nanos"}`), body: "\x01", paths: "a", want: []schemas.Value{ts(-1)}},
	{name: "date", writer: fld("a", `{"type":"int","logicalType":"date"}`), reader: fld("a", `["null",{"type":"int","logicalType":"date"}]`), body: "\x02", paths: "a", want: []schemas.Value{ts(schemas.Day)}},
	{name: "date beyond µs", writer: fld("a", `{"type":"int","logicalType":"date"}`), reader: fld("a", `"int"`), body: "\xfe\xff\xff\xff\x0f", paths: "", fails: "microseconds"},
	{name: "local timestamp", writer: fld("a", `{"type":"long","logicalType":"local-timestamp-millis"}`), reader: fld("a", `{"type":"long","logicalType":"local-timestamp-millis"}`), body: "\x02", paths: "a", want: []schemas.Value{ts(1000)}},
	{name: "time of day keeps its unit", writer: fld("a", `{"type":"int","logicalType":"time-millis"}`), reader: fld("a", `{"type":"int","logicalType":"time-millis"}`), body: "\x02", paths: "a", want: []schemas.Value{i(1)}},
	{name: "fixed", writer: fld("a", `{"type":"fixed","name":"F","size":2}`), reader: fld("a", `{"type":"fixed","name":"F","size":2}`), body: "ab", paths: "a", want: []schemas.Value{schemas.BytesValue("ab")}},
	{name: "decimal is walked", writer: fld("d", `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`) + "," + fld("a", `"int"`), reader: fld("a", `"int"`), body: "\x02\x01\x02", paths: "a", want: []schemas.Value{i(1)}},
	{name: "what nobody asks for need not resolve (S2)", writer: fld("a", `"int"`) + "," + fld("b", `"string"`), reader: fld("a", `"int"`) + "," + fld("b", `"int"`), body: "\x02\x02x", paths: "a", want: []schemas.Value{i(1)}},
	{name: "negative block", writer: fld("l", `{"type":"array","items":"int"}`) + "," + fld("a", `"int"`), reader: fld("a", `"int"`), body: "\x03\x04\x02\x04\x00\x02", paths: "a", want: []schemas.Value{i(1)}},
	{name: "block of another size", writer: fld("l", `{"type":"array","items":"int"}`), reader: fld("a", `"int"`), body: "\x03\x06\x02\x04\x00", paths: "", fails: "block"},
	{name: "more items than bytes", writer: fld("l", `{"type":"array","items":"int"}`), reader: fld("a", `"int"`), body: "\xfe\xff\xff\xff\x0f\x00", paths: "", fails: "more items"},
	{name: "least count", writer: fld("l", `{"type":"map","values":"int"}`), reader: fld("a", `"int"`), body: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", paths: "", fails: "more items"},
	{name: "nulls", writer: fld("l", `{"type":"array","items":"null"}`), reader: fld("a", `"int"`), body: "\x80\x08\x00", paths: "", want: []schemas.Value{}},
	{name: "too many nulls", writer: fld("l", `{"type":"array","items":"null"}`), reader: fld("a", `"int"`), body: "\xfe\xff\xff\xff\x0f\x00", paths: "", fails: "more items"},
	{name: "map key not UTF-8", writer: fld("l", `{"type":"map","values":"int"}`), reader: fld("a", `"int"`), body: "\x02\x02\xff\x02\x00", paths: "", fails: "UTF-8"},
	{name: "string not UTF-8, not projected", writer: fld("l", `"string"`), reader: fld("a", `"int"`), body: "\x02\xff", paths: "", fails: "UTF-8"},
	{name: "boolean 2", writer: fld("a", `"boolean"`), reader: fld("a", `"boolean"`), body: "\x02", paths: "a", fails: "boolean"},
	{name: "int of 33 bits", writer: fld("a", `"int"`), reader: fld("a", `"int"`), body: "\x80\x80\x80\x80\x20", paths: "a", fails: "32 bits"},
	{name: "varint of 65 bits", writer: fld("a", `"long"`), reader: fld("a", `"long"`), body: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", paths: "a", fails: "64 bits"},
	{name: "varint of 11 bytes", writer: fld("a", `"long"`), reader: fld("a", `"long"`), body: "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", paths: "a", fails: "64 bits"},
	{name: "least long", writer: fld("a", `"long"`), reader: fld("a", `"long"`), body: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", paths: "a", want: []schemas.Value{i(math.MinInt64)}},
	{name: "negative length", writer: fld("a", `"string"`), reader: fld("a", `"string"`), body: "\x01", paths: "a", fails: "length"},
	{name: "enum beyond", writer: fld("a", `{"type":"enum","name":"E","symbols":["X"]}`), reader: fld("b", `"int"`), body: "\x02", paths: "", fails: "enum index"},
	{name: "recursive list", writer: fld("l", `["null",`+rec("L", fld("v", `"int"`)+","+fld("next", `["null","L"]`))+`]`) + "," + fld("a", `"int"`), reader: fld("a", `"int"`),
		body: strings.Repeat("\x02\x02", 64) + "\x00\x02", paths: "a", want: []schemas.Value{i(1)}},
	{name: "recursion beyond the limit", writer: fld("l", `["null",`+rec("L", fld("v", `"int"`)+","+fld("next", `["null","L"]`))+`]`) + "," + fld("a", `"int"`), reader: fld("a", `"int"`),
		body: strings.Repeat("\x02\x02", 65) + "\x00\x02", paths: "a", fails: "64 deep"},
	{name: "fixed bytes before a branch stay apart", writer: fld("d", `"double"`) + "," + fld("u", `["null","double"]`) + "," + fld("e", `"double"`) + "," + fld("a", `"int"`), reader: fld("a", `"int"`),
		body: strings.Repeat("\x00", 8) + "\x00" + strings.Repeat("\x00", 8) + "\x02", paths: "a", want: []schemas.Value{i(1)}},
}

// S2, S3: what resolves by itself, and what each body reads as.
func TestResolution(t *testing.T) {
	for _, c := range resolutions {
		t.Run(c.name, func(t *testing.T) {
			w, r := mustParse(t, rec("R", c.writer)), mustParse(t, rec("R", c.reader))
			d := mustCompile(t, w, r, strings.Fields(c.paths)...)
			dst := make([]schemas.Value, len(strings.Fields(c.paths)))
			err := d.Decode(dst, []byte(c.body))
			var typed *DecodeError
			switch {
			case c.fails != "" && (!errors.As(err, &typed) || !strings.Contains(err.Error(), c.fails)):
				t.Fatalf("error is %v, want one with %q", err, c.fails)
			case c.fails == "" && err != nil:
				t.Fatal(err)
			case c.fails == "" && fmt.Sprint(dst) != fmt.Sprint(c.want):
				t.Fatalf("read %v, want %v", dst, c.want)
			}
			for j := range c.want {
				if !dst[j].Equal(c.want[j]) {
					t.Errorf("%v %v, want %v %v", dst[j].Kind(), dst[j], c.want[j].Kind(), c.want[j])
				}
			}
		})
	}
}

// S2: what stops, with a hint.
func TestResolutionRefusals(t *testing.T) {
	millis, micros := `{"type":"long","logicalType":"timestamp-millis"}`, `{"type":"long","logicalType":"timestamp-micros"}`
	cases := []struct{ name, writer, reader, paths, says string }{
		{"missing, no default", fld("fare_amount", `"double"`), fld("fare", `"double"`), "fare", "`migrate` rule"},
		{"missing, default not named", fld("b", `"int"`), `{"name":"a","type":"int","default":7}`, "a", "`accept_defaults`"},
		{"millis as micros", fld("a", millis), fld("a", micros), "a", "logical type differs"},
		{"none as micros", fld("a", `"long"`), fld("a", micros), "a", "logical type differs"},
		{"micros as none", fld("a", micros), fld("a", `"long"`), "a", "logical type differs"},
		{"micros as double", fld("a", micros), fld("a", `"double"`), "a", "logical type differs"},
		{"time-millis promoted", fld("a", `{"type":"int","logicalType":"time-millis"}`), fld("a", `{"type":"long","logicalType":"time-micros"}`), "a", "migrate"},
		{"within unions", fld("a", `["null",`+millis+`]`), fld("a", `["null",`+micros+`]`), "a", "logical type differs"},
		{"unknown logical type", fld("a", `{"type":"long","logicalType":"cents"}`), fld("a", `"long"`), "a", "logical type differs"},
		{"demotion", fld("a", `"long"`), fld("a", `"int"`), "a", "does not promote"},
		{"string to int", fld("a", `"string"`), fld("a", `"int"`), "a", "does not promote"},
		{"enum to string", fld("a", `{"type":"enum","name":"E","symbols":["X"]}`), fld("a", `"string"`), "a", "does not promote"},
		{"no branch fits", fld("a", `["null","string"]`), fld("a", `["null","int"]`), "a", "does not promote"},
		{"null to value", fld("a", `"null"`), fld("a", `"int"`), "a", "always null"},
		{"fixed size", fld("a", `{"type":"fixed","name":"F","size":2}`), fld("a", `{"type":"fixed","name":"F","size":3}`), "a", "2 bytes"},
		{"record name", fld("a", rec("X", fld("v", `"int"`))), fld("a", rec("Y", fld("v", `"int"`))), "a.v", "aliases"},
		{"no such path", fld("a", `"int"`), fld("a", `"int"`), "b", "no such field"},
		{"two readers of one field", fld("old", `"int"`), `{"name":"a","type":"int","aliases":["old"]},{"name":"b","type":"int","aliases":["old"]}`, "a b", "both"},
		{"nested missing", fld("a", rec("X", fld("u", `"int"`))), fld("a", rec("X", fld("v", `"int"`))), "a.v", "`a.v`"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, r := mustParse(t, rec("R", c.writer)), mustParse(t, rec("R", c.reader))
			_, err := Compile(w, r, strings.Fields(c.paths), Options{})
			var typed *ResolutionError
			if !errors.As(err, &typed) || len(typed.Mismatches) != 1 || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want one with %q", err, c.says)
			}
		})
	}
}

// S2: every mismatch is listed at once.
func TestResolutionListsAll(t *testing.T) {
	w := mustParse(t, rec("R", fld("a", `"string"`)+","+fld("b", `"long"`)))
	r := mustParse(t, rec("R", fld("a", `"int"`)+","+fld("b", `{"type":"long","logicalType":"timestamp-millis"}`)+","+fld("c", `"int"`)))
	_, err := Compile(w, r, []string{"a", "b", "c", "nope"}, Options{})
	var typed *ResolutionError
	if !errors.As(err, &typed) || len(typed.Mismatches) != 4 {
		t.Fatalf("error is %v, want 4 mismatches", err)
	}
	if _, err := Compile(w, mustParse(t, rec("Other", fld("a", `"string"`))), []string{"a"}, Options{}); err == nil || !strings.Contains(err.Error(), `"aliases": ["R"]`) {
		t.Errorf("error is %v, want the alias to add", err)
	}
	aliased := mustParse(t, `{"type":"record","name":"Other","aliases":["R"],"fields":[`+fld("a", `"string"`)+`]}`)
	mustCompile(t, w, aliased, "a")
}

// S2: a default counts only where the definition names it, a supplied path needs nothing.
func TestDefaultsAndSupplied(t *testing.T) {
	w := mustParse(t, rec("R", fld("x", `"int"`)+","+fld("in", `["null",`+rec("In", fld("u", `"int"`))+`]`)))
	r := mustParse(t, rec("R", `{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"},"default":7},
		{"name":"s","type":["null","string"],"default":null},{"name":"y","type":"bytes","default":"\u00ff"},
		{"name":"o","type":`+rec("O", fld("d", `"double"`)+`,{"name":"e","type":"int","default":5}`)+`,"default":{"d":1.5}},
		{"name":"in","type":["null",`+rec("In", `{"name":"v","type":"int","default":3}`)+`]},{"name":"x","type":"int"}`))
	paths := []string{"a", "s", "y", "o.d", "o.e", "in.v", "x"}
	d, err := Compile(w, r, paths, Options{
		Supplied:      map[string]bool{"x": true},
		AcceptDefault: map[string]bool{"a": true, "s": true, "y": true, "o": true, "in.v": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]schemas.Value, len(paths))
	for body, want := range map[string][]schemas.Value{
		"\x02\x02\x02": {ts(7000), null, schemas.BytesValue("\xff"), f(1.5), i(5), i(3), null},
		"\x02\x00":     {ts(7000), null, schemas.BytesValue("\xff"), f(1.5), i(5), null, null}, // no record, no default within
	} {
		if err := d.Decode(dst, []byte(body)); err != nil {
			t.Fatal(err)
		}
		for j := range want {
			if !dst[j].Equal(want[j]) {
				t.Errorf("body %q, %s: %v, want %v", body, paths[j], dst[j], want[j])
			}
		}
	}
	// Naming the record accepts the record's default, not that of a field within.
	if _, err := Compile(w, r, []string{"in.v"}, Options{AcceptDefault: map[string]bool{"in": true}}); err == nil {
		t.Error("`in` accepted the default of `in.v`")
	}
	bad := mustParse(t, rec("R", `{"name":"n","type":"int","default":"seven"}`))
	if _, err := Compile(w, bad, []string{"n"}, Options{AcceptDefault: map[string]bool{"n": true}}); err == nil || !strings.Contains(err.Error(), "default seven") {
		t.Errorf("error is %v, want the bad default", err)
	}
}
