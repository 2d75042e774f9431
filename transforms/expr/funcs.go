package expr

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"github.com/tallystick/tallystick/schemas"
)

// Doc describes one operator or function for readers of the documentation.
type Doc struct {
	Name    string // "" for operators
	Syntax  string
	Text    string
	Example string
}

// Operators lists the operators that expressions support.
func Operators() []Doc {
	return []Doc{
		{"", "== !=", "equal, unequal; int with double exactly; with null: is (not) null", `status == "diverted"`},
		{"", "< <= > >=", "order of numbers, texts (bytewise), bytes and timestamps", "dep_delay >= 15"},
		{"", "&& || !", "and, or, not; null is unknown (Kleene)", "cancelled || dep_delay > 60"},
		{"", "+ - *", "of two ints or two doubles; overflow is an error; + also joins texts", `origin + "-" + dest`},
		{"", "/", "of two doubles only; int / int is refused, it would truncate", "double(cents) / 100.0"},
		{"", "%", "remainder of two ints, with the sign of the first", "flight % 2 == 0"},
		{"", "? :", "if, else; null when the condition is null", "arr_delay > 0 ? arr_delay : 0"},
		{"", "in", "is one of a list of constants; also whether an array has a constant, a map a key", `dest in ["JFK", "LGA"]`},
		{"", "[ ]", "an item of an array, counted from 0; a value of a map; null where there is none", `lines[0].sku`},
		{"", "timestamp - timestamp", "a duration: an int in microseconds", "arrived - departed"},
		{"", "timestamp ± duration", "a timestamp", `departed + duration("1h")`},
	}
}

// function is one row of the table of functions.
type function struct {
	Doc
	method bool // may be written x.f(…)
	global bool // may be written f(x, …)
	args   int  // including the x of x.f(…)
	number bool // x may be a decimal
	build  func(c *checker, e ast.Expr, args []node) node
}

// Functions lists the functions that expressions support.
func Functions() []Doc {
	var docs []Doc
	for _, f := range functions() {
		docs = append(docs, f.Doc)
	}
	return docs
}

func functions() []function {
	list := []function{
		{Doc: Doc{"size", "size(x)", "length of a text in characters, of bytes in bytes; how many items an array, entries a map has", "size(tailnum) == 6"}, method: true, global: true, args: 1, build: buildSize},
		{Doc: Doc{"double", "double(x)", "the double nearest to an int or a decimal", "double(dep_delay_s) / 60.0"}, global: true, args: 1, number: true, build: buildDouble},
		{Doc: Doc{"unscaled", "unscaled(decimal)", "the digits of a decimal as an int, exactly: 1250 for 12.50; beyond 64 bits is an error", "unscaled(amount) % 100 == 0"}, global: true, args: 1, number: true, build: buildUnscaled},
		{Doc: Doc{"int", "int(double)", "towards zero; out of range is an error", "int(dep_delay_min)"}, global: true, args: 1, build: buildInt},
		{Doc: Doc{"string", "string(x)", "text of an int or a bool, or of a decimal with all its places", `carrier + string(flight)`}, global: true, args: 1, number: true, build: buildString},
		{Doc: Doc{"timestamp", `timestamp("…")`, "a constant instant, RFC 3339", `event_time >= timestamp("2024-01-31T00:00:00Z")`}, global: true, args: 1, build: buildTimestamp},
		{Doc: Doc{"duration", `duration("…")`, "a constant duration: an int in microseconds", `arrived - departed > duration("1h30m")`}, global: true, args: 1, build: buildDuration},
		textTest("startsWith", `does the text begin with the other`, `tailnum.startsWith("N")`, strings.HasPrefix),
		textTest("endsWith", `does the text end with the other`, `tailnum.endsWith("JB")`, strings.HasSuffix),
		textTest("contains", `does the text contain the other`, `status.contains("divert")`, strings.Contains),
	}
	calendar := func(name, text string, of func(time.Time) int) function {
		doc := Doc{name, "timestamp." + name + "()", text + ", UTC", "event_time." + name + "() == 1"}
		return function{Doc: doc, method: true, args: 1, build: buildCalendar(of)}
	}
	return append(list,
		calendar("getFullYear", "the year", time.Time.Year),
		calendar("getMonth", "the month, 0 to 11", func(t time.Time) int { return int(t.Month()) - 1 }),
		calendar("getDate", "the day of the month, 1 to 31", time.Time.Day),
		calendar("getDayOfWeek", "the day of the week, 0 (Sunday) to 6", func(t time.Time) int { return int(t.Weekday()) }),
		calendar("getHours", "the hour, 0 to 23", time.Time.Hour),
		calendar("getMinutes", "the minute, 0 to 59", time.Time.Minute),
		calendar("getSeconds", "the second, 0 to 59", time.Time.Second),
	)
}

