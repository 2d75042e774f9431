package avro

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/tallystick/tallystick/schemas"
)

func array(items string) string  { return `{"type":"array","items":` + items + `}` }
func mapOf(values string) string { return `{"type":"map","values":` + values + `}` }

var (
	yes      = schemas.BoolValue(true)
	no       = schemas.BoolValue(false)
	millis   = `{"type":"long","logicalType":"timestamp-millis"}`
	micros   = `{"type":"long","logicalType":"timestamp-micros"}`
	optional = func(typ string) string { return `["null",` + typ + `]` }
)

func decimal(precision, scale int) string {
	return fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":%d,"scale":%d}`, precision, scale)
}

// S2, S3: nested types resolve as flat ones do. Bodies as in resolutions.
func TestNestedResolution(t *testing.T) {
	list := array(`"int"`)
	for _, c := range []struct {
		name, writer, reader, body, paths string
		want                              []schemas.Value
		fails                             string
	}{
		{name: "aliases at every level", writer: fld("old", array(rec("Line", fld("q", rec("Qty", fld("no", `"int"`)))))),
			reader: `{"name":"lines","aliases":["old"],"type":` + array(`{"type":"record","name":"Item","aliases":["Line"],"fields":[{"name":"qty","aliases":["q"],"type":{"type":"record","name":"Q","aliases":["Qty"],"fields":[{"name":"n","aliases":["no"],"type":"long"}]}}]}`) + `}`,
			body:   "\x04\x02\x04\x00", paths: "lines[1].qty.n lines[2].qty.n size(lines)", want: []schemas.Value{i(2), null, i(2)}},
		{name: "enum default in a map", writer: fld("m", mapOf(`{"type":"enum","name":"E","symbols":["X","NEW"]}`)),
			reader: fld("m", mapOf(`{"type":"enum","name":"E","symbols":["X","OTHER"],"default":"OTHER"}`)),
			body:   "\x04\x02a\x02\x02b\x00\x00", paths: `m["a"] m["b"] m["c"]`, want: []schemas.Value{s("OTHER"), s("X"), null}},
		{name: "an unread item may hold any symbol", writer: fld("m", array(`{"type":"enum","name":"E","symbols":["X","NEW"]}`)),
			reader: fld("m", array(`{"type":"enum","name":"E","symbols":["X"]}`)), body: "\x04\x00\x02\x00", paths: "m[0]", want: []schemas.Value{s("X")}},
		{name: "a read one may not", writer: fld("m", array(`{"type":"enum","name":"E","symbols":["X","NEW"]}`)),
			reader: fld("m", array(`{"type":"enum","name":"E","symbols":["X"]}`)), body: "\x04\x00\x02\x00", paths: "m[1]", fails: "symbol"},
		{name: "promotion within unions within arrays", writer: fld("a", array(`["int","null"]`)), reader: fld("a", array(`["null","double"]`)),
			body: "\x06\x00\x02\x02\x00\x06\x00", paths: "a[0] a[1] a[2] 3.0*in*a 2.0*in*a", want: []schemas.Value{f(1), null, f(3), yes, no}},
		{name: "a union of ints as int", writer: fld("a", `["int","null","long"]`), reader: fld("a", `["int","null","long"]`), body: "\x04\x03", paths: "a present(a)", want: []schemas.Value{i(-2), yes}},
		{name: "one type into a union of several", writer: fld("a", `"int"`), reader: fld("a", `["null","float","double"]`), body: "\x82\x80\x80\x10", paths: "a", want: []schemas.Value{f(16777217)}},
		{name: "an int of int or double", writer: fld("a", `["double","int"]`), reader: fld("a", `["int","double"]`), body: "\x02\x82\x80\x80\x10", paths: "a", want: []schemas.Value{f(16777217)}},
		{name: "text or enum", writer: fld("a", `["string",{"type":"enum","name":"E","symbols":["X","Y"]}]`), reader: fld("a", `["string",{"type":"enum","name":"E","symbols":["X","Y"]}]`),
			body: "\x02\x02", paths: "a", want: []schemas.Value{s("Y")}},
		{name: "the same type before one that it is promoted to", writer: fld("a", "["+millis+`,"int"]`), reader: fld("a", "["+millis+`,"int"]`), body: "\x02\x02", paths: "present(a)", want: []schemas.Value{yes}},
		{name: "never anything but null", writer: fld("a", `"null"`) + "," + fld("b", `["null"]`), reader: fld("a", `"null"`) + "," + fld("b", `["null"]`), body: "\x00", paths: "present(a) present(b)", want: []schemas.Value{null, null}},
		{name: "a branch of several that nobody reads", writer: fld("a", `["null","int","string",`+rec("X", fld("v", `"int"`))+`]`) + "," + fld("b", `"int"`), reader: fld("b", `"int"`),
			body: "\x06\x02\x04", paths: "b", want: []schemas.Value{i(2)}},
		{name: "null along the way", writer: fld("a", optional(rec("X", fld("b", optional(rec("Y", fld("c", optional(array(`"string"`))))))))), reader: fld("a", optional(rec("X", fld("b", optional(rec("Y", fld("c", optional(array(`"string"`))))))))),
			body: "\x02\x00", paths: `a.b.c[0] size(a.b.c) "x"*in*a.b.c present(a) present(a.b) present(a.b.c)`, want: []schemas.Value{null, null, null, yes, null, null}},
		{name: "an item null", writer: fld("a", array(optional(`"boolean"`))), reader: fld("a", array(optional(`"boolean"`))), body: "\x04\x00\x00\x00", paths: "false*in*a true*in*a a[1] present(a[1])", want: []schemas.Value{no, no, null, null}},
		{name: "blocks with their size", writer: fld("a", list), reader: fld("a", list), body: "\x03\x04\x02\x04\x01\x02\x06\x00", paths: "a[0] a[1] a[2] size(a) 3*in*a", want: []schemas.Value{i(1), i(2), i(3), i(3), yes}},
		{name: "a block's size is wrong", writer: fld("a", list), reader: fld("a", list), body: "\x03\x02\x02\x04\x00", paths: "a[0]", fails: "block"},
		{name: "more items than bytes", writer: fld("a", list), reader: fld("a", list), body: "\x80\x80\x80\x80\x10\x00", paths: "a[0] size(a)", fails: "more items"},
		{name: "the least count", writer: fld("a", list), reader: fld("a", list), body: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", paths: "size(a)", fails: "more items"},
		{name: "items without bytes", writer: fld("a", array(rec("E", ""))), reader: fld("a", array(rec("E", ""))), body: "\x80\x80\x01\x04\x00", paths: "size(a) present(a[8193]) present(a[8194])", want: []schemas.Value{i(8194), yes, null}},
		{name: "too many items without bytes", writer: fld("a", array(`"null"`)), reader: fld("a", array(`"null"`)), body: "\x80\x80\x80\x80\x10\x00", paths: "size(a)", fails: "more items"},
		{name: "a key twice: the last counts", writer: fld("m", mapOf(rec("V", fld("x", optional(`"int"`))+","+fld("y", array(`"int"`))))), reader: fld("m", mapOf(rec("V", fld("x", optional(`"int"`))+","+fld("y", array(`"int"`))))),
			body: "\x04\x02k\x02\x02\x02\x08\x00\x02k\x00\x00\x00", paths: `m["k"].x m["k"].y[0] size(m["k"].y) present(m["k"].x) "k"*in*m size(m)`, want: []schemas.Value{null, null, i(0), null, yes, i(2)}},
		{name: "a key that is not UTF-8", writer: fld("m", mapOf(`"int"`)), reader: fld("m", mapOf(`"int"`)), body: "\x02\x02\xff\x02\x00", paths: `m["k"]`, fails: "UTF-8"},
		{name: "decimals of more digits", writer: fld("d", decimal(9, 2)), reader: fld("d", optional(decimal(18, 2))), body: "\x04\x01\x00", paths: "d", want: []schemas.Value{schemas.BytesValue("\x01\x00")}},
		{name: "instants in arrays", writer: fld("a", array(millis)), reader: fld("a", array(optional(millis))), body: "\x02\x0e\x00", paths: "a[0] timestamp(7000)*in*a", want: []schemas.Value{ts(7000), yes}},
		{name: "of what is only counted the items may differ", writer: fld("a", array(millis)), reader: fld("a", array(micros)), body: "\x02\x0e\x00", paths: "size(a) present(a)", want: []schemas.Value{i(1), yes}},
		{name: "recursion by path", writer: fld("l", optional(rec("L", fld("v", `"int"`)+","+fld("next", `["null","L"]`)))), reader: fld("l", optional(rec("L", fld("v", `"int"`)+","+fld("next", `["null","L"]`)))),
			body: "\x02\x02\x02\x04\x00", paths: "l.v l.next.v l.next.next.v present(l.next) present(l.next.next)", want: []schemas.Value{i(1), i(2), null, yes, null}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, r := mustParse(t, rec("R", c.writer)), mustParse(t, rec("R", c.reader))
			paths := strings.Fields(c.paths)
			for i := range paths {
				paths[i] = strings.ReplaceAll(paths[i], "*", " ")
			}
			d, dst := mustCompile(t, w, r, paths...), make([]schemas.Value, len(paths))
			err := d.Decode(dst, []byte(c.body))
			var typed *DecodeError
			if c.fails != "" && (!errors.As(err, &typed) || !strings.Contains(err.Error(), c.fails)) || c.fails == "" && err != nil {
				t.Fatalf("error is %v, want %q", err, c.fails)
			}
			for j := range c.want {
				if !dst[j].Equal(c.want[j]) {
					t.Errorf("%s is %v %v, want %v %v", paths[j], dst[j].Kind(), dst[j], c.want[j].Kind(), c.want[j])
				}
			}
		})
	}
}

