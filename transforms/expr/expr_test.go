package expr

import (
	"math"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// scope has a nullable field of each kind, and record fields. The values of
// row() stand in its slots.
var scope = Fields{
	{"i", Type{Kind: schemas.Int, Nullable: true}}, {"j", Type{Kind: schemas.Int, Nullable: true}},
	{"d", Type{Kind: schemas.Double, Nullable: true}}, {"x", Type{Kind: schemas.Double, Nullable: false}},
	{"s", Type{Kind: schemas.String, Nullable: true}}, {"t", Type{Kind: schemas.String, Nullable: false}},
	{"b", Type{Kind: schemas.Bool, Nullable: true}}, {"n", Type{Kind: schemas.Int, Nullable: true}},
	{"ts", Type{Kind: schemas.Timestamp, Nullable: false}}, {"raw", Type{Kind: schemas.Bytes, Nullable: true}},
	{"rec.leg.dep_delay", Type{Kind: schemas.Double, Nullable: true}}, {"inf", Type{Kind: schemas.Double, Nullable: false}},
	{"nb", Type{Kind: schemas.Bool, Nullable: true}}, {"big", Type{Kind: schemas.Int, Nullable: false}},
	{"price", decimal2}, {"nodec", decimal2}, {"huge", Type{Kind: schemas.Bytes, Decimal: true, Scale: 2}}, {"whole", Type{Kind: schemas.Bytes, Decimal: true}},
	// What an array, a map and a record are read by.
	{"tags[0]", Type{Kind: schemas.String, Nullable: true}}, {"lines[1].qty", Type{Kind: schemas.Int, Nullable: true}}, {`attrs["a\"b"]`, Type{Kind: schemas.Int, Nullable: true}},
	{"size(tags)", Type{Kind: schemas.Int}}, {`"vip" in tags`, Type{Kind: schemas.Bool}}, {"7 in rec.ns", Type{Kind: schemas.Bool, Nullable: true}},
	{"present(rec)", Type{Kind: schemas.Bool, Nullable: true}}, {"present(tags)", Type{Kind: schemas.Bool, Nullable: true}}, {"timestamp(0) in times", Type{Kind: schemas.Bool}},
	{"lines[0].cost", decimal2},
}

var decimal2 = Type{Kind: schemas.Bytes, Nullable: true, Decimal: true, Scale: 2}

func row() []schemas.Value {
	i, d, s := schemas.IntValue, schemas.DoubleValue, schemas.StringValue
	return []schemas.Value{
		i(7), i(-2), d(1.5), d(0), s("héllo"), s("JFK"), schemas.BoolValue(true), {},
		schemas.TimestampValue(1_706_659_200_000_000), schemas.BytesValue("\x00\xff"),
		d(3), d(math.Inf(1)), {}, i(math.MaxInt64),
		schemas.BytesValue("\x04\xe2"), {}, schemas.BytesValue("\x01" + strings.Repeat("\x00", 8)), schemas.BytesValue(""),
		s("vip"), i(3), {}, i(2), schemas.BoolValue(true), schemas.BoolValue(false), {}, schemas.BoolValue(true), schemas.BoolValue(true),
		schemas.BytesValue("\xfb"),
	}
}

func TestEval(t *testing.T) { // V12
	for _, c := range []struct{ src, want string }{
		{"i", "7"}, {"-i", "-7"}, {"i + j", "5"}, {"i - j", "9"}, {"i * j", "-14"}, {"i % j", "1"}, {"j % i", "-2"},
		{"d + d", "3"}, {"d / 2.0", "0.75"}, {"double(i) / double(j)", "-3.5"}, {"double(i) / 2.0", "3.5"},
		{"int(d)", "1"}, {"int(-1.9)", "-1"}, {"int(i)", "7"}, {"double(d)", "1.5"},
		{"string(i)", "7"}, {"string(b)", "true"}, {"string(s)", "héllo"}, {"size(s)", "5"}, {"raw.size()", "2"},
		{`t + "-" + s`, "JFK-héllo"}, {`t + t + t + t + t + t + t + t + t`, strings.Repeat("JFK", 9)},
		{`t.startsWith("J")`, "true"}, {`t.endsWith("J")`, "false"}, {`s.contains("él")`, "true"},
		{`t in ["JFK", "LGA"]`, "true"}, {`i in [1, 2.0, 7.0]`, "true"}, {`d in [1, 2]`, "false"},
		{`t in ["a","b","c","d","e","f","g","h","JFK"]`, "true"}, {`n in [1]`, "null"}, {"i in [1,2,3,4,5,6,8,9,7]", "true"}, {"i in [1,2,3,4,5,6,8,9,7.0]", "true"}, {"d in [1,2,3,4,5,6,8,9,1.5]", "true"},
		{"i == 7", "true"}, {"i != 7", "false"}, {"i < 7.5", "true"}, {"d > 1", "true"}, {"7.0 == i", "true"},
		{"big == 9223372036854775807.0", "false"}, {"big < 9223372036854775808.0", "true"},
		{"9007199254740993 == 9007199254740992.0", "false"}, {"9007199254740993 > 9007199254740992.0", "true"},
		{`s == "héllo"`, "true"}, {`t < "K"`, "true"}, {`raw == b"\x00\xff"`, "true"}, {"b == true", "true"},
		{`ts == timestamp("2024-01-31T00:00:00Z")`, "true"}, {`ts - timestamp("2024-01-30T23:59:59Z")`, "1000000"},
		{`ts + duration("1h30m")`, "2024-01-31T01:30:00Z"}, {`duration("1d") * 2 + ts`, "2024-02-02T00:00:00Z"},
		{`ts - duration("1us")`, "2024-01-30T23:59:59.999999Z"}, {`ts - ts > duration("-1s")`, "true"},
		{"ts.getDayOfWeek()", "3"}, {"ts.getHours()", "0"}, {"ts.getMonth()", "0"}, {"ts.getFullYear()", "2024"}, {"ts.getDate()", "31"},
		// Nulls.
		{"n", "null"}, {"n + 1", "null"}, {"-n", "null"}, {"n == 1", "null"}, {"n < 1.0", "null"}, {"n == null", "true"},
		{"n != null", "false"}, {"null == i", "false"}, {"n + 1 == null", "true"}, {"null == null", "true"}, {"!nb", "null"},
		{"nb && false", "false"}, {"false && nb", "false"}, {"nb && true", "null"}, {"true && nb", "null"}, {"nb && nb", "null"},
		{"nb || true", "true"}, {"true || nb", "true"}, {"nb || false", "null"}, {"false || nb", "null"},
		{"nb ? 1 : 2", "null"}, {"b ? n : 2", "null"}, {"b ? 1 : n", "1"}, {"b ? null : 1", "null"}, {"!b ? null : 1.5", "1.5"},
		{"double(n)", "null"}, {"string(n) + t", "null"},
		// Decimals, arrays, maps and records.
		{"double(price)", "12.5"}, {"unscaled(price)", "1250"}, {"string(price)", "12.50"}, {"string(lines[0].cost)", "-0.05"}, {"double(price) + 1.0", "13.5"},
		{"nodec == null", "true"}, {"price != null", "true"}, {"double(nodec)", "null"}, {"unscaled(nodec)", "null"}, {"nodec == null ? 0 : unscaled(nodec)", "0"},
		{"unscaled(huge)", "overflow"}, {"double(huge)", "1.8446744073709552e+17"}, {"string(huge)", "184467440737095516.16"}, {"unscaled(whole)", "no decimal"},
		{"double(whole)", "no decimal"}, {"string(whole)", "no decimal"},
		{"tags[0]", "vip"}, {"tags[0] + t", "vipJFK"}, {"lines[1].qty * 2", "6"}, {`attrs["a\"b"]`, "null"}, {`attrs['a"b'] == null`, "true"},
		{"size(tags)", "2"}, {"tags.size() > 1", "true"}, {`"vip" in tags`, "true"}, {"7 in rec.ns", "false"}, {`timestamp("1970-01-01T00:00:00Z") in times`, "true"},
		{"rec == null", "true"}, {"rec != null", "false"}, {"tags != null", "true"}, {"null == rec", "true"}, {`"vip" in tags && !(7 in rec.ns)`, "true"},
		// Errors (V2, V12).
		{"big + 1", "overflow"}, {"-big - 2", "overflow"}, {"big * 2", "overflow"}, {"-(-big - 1)", "overflow"},
		{"i % (i - 7)", "overflow"}, {"d / x", "not finite"}, {"x / x", "not finite"}, {"inf", "not finite"},
		{"inf > 1.0", "not finite"}, {"inf == null", "not finite"}, {"n < inf", "not finite"}, {"inf in [1.0]", "not finite"},
		{"1e308 * 10.0 * x > 1.0", "refused"}, {"int(d * 1e300)", "overflow"}, {`ts + duration("290000000d")`, "refused"},
		{`ts + duration("106740000d")`, "overflow"}, {"-x", "0"}, {"x * -1.0", "0"},
		// What is not needed is not evaluated.
		{"i != 7 && 1 % (i - 7) == 0", "false"}, {"i == 7 || inf > 0.0", "true"}, {"b ? d : inf", "1.5"},
		{"rec.leg.dep_delay * 2.0", "6"}, {"i == 7 ? (i == 8 ? 1 : 2) : 3", "2"},
	} {
		p, err := Compile(c.src, scope)
		if err != nil {
			if c.want != "refused" {
				t.Errorf("%s: %v", c.src, err)
			}
			continue
		}
		v, err := p.Eval(row())
		got := v.String()
		switch err {
		case ErrOverflow:
			got = "overflow"
		case ErrNonFinite:
			got = "not finite"
		case ErrDecimal:
			got = "no decimal"
		}
		if got != c.want {
			t.Errorf("%s = %s (%v), want %s", c.src, got, err, c.want)
		}
		if err == nil && !v.IsNull() && v.Kind() != p.Type().Kind {
			t.Errorf("%s: type %v, value %v", c.src, p.Type(), v.Kind())
		}
		if err == nil && v.IsNull() && !p.Type().Nullable {
			t.Errorf("%s is null but not nullable", c.src)
		}
	}
}

func TestRefusals(t *testing.T) { // V12: one clear sentence each
	for _, c := range []struct{ src, want string }{
		{"", "1:1: the expression is empty"},
		{"fare", "1:1: unknown field `fare`"},
		{"i + rec.leg.dep_delays", "1:5: unknown field `rec.leg.dep_delays`; did you mean `rec.leg.dep_delay`?"},
		{"s > 3", `1:3: cannot compare string with int; write ` + "`\"3\"`"},
		{"i == \"7\"", "1:3: cannot compare int with string; write it without quotes"},
		{"i / j", "1:3: int / int would truncate silently; write `double(i) / double(j)`"},
		{"i / 100", "1:3: int / int would truncate silently; write `double(i) / 100.0`"},
		{"i + d", "1:3: cannot add int and double; write `double(i)`"},
		{"d * 2", "1:3: cannot multiply double and int; write `2.0`"},
		{"d % d", "1:3: % takes ints"},
		{"s + i", "1:3: cannot add string and int; write `string(i)`"},
		{"s - s", "1:3: cannot subtract string and string"},
		{"ts + 5", "1:4: cannot add timestamp and int; timestamp - timestamp and timestamp ± duration(\"1h\") are supported"},
		{"ts > \"2024-01-31T00:00:00Z\"", "1:4: cannot compare timestamp with string; write `timestamp(\"2024-01-31T00:00:00Z\")`"},
		{"i && b", "1:1: && takes conditions, this is an int; compare it with something"},
		{"i = 7", "1:3: unexpected `=`; write == to compare"},
		{"b and b", "1:3: unexpected `and`; write &&"},
		{"i is null", "1:3: unexpected `is`; write `x == null` or `x != null`"},
		{"i <> 7", "1:4: unexpected `>`; write != for unequal"},
		{"i +", "1:4: the expression ends too early; something is missing after it"},
		{"(i", "1:3: the expression ends too early; something is missing after it"},
		{`"abc`, "1:1: unexpected `\"`; a text needs the same quote at both ends"},
		{"null", "1:1: the expression is always null"}, {"i + null", "1:5: the result is always null"},
		{"i < null", "1:3: null has no order; write `x == null` or `x != null`"},
		{"b < b", "1:3: bools have no order; use == or !="},
		{"i in s", "1:3: `in` takes a list of constants on its right; write `x in [1, 2, 3]`"},
		{"i in [j]", "1:7: a list may only hold constants; compare with == and ||"},
		{"i in [null]", "1:7: null is never in a list; write `x == null || x in […]`"},
		{`i in ["a"]`, "1:7: cannot compare int with string; write it without quotes"},
		{"[1]", "1:1: a list may only stand to the right of `in`"},
		{"{1: 2}", "1:1: maps and messages {…} are not supported"},
		{"i[0]", "1:1: only arrays and maps take [ ], `i` is an int"},
		{"i + tags[j]", "1:10: what stands in [ ] must be a constant: an index from 0, or a key in quotes"},
		{"tags[-1]", "1:6: what stands in [ ] must be a constant: an index from 0, or a key in quotes"},
		{"tags[2147483648]", "1:6: what stands in [ ] must be a constant"}, {"(i + j)[0]", "1:4: a field can only be selected from a record"},
		{"a[?0]", "1:2: "}, {"price", "1:1: `price` is a decimal, which is not calculated with as it is; write `double(price)`, the nearest double, or `unscaled(price)`, an int in units of 0.01"},
		{"i + price", "1:5: `price` is a decimal"}, {"price > 3", "1:1: `price` is a decimal"}, {"price == price", "1:1: `price` is a decimal"}, {"b ? price : price", "1:5: `price` is a decimal"},
		{"size(price)", "1:6: `price` is a decimal"}, {"price in [b\"a\"]", "1:1: `price` is a decimal"}, {"price + raw", "1:1: `price` is a decimal"}, {"int(price)", "1:5: `price` is a decimal"},
		{"unscaled(d)", "1:1: unscaled() takes a decimal, this is a double"}, {"whole", "an int in units of 1"},
		{"s in tags", "1:6: unknown field `tags`"}, {`"x" in tags`, "1:8: unknown field "}, {`"x" in i + j`, "takes a list of constants"}, {`null in tags`, "unknown field `tags`"},
		{"1u", "1:1: unsigned ints are not supported; leave out the u"},
		{"has(i.j)", "1:1: has() is not supported; write `x != null`"},
		{"s.matches(\"a\")", "1:1: matches() is not supported; supported are size, double"},
		{"s.startWith(\"a\")", "1:1: startWith() is not supported; did you mean `startsWith`?"},
		{"startsWith(s, t)", "1:1: startsWith() is written `text.startsWith(text)`"},
		{"size(i)", "1:1: size() takes a string, bytes, an array or a map, this is an int"},
		{"double(s)", "1:1: double() takes an int or a decimal, this is a string"},
		{"b ? 1 : 2.0", "1:3: the two results of ?: are an int and a double; write `1.0`"},
		{"9223372036854775808", "1:1: the int does not fit into 64 bits; write a double: add .0"},
		{"9223372036854775807 + 1", "1:21: the result is always an error: an integer overflows or is divided by zero"},
		{"1e999", "1:1: the number is not a finite double"},
		{"timestamp(s)", "1:1: timestamp() takes a constant text; write `timestamp(\"2024-01-31T00:00:00Z\")`"},
		{"timestamp(\"2024\")", "1:1: time \"2024\": "},
		{"duration(\"5\")", "1:1: \"5\" is not a duration such as 24h, 7d or 1h30m"},
		{".while", "1:1: `while` is a reserved word"},
		{"a + (\n  s > 1)", "1:1: unknown field `a`"},
		{"i == 1 &&\n  s > 1", "2:5: cannot compare string with int"},
		{strings.Repeat("(", 300) + "i" + strings.Repeat(")", 300), ""},
		{strings.Repeat("i + ", 1000) + "i", "nested more than 250 deep"},
		{strings.Repeat("!", 60000) + "b", ""},
		{strings.Repeat("a", MaxLength+1), "more than the 65536 allowed"},
		{"\xff", "not valid UTF-8"},
	} {
		_, err := Compile(c.src, scope)
		if err == nil {
			if c.want != "" {
				t.Errorf("%.60q compiles", c.src)
			}
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q:\n got %v\nwant %s", c.src, err, c.want)
		}
	}
	_, err := Compile("i / j + fare > s", scope)
	if got := len(err.(Errors)); got != 2 {
		t.Errorf("%d errors at once, want 2: %v", got, err)
	}
	if _, err := CompileBool("i", scope); err == nil || !strings.Contains(err.Error(), "this is an int") {
		t.Errorf("CompileBool of an int: %v", err)
	}
	if _, err := CompileBool("i > 1", scope); err != nil {
		t.Error(err)
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{" i+  j", "i + j"}, {"(i+j)*2", "(i + j) * 2"}, {"i+(j*2)", "i + j * 2"}, {"i-(j-2)", "i - (j - 2)"},
		{"b&&(b&&b)&&b", "b && b && b && b"}, {"(b||b)&&b", "(b || b) && b"}, {"!(b&&b)", "!(b && b)"},
		{"b ?1:(b?2:3)", "b ? 1 : b ? 2 : 3"}, {"(b?b:b)?1:2", "(b ? b : b) ? 1 : 2"},
		{"'it\\'s' == s", `"it's" == s`}, {`s == "\u0007\x41"`, `s == "\u0007A"`}, {`raw == b'\xff"a'`, `raw == b"\xff\"a"`},
		{"d == 1e3", "d == 1000.0"}, {"d > 1e30", "d > 1e+30"}, {"i == 0x10", "i == 16"}, {"- 5 + i", "-5 + i"}, {"-(5)", "-(5)"},
		{"i in [1,2]", "i in [1, 2]"}, {"t . startsWith ( 'J' )", `t.startsWith("J")`}, {"size ( s )", "size(s)"},
		{"-(i+1)", "-(i + 1)"}, {"i == null", "i == null"}, {"- - i", "i"}, {`ts > timestamp( "2024-01-31T00:00:00Z" )`, `ts > timestamp("2024-01-31T00:00:00Z")`},
	} {
		p, err := Compile(c.src, scope)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		if p.Canonical() != c.want {
			t.Errorf("%s → %s, want %s", c.src, p.Canonical(), c.want)
		}
		q, err := Compile(p.Canonical(), scope)
		if err != nil || q.Canonical() != p.Canonical() {
			t.Errorf("%s is not stable: %v", p.Canonical(), err)
		}
	}
	p, _ := Compile("j > i || t == s", scope)
	if got := p.Slots(); len(got) != 4 || got[0] != 0 || got[3] != 5 {
		t.Errorf("slots %v", got)
	}
}

func TestExamplesOfDocsParse(t *testing.T) {
	for _, d := range append(Operators(), Functions()...) {
		if _, errs := parse(d.Example); errs != nil {
			t.Errorf("%s: %v", d.Syntax, errs)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]schemas.Micros{"24h": schemas.Day, "7d": 7 * schemas.Day, "1h30m": 90 * schemas.Minute,
		"2w": 14 * schemas.Day, "5 m": 5 * schemas.Minute, "250ms": 250_000, "3us": 3, "1d 2h": 26 * schemas.Hour} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s = %d, %v", text, got, err)
		}
		if back, err := ParseDuration(FormatDuration(want)); err != nil || back != want {
			t.Errorf("%s → %s", text, FormatDuration(want))
		}
	}
	for _, text := range []string{"", "h", "5", "1.5h", "-1h", "0h", "1y", "99999999999999999999d", "300000000000d", "1h30"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q = %d", text, d)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	fields := row()
	for _, c := range []struct {
		src string
		max float64
	}{
		{"i + j * 2 > 3 && d / 2.0 < double(i)", 0}, {`t in ["JFK", "LGA"] || s == "x"`, 0}, {"n == null ? d : d * 60.0", 0},
		{"big * 2", 0}, {"inf", 0}, {"ts.getHours()", 0}, {`t + "-" + s + "-" + t`, 1}, {"i < d", 0},
	} {
		p, err := Compile(c.src, scope)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = p.Eval(fields) }); n > c.max {
			t.Errorf("%s: %v allocations", c.src, n)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	for _, src := range []string{"d", `t != "diverted"`, "i > 3", "d * 2.0 + x", `t != "diverted" && i + j * 2 > 3`, `t + "-" + s`} {
		p, err := Compile(src, scope)
		if err != nil {
			b.Fatal(err)
		}
		fields := row()
		b.Run(src, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Eval(fields)
			}
		})
	}
}

