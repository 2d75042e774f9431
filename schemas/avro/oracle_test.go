package avro

import (
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"pgregory.net/rapid"
)

// oracleAt follows the steps of a path through what goavro decoded, to a type
// and its value without the union; nil where anything is null or missing.
func oracleAt(t tester, s *Schema, native any, path string) (target, *node, any) {
	t.Helper()
	target, problem := parsePath(path)
	if problem != "" {
		t.Fatalf("%s: %s", path, problem)
	}
	typ := s.top
	for _, st := range target.steps {
		inner, value := unwrap(typ, native)
		if value == nil {
			return target, nil, nil
		}
		switch st.kind {
		case stepField:
			typ, native = inner.field(st.name).typ, value.(map[string]any)[st.name]
		case stepItem:
			list := value.([]any)
			if st.index >= int64(len(list)) {
				return target, nil, nil
			}
			typ, native = inner.items, list[st.index]
		case stepKey:
			typ, native = inner.items, value.(map[string]any)[st.name]
		}
	}
	_, native = unwrap(typ, native)
	return target, typ, native
}

func oracleNative(t tester, s *Schema, native any, path string) any {
	t.Helper()
	_, _, value := oracleAt(t, s, native, path)
	return value
}

// oracle reads a path out of what goavro decoded, by the words of path.go.
func oracle(t tester, s *Schema, native any, path string) schemas.Value {
	t.Helper()
	target, typ, value := oracleAt(t, s, native, path)
	if value == nil {
		return schemas.Value{}
	}
	m, isMap := value.(map[string]any)
	list, _ := value.([]any)
	inner, _ := typ.deref()
	switch target.reads {
	case readPresent:
		return schemas.BoolValue(true)
	case readSize:
		return schemas.IntValue(int64(len(m) + len(list)))
	case readIn:
		found := false
		if isMap {
			_, found = m[target.item.Text()]
		}
		constant, _ := contained(inner, target)
		for _, x := range list {
			_, x = unwrap(inner.items, x)
			found = found || x != nil && oracleValue(t, inner.items, x) == constant
		}
		return schemas.BoolValue(found)
	}
	return oracleValue(t, typ, value)
}

// unwrap takes a value out of its union, which goavro writes {branch: value}.
func unwrap(typ *node, native any) (*node, any) {
	inner, _ := typ.deref()
	if u, ok := native.(map[string]any); ok && typ.kind == kUnion {
		for _, v := range u {
			return inner, v
		}
	}
	return inner, native
}

// oracleValue is a scalar that goavro decoded, in the one kind of its type.
func oracleValue(t tester, typ *node, native any) schemas.Value {
	t.Helper()
	inner, _ := typ.deref()
	as, problem := scalar(typ, "x")
	if problem != "" {
		t.Fatalf("%s", problem)
	}
	v := plain(t, native)
	switch {
	case as.Kind == schemas.Double && v.Kind() == schemas.Int:
		return schemas.DoubleValue(float64(v.Int()))
	case as.Kind == schemas.Timestamp && v.Kind() == schemas.Int: // a unit that goavro does not know
		µs := new(big.Rat).SetInt64(v.Int())
		switch inner.logical {
		case "local-timestamp-millis":
			µs.Mul(µs, big.NewRat(1000, 1))
		case "timestamp-nanos", "local-timestamp-nanos":
			µs.Quo(µs, big.NewRat(1000, 1))
		}
		floor := new(big.Int).Div(µs.Num(), µs.Denom())
		return schemas.TimestampValue(schemas.Micros(floor.Int64()))
	case as.Unit == "ms" && v.Kind() == schemas.Int:
		return schemas.IntValue(v.Int() / 1000)
	}
	return v
}

func plain(t tester, native any) schemas.Value {
	t.Helper()
	switch v := native.(type) {
	case bool:
		return schemas.BoolValue(v)
	case int32:
		return schemas.IntValue(int64(v))
	case int64:
		return schemas.IntValue(v)
	case float32:
		return schemas.DoubleValue(float64(v))
	case float64:
		return schemas.DoubleValue(v)
	case string:
		return schemas.StringValue(v)
	case []byte:
		return schemas.BytesValue(string(v))
	case time.Time:
		return schemas.TimestampValue(schemas.Micros(v.UnixMicro()))
	case time.Duration:
		return schemas.IntValue(v.Microseconds())
	}
	t.Fatalf("no value for %T", native)
	return schemas.Value{}
}

// decimalOf is the number that the bytes of a decimal stand for.
func decimalOf(digits string, scale int) *big.Rat {
	n := new(big.Int).SetBytes([]byte(digits))
	if digits != "" && digits[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(digits))))
	}
	return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
}

// somePaths draws paths of every form that s has, and that Lookup takes.
func somePaths(t *rapid.T, s *Schema) (paths []string) {
	for range rapid.IntRange(0, 8).Draw(t, "paths") {
		if p := somePath(t, s.top, ""); p != "" {
			if _, err := s.Lookup(p); err == nil {
				paths = append(paths, p)
			}
		}
	}
	return paths
}

var keys = []string{"", "k", "another key", `"quoted"`, "ключ", "a.b[0]"}

// somePath goes on from a path that leads to n.
func somePath(t *rapid.T, typ *node, path string) string {
	n, _ := typ.deref()
	stop := path != "" && rapid.IntRange(0, 9).Draw(t, "stop") == 0
	if stop {
		return "present(" + path + ")"
	}
	end := rapid.IntRange(0, 3).Draw(t, "end")
	switch {
	case n.kind == kRecord:
		f := rapid.SampledFrom(n.fields).Draw(t, "field")
		if path != "" {
			path += "."
		}
		return somePath(t, f.typ, path+f.name)
	case n.kind == kArray && end == 0, n.kind == kMap && end == 0:
		return "size(" + path + ")"
	case n.kind == kArray && end == 1:
		return someConstant(t) + " in " + path
	case n.kind == kArray:
		return somePath(t, n.items, fmt.Sprintf("%s[%d]", path, rapid.IntRange(0, 4).Draw(t, "index")))
	case n.kind == kMap && end == 1:
		return strconv.Quote(rapid.SampledFrom(keys).Draw(t, "key")) + " in " + path
	case n.kind == kMap:
		return somePath(t, n.items, path+"["+strconv.Quote(rapid.SampledFrom(keys).Draw(t, "key"))+"]")
	}
	return path
}

// someConstant draws constants that the generator's values hit.
func someConstant(t *rapid.T) string {
	return rapid.SampledFrom([]string{`"A"`, `""`, `"a"`, "true", "false", "0", "1", "-1", "0.0", "1.0", `b""`, `b"\x00"`, "timestamp(0)"}).Draw(t, "constant")
}