// S2: a change of unit, of logical type or of type stops, however deep it is.
func TestNestedRefusals(t *testing.T) {
	for _, change := range []struct{ writer, reader, says string }{
		{millis, micros, "logical type differs"},
		{`"long"`, micros, "logical type differs"},
		{`{"type":"int","logicalType":"time-millis"}`, `"int"`, "logical type differs"},
		{`{"type":"long","logicalType":"timestamp-nanos"}`, micros, "logical type differs"},
		{decimal(9, 2), decimal(9, 3), "logical type differs"},
		{decimal(9, 2), decimal(8, 2), "logical type differs"},
		{decimal(9, 2), `"bytes"`, "logical type differs"},
		{millis, `["null","int","long"]`, "logical type differs"},
		{`"string"`, `"int"`, "does not promote"},
		{`{"type":"string","logicalType":"uuid"}`, `"string"`, "logical type differs"},
	} {
		for _, place := range []struct{ typ, path string }{
			{"%s", "a"}, {rec("X", fld("v", "%s")), "a.v"}, {optional(rec("X", fld("v", optional("%s")))), "a.v"},
			{array("%s"), "a[0]"}, {array(optional("%s")), "a[3]"}, {mapOf("%s"), `a["k"]`},
			{optional(mapOf(array(rec("X", fld("v", "%s"))))), `a["k"][2].v`},
		} {
			if strings.Contains(change.reader, "[") && strings.Contains(place.typ, `["null",%s]`) {
				continue // no union within a union
			}
			typ := func(inner string) *Schema {
				return mustParse(t, rec("R", fld("a", strings.Replace(place.typ, "%s", inner, 1))))
			}
			_, err := Compile(typ(change.writer), typ(change.reader), []string{place.path}, Options{})
			var typed *ResolutionError
			if !errors.As(err, &typed) || len(typed.Mismatches) != 1 || typed.Mismatches[0].Path != place.path || !strings.Contains(err.Error(), change.says) {
				t.Errorf("%s → %s at %s: error is %v", change.writer, change.reader, place.path, err)
			}
		}
	}
}