// V12: CEL reserves words that it gives no meaning; fields may bear them.
func TestReservedNames(t *testing.T) {
	var fields Fields
	for _, w := range []string{"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
		"Namespace", "a.namespace", "package.var", "import[0]", `import["for"].if`, "size(loop)"} {
		fields = append(fields, Field{Path: w, Type: Type{Kind: schemas.Int}})
	}
	values := make([]schemas.Value, len(fields))
	for i := range fields {
		values[i] = schemas.IntValue(int64(i))
	}
	for _, f := range fields {
		p, err := Compile(f.Path, fields)
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
			continue
		}
		i, _, _ := fields.Resolve(f.Path)
		if v, err := p.Eval(values); err != nil || v != values[i] || p.Canonical() != f.Path {
			t.Errorf("%s: is %v, %v, in its normal form %s", f.Path, v, err, p.Canonical())
		}
	}
	for src, want := range map[string]string{
		"namespace+Namespace == 'namespace if'.size() // var":                    `namespace + Namespace == "namespace if".size()`,
		`r'\'.size() + br"\".size() + """ " for """.size() + b'\'var'.size()<if`: `"\\".size() + b"\\".size() + " \" for ".size() + b"'var".size() < if`,
		"é == 1 || 'é' == 'if' || namespace in [1]":                              "",
		"'é' == 'if' || namespace in [1] && 1e5 < 0x1f*double(as)":               "",
		"'é' == 'if' || namespace in [1] && a . namespace != - namespace":        `"é" == "if" || namespace in [1] && a.namespace != -namespace`,
	} {
		p, err := Compile(src, fields)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s compiles", src)
		case want != "" && (err != nil || p.Canonical() != want):
			t.Errorf("%s: %v, %v", src, p, err)
		}
	}
	for _, src := range []string{"if(1)", "in", "for in", "namespace(loop)", "true.while()", ".if", "'"} {
		if _, err := Compile(src, fields); err == nil {
			t.Errorf("%s compiles", src)
		}
	}
	if _, err := Compile("if (1)", fields); err == nil || err.Error() != "1:1: `if` is a reserved word" {
		t.Errorf("%v", err)
	}
	if _, err := Compile("loop + while.x", fields); err == nil || err.Error() != "1:8: unknown field `while.x`; did you mean `while`?" {
		t.Errorf("%v", err)
	}
}