// function checks a call of a named function.
func (c *checker) function(e ast.Expr, call ast.CallExpr) node {
	name, args := call.FunctionName(), call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	if name == "has" {
		return c.fail(e, "has() is not supported", "write `x != null`")
	}
	var names []string
	for _, f := range functions() {
		names = append(names, f.Name)
		if f.Name != name {
			continue
		}
		if call.IsMemberFunction() && !f.method || !call.IsMemberFunction() && !f.global || len(args) != f.args {
			return c.fail(e, name+"() is written `"+f.Syntax+"`", "")
		}
		if name == "size" {
			if n, ok := c.reading(e, args[0], "size(", ")"); ok {
				return n
			}
		}
		check := c.check
		if f.number {
			check = c.any
		}
		nodes, ok := each(args, check)
		if !ok {
			return node{bad: true, expr: e}
		}
		for _, n := range nodes {
			if isNull(n) {
				return c.fail(n.expr, "the result is always null", "")
			}
		}
		return f.build(c, e, nodes)
	}
	hint := DidYouMean(name, names)
	if !strings.HasPrefix(hint, "did") {
		hint = "supported are " + strings.Join(names, ", ")
	}
	return c.fail(e, name+"() is not supported", hint)
}

// unary is a strict function of one argument.
func (c *checker) unary(e ast.Expr, k schemas.Kind, a node, op func(schemas.Value) (schemas.Value, error)) node {
	x := a.eval
	return c.fold(e, typ{kind: k, nullable: a.typ.nullable}, func(f []schemas.Value) (schemas.Value, error) {
		v, err := x(f)
		if err != nil || v.IsNull() {
			return schemas.Value{}, err
		}
		return op(v)
	}, a)
}

func buildSize(c *checker, e ast.Expr, args []node) node {
	switch args[0].typ.kind {
	case schemas.String:
		return c.unary(e, schemas.Int, args[0], func(v schemas.Value) (schemas.Value, error) {
			return schemas.IntValue(int64(utf8.RuneCountInString(v.Text()))), nil
		})
	case schemas.Bytes:
		return c.unary(e, schemas.Int, args[0], func(v schemas.Value) (schemas.Value, error) {
			return schemas.IntValue(int64(len(v.Text()))), nil
		})
	}
	return c.fail(e, "size() takes a string, bytes, an array or a map, this is "+articleOf(args[0]), "")
}

func buildDouble(c *checker, e ast.Expr, args []node) node {
	if scale := args[0].typ.scale; args[0].typ.decimal {
		return c.unary(e, schemas.Double, args[0], func(v schemas.Value) (schemas.Value, error) {
			return decimalDouble(v.Text(), scale)
		})
	}
	switch args[0].typ.kind {
	case schemas.Double:
		return args[0]
	case schemas.Int:
		return c.unary(e, schemas.Double, args[0], func(v schemas.Value) (schemas.Value, error) {
			return schemas.DoubleValue(float64(v.Int())), nil
		})
	}
	return c.fail(e, "double() takes an int or a decimal, this is "+articleOf(args[0]), "")
}