// S2: defaults of nested types, read as the values would be.
func TestNestedDefaults(t *testing.T) {
	w := mustParse(t, rec("R", fld("x", `"int"`)+","+fld("in", array(rec("In", fld("u", `"int"`))))))
	r := mustParse(t, rec("R", `{"name":"tags","type":`+array(`"string"`)+`,"default":["a","b"]},
		{"name":"m","type":`+mapOf(rec("V", fld("d", `"double"`)+`,{"name":"e","type":`+optional(`"int"`)+`,"default":null}`))+`,"default":{"k":{"d":1}}},
		{"name":"o","type":["null","int"],"default":null},{"name":"n","type":["int","double"],"default":3},
		{"name":"p","type":`+decimal(4, 2)+`,"default":"\u0001\u0000"},
		{"name":"rec","type":`+optional(rec("Rec", fld("l", array(`"long"`))))+`,"default":null},
		{"name":"in","type":`+array(rec("In", `{"name":"v","type":"int","default":4}`))+`}`))
	accept := map[string]bool{"tags": true, "m": true, "o": true, "n": true, "p": true, "rec": true, "in[0].v": true}
	want := []struct {
		path string
		v    schemas.Value
	}{
		{"tags[1]", s("b")}, {"tags[2]", null}, {"size(tags)", i(2)}, {`"a" in tags`, yes}, {`"c" in tags`, no}, {"present(tags)", yes},
		{`m["k"].d`, f(1)}, {`m["k"].e`, null}, {`m["z"].d`, null}, {`"k" in m`, yes}, {"size(m)", i(1)}, {`present(m["k"].e)`, null},
		{"o", null}, {"present(o)", null}, {"n", f(3)}, {"p", schemas.BytesValue("\x01\x00")}, {"rec.l[0]", null}, {"size(rec.l)", null}, {"in[0].v", i(4)},
	}
	var paths []string
	for _, x := range want {
		paths = append(paths, x.path)
	}
	d, err := Compile(w, r, paths, Options{AcceptDefault: accept})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]schemas.Value, len(paths))
	if err := d.Decode(dst, []byte("\x02\x02\x04\x00")); err != nil {
		t.Fatal(err)
	}
	for j, x := range want {
		if !dst[j].Equal(x.v) {
			t.Errorf("%s is %v, want %v", x.path, dst[j], x.v)
		}
	}
	for _, x := range want {
		_, err := Compile(w, r, []string{x.path}, Options{})
		if err == nil || !strings.Contains(err.Error(), "accept_defaults") {
			t.Errorf("%s without leave: %v", x.path, err)
		}
	}
}

