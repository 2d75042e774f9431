package integration

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/tallystick/tallystick/integration/oracle"
)

// The end-to-end judge writes Avro by itself: schemas as text, bodies as bytes.

// e2eField is a field of a reader schema.
type e2eField struct {
	name     string
	box      bool // lies within the record "box"
	typ      string
	nullable bool
	alias    string // an older name that the reader schema declares
	def      bool   // has an Avro default that accept_defaults names
	role     string // id, version, time, key: drawn from few values; "" = any
}

func (f *e2eField) path() string {
	if f.box {
		return "box." + f.name
	}
	return f.name
}

var e2eKinds = map[string]oracle.Kind{"int": oracle.Int, "long": oracle.Int, "float": oracle.Double, "double": oracle.Double,
	"string": oracle.String, "enum": oracle.String, "bytes": oracle.Bytes, "boolean": oracle.Bool, "date": oracle.Timestamp,
	"timestamp-millis": oracle.Timestamp, "timestamp-micros": oracle.Timestamp,
	"local-timestamp-millis": oracle.Timestamp, "local-timestamp-micros": oracle.Timestamp}

func (f *e2eField) kind() oracle.Kind { return e2eKinds[f.typ] }

// e2eSymbols are those of the reader's enum.
var e2eSymbols = []string{"NEW", "DONE", "GONE"}

func e2eType(typ string, field int, symbols []string) any {
	switch typ {
	case "enum":
		m := map[string]any{"type": "enum", "name": fmt.Sprint("Sym", field), "symbols": symbols}
		if len(symbols) == len(e2eSymbols) {
			m["default"] = "NEW"
		}
		return m
	case "date":
		return map[string]any{"type": "int", "logicalType": "date"}
	case "timestamp-millis", "timestamp-micros", "local-timestamp-millis", "local-timestamp-micros":
		return map[string]any{"type": "long", "logicalType": typ}
	}
	return typ
}

// e2eColumn is a field as one writer schema has it.
type e2eColumn struct {
	field     int // of the reader; -1 = the reader does not have it
	box       bool
	name, typ string
	nullable  bool
	nullLast  bool
	symbols   []string
	rule      *e2eRule // migrates into field
}

// e2eRule is a migration: text over the writer's fields, and what it yields.
type e2eRule struct {
	text string
	eval func(raw oracle.Val) (oracle.Val, bool) // false = the record is invalid
}

// e2eWriter is a writer schema. Columns within box are neighbours.
type e2eWriter struct {
	id          int
	stem        string // of its file
	columns     []e2eColumn
	boxNullable bool
}

func (w *e2eWriter) column(field int) *e2eColumn {
	for i := range w.columns {
		if w.columns[i].field == field {
			return &w.columns[i]
		}
	}
	return nil
}

func nullableType(t any, nullable, last bool) any {
	switch {
	case !nullable:
		return t
	case last:
		return []any{t, "null"}
	}
	return []any{"null", t}
}

// text is the schema as JSON.
func (w *e2eWriter) text(withID bool) []byte {
	var top, box []any
	boxAt := -1
	for _, c := range w.columns {
		f := map[string]any{"name": c.name, "type": nullableType(e2eType(c.typ, c.field, c.symbols), c.nullable, c.nullLast)}
		if !c.box {
			top = append(top, f)
			continue
		}
		if boxAt < 0 {
			boxAt = len(top)
			top = append(top, nil)
		}
		box = append(box, f)
	}
	if boxAt >= 0 {
		top[boxAt] = map[string]any{"name": "box", "type": nullableType(map[string]any{"type": "record", "name": "Box", "fields": box}, w.boxNullable, false)}
	}
	m := map[string]any{"type": "record", "name": "Ev", "namespace": "com.example", "fields": top}
	if withID {
		m["id"] = w.id
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		panic(err)
	}
	return b
}

