package avro

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/tallystick/tallystick/schemas"
	"pgregory.net/rapid"
)

// generator draws schemas and, for each, native values that goavro encodes.
type generator struct {
	t     *rapid.T
	names int
}

// drawn is a type: its JSON, its name as a goavro union branch, its values.
type drawn struct {
	schema any
	branch string
	value  func() any
}

func (g *generator) name() string { g.names++; return fmt.Sprintf("N%d", g.names) }

func logical(base, lt string) any { return map[string]any{"type": base, "logicalType": lt} }

func (g *generator) scalar() drawn {
	t := g.t
	instant := func(unit time.Duration) func() any {
		return func() any {
			return time.UnixMicro(rapid.Int64Range(-62e15, 250e15).Draw(t, "µs")).UTC().Truncate(unit)
		}
	}
	switch rapid.IntRange(0, 18).Draw(t, "scalar") {
	case 0:
		return drawn{"boolean", "boolean", func() any { return rapid.Bool().Draw(t, "bool") }}
	case 1:
		return drawn{"int", "int", func() any { return rapid.Int32().Draw(t, "int") }}
	case 2:
		return drawn{"float", "float", func() any { return rapid.Float32().Draw(t, "float") }}
	case 3:
		return drawn{"double", "double", func() any { return rapid.Float64().Draw(t, "double") }}
	case 4:
		return drawn{"bytes", "bytes", func() any { return rapid.SliceOf(rapid.Byte()).Draw(t, "bytes") }}
	case 5:
		return drawn{"string", "string", func() any { return rapid.String().Draw(t, "string") }}
	case 6:
		n, size := g.name(), rapid.IntRange(1, 20).Draw(t, "size")
		return drawn{map[string]any{"type": "fixed", "name": n, "size": size}, n,
			func() any { return rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "fixed") }}
	case 7:
		n, symbols := g.name(), []string{"A", "B", "C"}
		return drawn{map[string]any{"type": "enum", "name": n, "symbols": symbols}, n,
			func() any { return rapid.SampledFrom(symbols).Draw(t, "enum") }}
	case 8:
		return drawn{logical("long", "timestamp-micros"), "long.timestamp-micros", instant(time.Microsecond)}
	case 9:
		return drawn{logical("long", "timestamp-millis"), "long.timestamp-millis", instant(time.Millisecond)}
	case 10:
		return drawn{logical("int", "date"), "int.date", instant(24 * time.Hour)}
	case 11:
		return drawn{logical("int", "time-millis"), "int.time-millis",
			func() any { return time.Duration(rapid.Int64Range(0, 86399999).Draw(t, "ms")) * time.Millisecond }}
	case 12:
		return drawn{logical("long", "time-micros"), "long.time-micros",
			func() any { return time.Duration(rapid.Int64Range(0, 86399999999).Draw(t, "µs")) * time.Microsecond }}
	case 13:
		unit := rapid.SampledFrom([]string{"timestamp-nanos", "local-timestamp-nanos", "local-timestamp-micros"}).Draw(t, "unit")
		return drawn{logical("long", unit), "long", func() any { return rapid.Int64().Draw(t, unit) }} // goavro sees a long
	case 14:
		return drawn{logical("long", "local-timestamp-millis"), "long",
			func() any { return rapid.Int64Range(minMillis, maxMillis).Draw(t, "ms") }}
	case 15:
		return drawn{logical("string", "uuid"), "string", func() any { return rapid.StringMatching("[0-9a-f]{8}-[0-9a-f]{4}").Draw(t, "uuid") }}
	case 16:
		n, kind := g.name(), rapid.SampledFrom([]string{"uuid", "duration"}).Draw(t, "fixed")
		size := map[string]int{"uuid": 16, "duration": 12}[kind]
		return drawn{map[string]any{"type": "fixed", "name": n, "size": size, "logicalType": kind}, n,
			func() any { return rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, kind) }}
	case 17:
		return drawn{map[string]any{"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 4}, "bytes.decimal", g.decimal(30, 4)}
	case 18:
		n := g.name()
		return drawn{map[string]any{"type": "fixed", "name": n, "size": 9, "logicalType": "decimal", "precision": 20, "scale": 20}, n, g.decimal(20, 20)}
	}
	return drawn{"long", "long", func() any { return rapid.Int64().Draw(t, "long") }}
}

func (g *generator) decimal(precision, scale int) func() any {
	return func() any {
		// goavro cannot write zero as a fixed.
		digits := rapid.StringMatching(fmt.Sprintf("-?[1-9][0-9]{0,%d}", precision-1)).Draw(g.t, "digits")
		n, _ := new(big.Int).SetString(digits, 10)
		return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
	}
}

func (g *generator) typ(depth int) drawn {
	t := g.t
	pick := rapid.IntRange(0, 12).Draw(t, "type")
	if depth == 0 || pick < 5 {
		return g.scalar()
	}
	switch pick {
	case 5:
		items := g.typ(depth - 1)
		return drawn{map[string]any{"type": "array", "items": items.schema}, "array", func() any {
			out := make([]any, rapid.IntRange(0, 4).Draw(t, "items"))
			for i := range out {
				out[i] = items.value()
			}
			return out
		}}
	case 6:
		values := g.typ(depth - 1)
		return drawn{map[string]any{"type": "map", "values": values.schema}, "map", func() any {
			out := map[string]any{}
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				out[rapid.OneOf(rapid.SampledFrom(keys), rapid.String()).Draw(t, "key")] = values.value()
			}
			return out
		}}
	case 7, 8, 9:
		return g.union(depth)
	}
	return g.record(depth - 1)
}