// A3: nothing is allocated either where arrays and maps are read.
func TestNestedDecodeAllocatesNothing(t *testing.T) {
	s := mustParse(t, nestedText)
	paths := []string{"lines[1].sku", "lines[0].sub.n", "size(lines)", `tags["k"]`, `"d" in tags`, "size(tags)", "buyer.tier", "present(buyer)", "ranks[0]", "3 in ranks"}
	paths[3] = `present(tags["k"])` // a union of text and number
	d, body := mustCompile(t, s, s, paths...), nestedBody(t)
	dst := make([]schemas.Value, len(paths))
	allocs := testing.AllocsPerRun(100, func() {
		if err := d.Decode(dst, body); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("Decode allocates %v times", allocs)
	}
	if got := fmt.Sprint(dst); got != "[7331 -1 2 true true 2 B true 5 true]" {
		t.Errorf("decoded %s", got)
	}
}

// Any schema: 20 fields of every type, of which a few are read.
func TestWideNestedSchema(t *testing.T) {
	var fields []string
	types := []string{`"null"`, `"boolean"`, `"int"`, `"long"`, `"float"`, `"double"`, `"bytes"`, `"string"`,
		rec("Deep", fld("in", optional(rec("Deeper", fld("v", array(mapOf(optional(`"long"`)))))))), `{"type":"enum","name":"E","symbols":["A","B"]}`,
		`{"type":"fixed","name":"F","size":3}`, array(`["null","string","int","Deep"]`), mapOf(array(`"E"`)), `["null","int","string","Deep"]`,
		decimal(20, 3), `{"type":"fixed","name":"D","size":12,"logicalType":"duration"}`, `{"type":"int","logicalType":"date"}`, millis, optional("\"Deep\""),
		`{"type":"string","logicalType":"uuid"}`}
	for j, typ := range types {
		fields = append(fields, fld(fmt.Sprintf("f%d", j), typ))
	}
	text := rec("Wide", strings.Join(fields, ","))
	deep := map[string]any{"in": goavro.Union("Deeper", map[string]any{"v": []any{map[string]any{"k": goavro.Union("long", 7)}}})}
	body := encode(t, text, map[string]any{"f0": nil, "f1": true, "f2": 1, "f3": 2, "f4": 0.5, "f5": 1.5, "f6": []byte("x"), "f7": "y", "f8": deep, "f9": "B",
		"f10": []byte("abc"), "f11": []any{nil, goavro.Union("Deep", deep), goavro.Union("string", "z")}, "f12": map[string]any{"a": []any{"A", "B"}},
		"f13": goavro.Union("Deep", deep), "f14": decimalOf("\xff\x85", 3), "f15": []byte("123456789012"), "f16": 3, "f17": int64(5), "f18": goavro.Union("Deep", deep), "f19": "6fa459ea-ee8a"})
	sch := mustParse(t, text)
	want := map[string]schemas.Value{"f1": yes, `f8.in.v[0]["k"]`: i(7), "f9": s("B"), "f10": schemas.BytesValue("abc"), "size(f11)": i(3), "present(f11[0])": null, "present(f11[1])": yes,
		`f12["a"][1]`: s("B"), "present(f13)": yes, "f14": schemas.BytesValue("\x85"), "present(f15)": yes, "f16": ts(3 * schemas.Day), "f17": ts(5000), `f18.in.v[0]["k"]`: i(7), "f19": s("6fa459ea-ee8a")}
	for range 20 { // any few of them, in any order
		var paths []string
		for p := range want {
			if rand.IntN(3) == 0 {
				paths = append(paths, p)
			}
		}
		d, dst := mustCompile(t, sch, sch, paths...), make([]schemas.Value, len(paths))
		if err := d.Decode(dst, body); err != nil {
			t.Fatal(err)
		}
		for j, p := range paths {
			if !dst[j].Equal(want[p]) {
				t.Errorf("%v: %s is %v, want %v", paths, p, dst[j], want[p])
			}
		}
	}
}
