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

// defaultAt returns the scalar at path within a field's Avro default; path ""
// is the field itself.
func defaultAt(f *field, path string) (schemas.Value, error) {
	v, n, name := f.def, f.typ, f.name
	for path != "" {
		n, _ = n.deref()
		if v == nil { // a null record: so are its fields
			return schemas.Value{}, nil
		}
		obj, ok := v.(map[string]any)
		if !ok {
			return schemas.Value{}, fmt.Errorf("the default %s of `%s` is not a record", brief(v), name)
		}
		head, tail, _ := strings.Cut(path, ".")
		inner := n.field(head) // exists: Lookup found the path
		x, given := obj[head]
		if !given && !inner.hasDefault {
			return schemas.Value{}, fmt.Errorf("the default of `%s` has no `%s`", name, head)
		}
		if !given {
			x = inner.def
		}
		v, n, name, path = x, inner.typ, head, tail
	}
	out, err := defaultValue(v, n)
	if err != nil {
		return schemas.Value{}, fmt.Errorf("the default %s of `%s` is not a %s: %w", brief(v), name, n, err)
	}
	return out, nil
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