// readerText is the reader schema of fields as JSON.
func readerText(fields []e2eField, boxNullable bool) []byte {
	var top, box []any
	for i, f := range fields {
		m := map[string]any{"name": f.name, "type": nullableType(e2eType(f.typ, i, e2eSymbols), f.nullable, false)}
		if f.alias != "" {
			m["aliases"] = []string{f.alias}
		}
		if f.def {
			m["default"] = e2eDefault(&f, true)
		}
		if f.box {
			box = append(box, m)
		} else {
			top = append(top, m)
		}
	}
	if box != nil {
		top = append(top, map[string]any{"name": "box", "type": nullableType(map[string]any{"type": "record", "name": "Box", "fields": box}, boxNullable, false)})
	}
	b, err := json.MarshalIndent(map[string]any{"type": "record", "name": "Ev", "namespace": "com.example", "fields": top}, "", " ")
	if err != nil {
		panic(err)
	}
	return b
}

// e2eDefault is a field's Avro default, as JSON or as the value that it gives.
func e2eDefault(f *e2eField, asJSON bool) any {
	if f.nullable {
		if asJSON {
			return nil
		}
		return oracle.Val{}
	}
	switch f.kind() {
	case oracle.Int:
		if asJSON {
			return 7
		}
		return oracle.Val{Kind: oracle.Int, I: 7}
	case oracle.Double:
		if asJSON {
			return 2.5
		}
		return oracle.Val{Kind: oracle.Double, F: 2.5}
	}
	if asJSON {
		return "?"
	}
	return oracle.Val{Kind: oracle.String, S: "?"}
}

// raise turns what a writer of type from wrote into what a reader of type to
// sees, by Avro's promotions; false where it cannot be told.
func raise(v oracle.Val, from, to string) (oracle.Val, bool) {
	if v.Kind == oracle.Null {
		return v, true
	}
	out := oracle.Val{Kind: e2eKinds[to], I: v.I, S: v.S}
	switch {
	case out.Kind == oracle.Double && v.Kind == oracle.Int:
		if out.I = 0; to == "float" {
			out.F = float64(float32(v.I))
		} else {
			out.F = float64(v.I)
		}
	case out.Kind == oracle.Double:
		out.F = v.F + 0 // V2: -0 becomes +0
	case from == "timestamp-millis" || from == "local-timestamp-millis":
		if out.I = v.I * 1000; out.I/1000 != v.I {
			return v, false
		}
	case from == "date":
		out.I = v.I * day
	case to == "enum":
		found := false
		for _, s := range e2eSymbols {
			found = found || s == v.S
		}
		if !found {
			out.S = "NEW" // the reader enum's default
		}
	}
	return out, true
}

// lower finds what a writer of type to writes for the value v of a reader of
// type from; false where none does.
func lower(v oracle.Val, c *e2eColumn, from string) (oracle.Val, bool) {
	if v.Kind == oracle.Null {
		return v, c.nullable
	}
	raw := oracle.Val{Kind: e2eKinds[c.typ], I: v.I, F: v.F, S: v.S}
	switch {
	case raw.Kind == oracle.Int && v.Kind == oracle.Double:
		if math.Abs(v.F) > 1<<30 || math.IsNaN(v.F) {
			return v, false
		}
		raw.I, raw.F = int64(v.F), 0
	case c.typ == "timestamp-millis", c.typ == "local-timestamp-millis":
		raw.I = v.I / 1000
	case c.typ == "date":
		raw.I = v.I / day
	case c.typ == "float":
		raw.F = float64(float32(v.F))
	}
	if c.typ == "int" && raw.I != int64(int32(raw.I)) || c.typ == "enum" && !strings.Contains(strings.Join(c.symbols, " "), v.S) {
		return v, false
	}
	up, ok := raise(raw, c.typ, from)
	return raw, ok && sameVal(up, v)
}

func sameVal(a, b oracle.Val) bool {
	return a.Kind == b.Kind && a.I == b.I && a.S == b.S && math.Float64bits(a.F) == math.Float64bits(b.F)
}