func buildInt(c *checker, e ast.Expr, args []node) node {
	switch args[0].typ.kind {
	case schemas.Int:
		return args[0]
	case schemas.Double:
		return c.unary(e, schemas.Int, args[0], func(v schemas.Value) (schemas.Value, error) {
			d := math.Trunc(v.Double())
			if d < -1<<63 || d >= 1<<63 {
				return schemas.Value{}, ErrOverflow
			}
			return schemas.IntValue(int64(d)), nil
		})
	case schemas.Timestamp:
		return c.fail(e, "int() takes a double, this is a timestamp", "write `x - timestamp(\"1970-01-01T00:00:00Z\")` for microseconds")
	}
	return c.fail(e, "int() takes a double, this is "+articleOf(args[0]), "")
}

func buildString(c *checker, e ast.Expr, args []node) node {
	if scale := args[0].typ.scale; args[0].typ.decimal {
		return c.unary(e, schemas.String, args[0], func(v schemas.Value) (schemas.Value, error) {
			text, err := decimalText(v.Text(), scale)
			return schemas.StringValue(text), err
		})
	}
	switch args[0].typ.kind {
	case schemas.String:
		return args[0]
	case schemas.Int:
		return c.unary(e, schemas.String, args[0], func(v schemas.Value) (schemas.Value, error) {
			return schemas.StringValue(strconv.FormatInt(v.Int(), 10)), nil
		})
	case schemas.Bool:
		return c.unary(e, schemas.String, args[0], func(v schemas.Value) (schemas.Value, error) {
			return schemas.StringValue(strconv.FormatBool(v.Bool())), nil
		})
	}
	return c.fail(e, "string() takes an int, a bool or a decimal, this is "+articleOf(args[0]), "")
}

func buildTimestamp(c *checker, e ast.Expr, args []node) node {
	a := args[0]
	if !a.konst || a.typ.kind != schemas.String {
		return c.fail(e, "timestamp() takes a constant text", "write `timestamp(\"2024-01-31T00:00:00Z\")`")
	}
	m, err := schemas.ParseInstant(a.value.Text())
	if err != nil {
		return c.fail(e, err.Error(), "write `timestamp(\"2024-01-31T00:00:00Z\")`")
	}
	return constant(e, schemas.TimestampValue(m))
}

func buildDuration(c *checker, e ast.Expr, args []node) node {
	a := args[0]
	if !a.konst || a.typ.kind != schemas.String {
		return c.fail(e, "duration() takes a constant text", "write `duration(\"1h30m\")`")
	}
	text, negative := strings.CutPrefix(a.value.Text(), "-")
	d, err := ParseDuration(text)
	if err != nil {
		return c.fail(e, err.Error(), "")
	}
	if negative {
		d = -d
	}
	n := constant(e, schemas.IntValue(int64(d)))
	n.typ.duration = true
	return n
}

func textTest(name, text, example string, test func(a, b string) bool) function {
	return function{Doc: Doc{name, "text." + name + "(text)", text, example}, method: true, args: 2,
		build: func(c *checker, e ast.Expr, args []node) node {
			for _, a := range args {
				if a.typ.kind != schemas.String {
					return c.fail(a.expr, name+"() takes strings, this is "+articleOf(a), "")
				}
			}
			t := typ{kind: schemas.Bool, nullable: args[0].typ.nullable || args[1].typ.nullable}
			return c.fold(e, t, binary(args[0], args[1], func(x, y schemas.Value) (schemas.Value, error) {
				return boolOf(test(x.Text(), y.Text())), nil
			}), args...)
		}}
}

func buildCalendar(of func(time.Time) int) func(*checker, ast.Expr, []node) node {
	return func(c *checker, e ast.Expr, args []node) node {
		if args[0].typ.kind != schemas.Timestamp {
			return c.fail(e, e.AsCall().FunctionName()+"() takes a timestamp, this is "+articleOf(args[0]), "")
		}
		return c.unary(e, schemas.Int, args[0], func(v schemas.Value) (schemas.Value, error) {
			return schemas.IntValue(int64(of(v.Micros().Time()))), nil
		})
	}
}
