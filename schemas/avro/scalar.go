package avro

import (
	"fmt"
	"strconv"

	"github.com/tallystick/tallystick/schemas"
)

// MaxScale bounds the scale of decimals that can be used: whatever its digits,
// one of 512 bytes is then beyond every double.
const MaxScale = 400

// scalar returns what a type yields as a Value, or why it does not; path names
// it in what to write instead.
func scalar(typ *node, path string) (t FieldType, problem string) {
	n, nullable := typ.deref()
	if n.kind == kUnion {
		if n = merged(n); n == nil {
			n, _ = typ.deref()
			return t, fmt.Sprintf("it is %s, whose values no one type holds exactly", n)
		}
	}
	t = FieldType{Nullable: nullable, Avro: kindNames[n.kind], Logical: n.logical}
	switch n.kind {
	case kNull:
		return t, "its type is null: it never holds a value"
	case kRecord:
		return t, "it is a record; name one of its fields"
	case kArray:
		return t, fmt.Sprintf("it is %s; use an item (`%s[0]`), its length (`size(%s)`) or `\"x\" in %s`", n, path, path, path)
	case kMap:
		return t, fmt.Sprintf("it is %s; use a value (`%s[\"key\"]`), `size(%s)` or `\"key\" in %s`", n, path, path, path)
	case kBoolean:
		t.Kind = schemas.Bool
	case kInt, kLong:
		t.Kind = schemas.Int
	case kFloat, kDouble:
		t.Kind = schemas.Double
	case kString, kEnum:
		t.Kind = schemas.String
	case kBytes, kFixed:
		t.Kind = schemas.Bytes
	}
	switch n.logical {
	case "decimal":
		if t.Decimal, t.Scale = true, n.scale; n.scale > MaxScale {
			return t, fmt.Sprintf("it is a decimal of %d decimal places, more than %d", n.scale, MaxScale)
		}
	case "duration":
		return t, "it is a duration of months, days and milliseconds, which has no one length; let the producer send a long in one unit"
	case "time-millis":
		t.Unit = "ms"
	case "time-micros":
		t.Unit = "µs"
	case "date", "timestamp-millis", "timestamp-micros", "timestamp-nanos":
		t.Kind = schemas.Timestamp
	case "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos":
		t.Kind, t.Local = schemas.Timestamp, true
	}
	return t, ""
}

// merged returns the one type that values of a union of several are read as,
// nil when there is none that holds them all exactly: int and long are long;
// int, float and double are double, but long is not; string and enums are
// string; bytes and fixed are bytes. Logical types mean more than their values.
func merged(u *node) *node {
	has := map[kind]bool{}
	for _, b := range u.branches {
		if b.attr != "" {
			return nil
		}
		has[b.kind] = true
	}
	delete(has, kNull)
	only := func(kinds ...kind) bool {
		n := 0
		for _, k := range kinds {
			if has[k] {
				n++
			}
		}
		return n == len(has)
	}
	switch {
	case only(kInt, kLong):
		return &node{kind: kLong}
	case only(kInt, kFloat, kDouble):
		return &node{kind: kDouble}
	case only(kString, kEnum):
		return &node{kind: kString}
	case only(kBytes, kFixed):
		return &node{kind: kBytes}
	}
	return nil
}

// contained returns the Value that items of the array, or keys of the map, n
// are compared with for `constant in path`, or why they cannot be.
func contained(n *node, t target) (item schemas.Value, problem string) {
	switch n.kind {
	case kMap:
		if t.item.Kind() != schemas.String {
			return item, fmt.Sprintf("`%s` is a map, whose keys are texts", t.inner)
		}
		return t.item, ""
	case kArray:
	default:
		return item, fmt.Sprintf("`%s` is %s; `in` takes an array or a map on its right", t.inner, n)
	}
	of, problem := scalar(n.items, t.inner+"[0]")
	switch {
	case problem != "":
		return item, fmt.Sprintf("`%s` is %s: `in` compares scalars only", t.inner, n)
	case of.Decimal || of.Local:
		return item, fmt.Sprintf("`%s` is %s, whose items cannot be compared with constants", t.inner, n)
	case of.Kind == schemas.Double && t.item.Kind() == schemas.Int:
		if f := float64(t.item.Int()); strconv.FormatFloat(f, 'f', 0, 64) == strconv.FormatInt(t.item.Int(), 10) {
			return schemas.DoubleValue(f), ""
		}
		return item, fmt.Sprintf("%d is no double", t.item.Int())
	case of.Kind != t.item.Kind():
		return item, fmt.Sprintf("the items of `%s` are of kind %s, the constant is of kind %s", t.inner, of.Kind, t.item.Kind())
	}
	return t.item, ""
}
