package avro

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// defaultOf returns what l reads of the Avro default of field f, which stands
// at missing, a prefix of its path.
func defaultOf(f *field, l leaf, missing string) (schemas.Value, error) {
	v, n, name := f.def, f.typ, f.name
	for _, s := range l.steps {
		if s.end <= len(missing) {
			continue
		}
		n, _ = n.deref()
		if v == nil { // null: so is what is within
			return schemas.Value{}, nil
		}
		var err error
		if v, n, err = defaultWithin(v, n, s, name); err != nil || n == nil {
			return schemas.Value{}, err
		}
		if s.kind == stepField {
			name = s.name
		}
	}
	out, err := defaultRead(v, n, l)
	if err != nil {
		return schemas.Value{}, fmt.Errorf("the default %s of `%s` is not a %s: %w", brief(v), name, n, err)
	}
	return out, nil
}

// defaultWithin takes one step into a default; a nil type is an item that is
// not there.
func defaultWithin(v any, n *node, s step, name string) (any, *node, error) {
	switch s.kind {
	case stepItem:
		list, ok := v.([]any)
		if !ok {
			return nil, nil, fmt.Errorf("the default %s of `%s` is not an array", brief(v), name)
		}
		if s.index >= int64(len(list)) {
			return nil, nil, nil
		}
		return list[s.index], n.items, nil
	case stepKey:
		obj, ok := v.(map[string]any)
		if !ok {
			return nil, nil, fmt.Errorf("the default %s of `%s` is not a map", brief(v), name)
		}
		x, given := obj[s.name]
		if !given {
			return nil, nil, nil
		}
		return x, n.items, nil
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, nil, fmt.Errorf("the default %s of `%s` is not a record", brief(v), name)
	}
	inner := n.field(s.name) // exists: Lookup found the path
	x, given := obj[s.name]
	if !given && !inner.hasDefault {
		return nil, nil, fmt.Errorf("the default of `%s` has no `%s`", name, s.name)
	}
	if !given {
		x = inner.def
	}
	return x, inner.typ, nil
}

// defaultRead reads a default as l asks.
func defaultRead(v any, typ *node, l leaf) (schemas.Value, error) {
	n, nullable := typ.deref()
	switch {
	case l.reads == readValue:
		return defaultValue(v, typ)
	case v == nil && nullable:
		return schemas.Value{}, nil
	case v == nil:
		return schemas.Value{}, fmt.Errorf("null is not of the type")
	case l.reads == readPresent:
		return schemas.BoolValue(true), nil
	}
	list, isList := v.([]any)
	obj, isObject := v.(map[string]any)
	switch {
	case n.kind == kArray && !isList || n.kind == kMap && !isObject:
		return schemas.Value{}, fmt.Errorf("it is of another type")
	case l.reads == readSize:
		return schemas.IntValue(int64(len(list) + len(obj))), nil
	case isObject:
		_, has := obj[l.item.Text()]
		return schemas.BoolValue(has), nil
	}
	item, _ := contained(n, l.target)
	for _, x := range list {
		got, err := defaultValue(x, n.items)
		if err != nil {
			return schemas.Value{}, err
		}
		if got.Equal(item) {
			return schemas.BoolValue(true), nil
		}
	}
	return schemas.BoolValue(false), nil
}

// defaultValue reads a JSON default as the reader would read the value.
func defaultValue(v any, typ *node) (schemas.Value, error) {
	n, nullable := typ.deref()
	if v == nil {
		if nullable {
			return schemas.Value{}, nil
		}
		return schemas.Value{}, fmt.Errorf("null is not of the type")
	}
	switch n.kind {
	case kUnion:
		return mergedDefault(v, n)
	case kBoolean:
		if b, ok := v.(bool); ok {
			return schemas.BoolValue(b), nil
		}
	case kInt, kLong:
		if num, ok := v.(json.Number); ok {
			bits := 64
			if n.kind == kInt {
				bits = 32
			}
			i, err := strconv.ParseInt(num.String(), 10, bits)
			if err != nil {
				return schemas.Value{}, err
			}
			return wholeDefault(i, n)
		}
	case kFloat, kDouble:
		if num, ok := v.(json.Number); ok {
			bits := 64
			if n.kind == kFloat {
				bits = 32
			}
			f, err := strconv.ParseFloat(num.String(), bits)
			return schemas.DoubleValue(f), err
		}
	case kString, kEnum:
		if s, ok := v.(string); ok && (n.kind == kString || slices.Contains(n.symbols, s)) {
			return schemas.StringValue(s), nil
		}
	case kBytes, kFixed:
		if s, ok := v.(string); ok {
			return bytesDefault(s, n)
		}
	}
	return schemas.Value{}, fmt.Errorf("it is of another type")
}

// mergedDefault reads the default of a union of several types: one of any.
func mergedDefault(v any, u *node) (schemas.Value, error) {
	for _, b := range u.branches {
		x, err := defaultValue(v, b)
		if b.kind == kNull || err != nil {
			continue
		}
		if x.Kind() == schemas.Int && merged(u).kind == kDouble {
			x = schemas.DoubleValue(float64(x.Int()))
		}
		return x, nil
	}
	return schemas.Value{}, fmt.Errorf("it is of none of its types")
}

func wholeDefault(i int64, n *node) (schemas.Value, error) {
	out := schemas.TimestampValue(schemas.Micros(i))
	switch logical := strings.TrimPrefix(n.logical, "local-"); {
	case logical == "timestamp-micros":
		return out, nil
	case logical == "timestamp-nanos":
		return schemas.TimestampValue(schemas.Micros(floorDiv(i, 1000))), nil
	case logical == "timestamp-millis":
		if i > maxMillis || i < minMillis {
			return out, fmt.Errorf("%s", faultText[faultRange])
		}
		return schemas.TimestampValue(schemas.Micros(i * 1000)), nil
	case logical == "date":
		if i > maxDays || i < minDays {
			return out, fmt.Errorf("%s", faultText[faultRange])
		}
		return schemas.TimestampValue(schemas.Micros(i * dayMicros)), nil
	}
	return schemas.IntValue(i), nil
}

// bytesDefault reads Avro's JSON form of bytes: code points 0 to 255.
func bytesDefault(s string, n *node) (schemas.Value, error) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r > math.MaxUint8 {
			return schemas.Value{}, fmt.Errorf("code point %U is no byte", r)
		}
		out = append(out, byte(r))
	}
	if n.kind == kFixed && len(out) != n.size {
		return schemas.Value{}, fmt.Errorf("it has %d bytes, not %d", len(out), n.size)
	}
	return schemas.BytesValue(string(out)), nil
}