func (g *generator) union(depth int) drawn {
	branches := []drawn{{"null", "null", func() any { return nil }}}
	seen := map[string]bool{"null": true}
	for range rapid.IntRange(1, 3).Draw(g.t, "branches") {
		b := g.typ(depth - 1)
		base, _, _ := strings.Cut(b.branch, ".")
		if _, isUnion := b.schema.([]any); isUnion || seen[base] {
			continue
		}
		seen[base] = true
		branches = append(branches, b)
	}
	var list []any
	for _, b := range branches {
		list = append(list, b.schema)
	}
	return drawn{list, "union", func() any {
		b := rapid.SampledFrom(branches).Draw(g.t, "branch")
		if b.branch == "null" {
			return nil
		}
		return goavro.Union(b.branch, b.value())
	}}
}

func (g *generator) record(depth int) drawn {
	n := g.name()
	kids := map[string]drawn{}
	var fields []any
	for i := range rapid.IntRange(1, 5).Draw(g.t, "fields") {
		k, f := g.typ(depth), fmt.Sprintf("x%d", i)
		kids[f] = k
		fields = append(fields, map[string]any{"name": f, "type": k.schema})
	}
	return drawn{map[string]any{"type": "record", "name": n, "fields": fields}, n, func() any {
		out := map[string]any{}
		for i := range fields { // in order: what is drawn must be drawn alike again
			f := fmt.Sprintf("x%d", i)
			out[f] = kids[f].value()
		}
		return out
	}}
}

// S1: on random schemas and data, the projection equals what the oracle reads;
// A1: whether a damaged body is valid does not depend on the projection.
func TestDecodeAgreesWithOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{t: t}
		top := g.record(3)
		text, err := json.Marshal(top.schema)
		if err != nil {
			t.Fatal(err)
		}
		codec, err := goavro.NewCodec(string(text))
		if err != nil {
			t.Fatalf("oracle refuses %s: %v", text, err)
		}
		body, err := codec.BinaryFromNative(nil, top.value())
		if err != nil {
			t.Fatalf("oracle cannot encode with %s: %v", text, err)
		}
		s, err := Parse("random", text)
		if err != nil {
			t.Fatal(err)
		}
		all := s.Paths()
		paths := somePaths(t, s)
		if len(all) > 0 {
			paths = append(paths, rapid.SliceOf(rapid.SampledFrom(all)).Draw(t, "scalars")...) // one may come twice
		}
		compareWithOracle(t, s, codec, paths, body)

		damaged := append([]byte{}, body...)
		if len(damaged) > 0 {
			damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "where")] ^= byte(rapid.IntRange(1, 255).Draw(t, "xor"))
		}
		sameVerdict(t, s, append(all, paths...), damaged)
	})
}

// The reader without a loop gives what encoding/binary does, whatever follows.
func TestVarint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64().Draw(t, "v") >> rapid.IntRange(0, 63).Draw(t, "shift")
		b := binary.AppendVarint(nil, want)
		n := len(b)
		b = append(b, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "tail")...)
		if got, end := varint(b, 0); got != want || end != n {
			t.Fatalf("read %d, %d bytes; want %d, %d", got, end, want, n)
		}
		if _, end := varint(b[:n-1], 0); end != failed(faultShort) {
			t.Fatalf("cut short: %d", end)
		}
	})
}

type tester interface {
	Helper()
	Fatalf(string, ...any)
}

func compareWithOracle(t tester, s *Schema, codec *goavro.Codec, paths []string, body []byte) {
	t.Helper()
	native, rest, err := codec.NativeFromBinary(body)
	if err != nil || len(rest) > 0 {
		t.Fatalf("oracle: %v, %d bytes left", err, len(rest))
	}
	d, err := Compile(s, s, paths, Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	dst := make([]schemas.Value, len(paths))
	for i := range dst {
		dst[i] = schemas.StringValue("left from the record before")
	}
	if err := d.Decode(dst, body); err != nil {
		t.Fatalf("%v", err)
	}
	for i, p := range paths {
		want, typ := schemas.Value{}, FieldType{}
		if typ, err = s.Lookup(p); err != nil {
			t.Fatalf("%v", err)
		}
		if typ.Decimal {
			sameDecimal(t, s, native, p, typ.Scale, dst[i])
			continue
		}
		want = oracle(t, s, native, p)
		nan := want.Kind() == schemas.Double && math.IsNaN(want.Double()) && math.IsNaN(dst[i].Double())
		if !dst[i].Equal(want) && !nan || !want.IsNull() && want.Kind() != typ.Kind || want.IsNull() && !typ.Nullable {
			t.Fatalf("%s (%+v): %v (%v), the oracle has %v (%v)", p, typ, dst[i], dst[i].Kind(), want, want.Kind())
		}
	}
}

// sameDecimal compares the number that our bytes stand for with goavro's.
func sameDecimal(t tester, s *Schema, native any, path string, scale int, got schemas.Value) {
	t.Helper()
	want, _ := oracleNative(t, s, native, path).(*big.Rat)
	if (want == nil) != got.IsNull() || want != nil && want.Cmp(decimalOf(got.Text(), scale)) != 0 {
		t.Fatalf("%s: digits %x, the oracle has %v", path, got.Text(), want)
	}
}

// sameVerdict checks A1 and returns whether the body is valid.
func sameVerdict(t tester, s *Schema, all []string, body []byte) bool {
	t.Helper()
	var verdicts [2]error
	for i, paths := range [][]string{nil, all} {
		d, err := Compile(s, s, paths, Options{})
		if err != nil {
			t.Fatalf("%v", err)
		}
		verdicts[i] = d.Decode(make([]schemas.Value, len(paths)), body)
	}
	if (verdicts[0] == nil) != (verdicts[1] == nil) {
		t.Fatalf("without a projection: %v; with all of it: %v", verdicts[0], verdicts[1])
	}
	return verdicts[0] == nil
}