// encode writes a body: raws are by column; a null box is one null.
func (w *e2eWriter) encode(raws []oracle.Val, boxNull bool) []byte {
	b := []byte{0}
	b = binary.BigEndian.AppendUint32(b, uint32(w.id))
	boxed := false
	for i := range w.columns {
		c := &w.columns[i]
		if c.box && !boxed && w.boxNullable {
			boxed = true
			b = binary.AppendVarint(b, map[bool]int64{true: 0, false: 1}[boxNull])
		}
		if c.box && boxNull {
			continue
		}
		b = c.append(b, raws[i])
	}
	return b
}

func (c *e2eColumn) append(b []byte, v oracle.Val) []byte {
	if c.nullable {
		null := v.Kind == oracle.Null
		b = binary.AppendVarint(b, map[bool]int64{true: 0, false: 1}[null != c.nullLast])
		if null {
			return b
		}
	}
	switch c.typ {
	case "float":
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v.F)))
	case "double":
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.F))
	case "boolean":
		return append(b, byte(v.I))
	case "string", "bytes":
		return append(binary.AppendVarint(b, int64(len(v.S))), v.S...)
	case "enum":
		for i, s := range c.symbols {
			if s == v.S {
				return binary.AppendVarint(b, int64(i))
			}
		}
		panic("no symbol " + v.S)
	}
	return binary.AppendVarint(b, v.I)
}

// drawRaw draws what a column of that type may hold, -0 and what is not finite
// among it where wild.
func drawRaw(r *rand.Rand, c *e2eColumn, role string, wild bool, now int64) oracle.Val {
	v := oracle.Val{Kind: e2eKinds[c.typ]}
	if c.nullable && r.IntN(5) == 0 {
		return oracle.Val{}
	}
	few := role == "key"
	switch c.typ {
	case "int", "long":
		v.I = pick[int64](r, 0, 1, -1, 2, 7, 100, -1000003, int64(r.IntN(5000)))
		if few {
			v.I = int64(r.IntN(3))
		} else if wild && r.IntN(4) == 0 {
			v.I = pick[int64](r, math.MaxInt32, math.MinInt32)
			if c.typ == "long" {
				v.I = pick[int64](r, math.MaxInt64, math.MinInt64, 1<<62, 1<<53+1)
			}
		}
	case "float", "double":
		v.F = pick(r, 0, 0.1, 0.2, -0.3, 1.5, 1e16, -1e16, 1, float64(r.IntN(50000))/100, r.NormFloat64(), math.Copysign(0, -1))
		if wild && r.IntN(4) == 0 {
			v.F = pick(r, 1e308, 1e308, -1e308, math.MaxFloat64, 5e-324, 1e-200, math.NaN(), math.Inf(1), math.Inf(-1))
		}
		if c.typ == "float" {
			v.F = float64(float32(v.F))
		}
	case "boolean":
		v.I = int64(r.IntN(2))
	case "string":
		v.S = pick(r, "", "a", "aa", "b", "é", "日本", "x\ny", `q"u,o'te`, "a-b", fmt.Sprint("s", r.IntN(40)))
		if few {
			v.S = pick(r, "", "JFK", "é,\"ü\"")
		}
	case "bytes":
		v.S = pick(r, "", "\x00", "\xff", "\x00\x01", "abc")
	case "enum":
		v.S = pick(r, c.symbols...)
	default:
		return drawInstant(r, c.typ, few, now)
	}
	return v
}

func drawInstant(r *rand.Rand, typ string, few bool, now int64) oracle.Val {
	v := oracle.Val{Kind: oracle.Timestamp, I: now/hour*hour - pick[int64](r, 0, 1, hour, 30*day, int64(r.IntN(1e9))*977)}
	if few {
		v.I = int64(r.IntN(2)) * 365 * day
	}
	switch typ {
	case "date":
		v.I /= day
	case "timestamp-millis", "local-timestamp-millis":
		v.I /= 1000
	}
	return v
}
