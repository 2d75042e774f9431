package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

const cellSchema = `{"type":"record","name":"order","fields":[{"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"shop","type":"string"},{"name":"amount","type":"double"},{"name":"items","type":"long"},{"name":"name","type":"string"}]}`

// TestDocsCells gives the events of docs/formats.md to every aggregation of its
// table, and compares the bytes of the cell.
func TestDocsCells(t *testing.T) {
	d := newDocument(t, "formats.md")
	events := d.table("offset | time | amount | items | name |")
	seen := map[string]bool{}
	for _, row := range d.table("feature | cell |") {
		name, _, _ := strings.Cut(strings.TrimPrefix(row[0], "{"), ":")
		seen[name] = true
		d.isBytes(row[0], d.hex(row[1]), d.cell(row[0], events))
	}
	for _, name := range transforms.AggregationNames() {
		if !seen[name] {
			d.Errorf("the page shows no cell of %s", name)
		}
	}
}

// cell folds the events into a view of that one feature, and returns what its
// tile holds behind the event count.
func (d *document) cell(feature string, events [][]string) []byte {
	d.Helper()
	return d.cells("f: "+strings.Replace(feature, "}", ", over: 1h}", 1), events)
}

func (d *document) cells(features string, events [][]string) []byte {
	d.Helper()
	def := testbed.View(d.T, `
sources: {orders: {schema: order.avsc, event_time: time}}
views:
  v: {source: orders, entity: {shop: string}, features: {`+features+`}}
`, cellSchema)
	v, err := transforms.NewView(def.Spec)
	if err != nil {
		d.Fatal(err)
	}
	s, in := v.NewState(3), v.NewInput()
	for _, row := range events {
		offset, _ := strconv.ParseInt(row[0], 10, 64)
		amount, _ := strconv.ParseFloat(row[2], 64)
		items, _ := strconv.ParseInt(row[3], 10, 64)
		at := d.instantOf(row[1])
		fields := map[string]schemas.Value{"time": schemas.TimestampValue(at), "shop": schemas.StringValue("s1"), "amount": schemas.DoubleValue(amount),
			"items": schemas.IntValue(items), "name": schemas.StringValue(row[4])}
		e := &schemas.Event{Partition: 3, Offset: offset, Timestamp: at, Clock: at, EventTime: at}
		for _, p := range def.Source.Paths {
			e.Fields = append(e.Fields, fields[p])
		}
		v.Prepare(in, e)
		if r := v.Step(s, in); r.Outcome != transforms.Applied {
			d.Fatalf("offset %d is %v: %s", offset, r.Outcome, r.Reason)
		}
	}
	tiles := v.Tiles(s, schemas.Forever)
	if len(tiles) != 1 || tiles[0].Events != int64(len(events)) || tiles[0].Cells[0] != byte(len(events)) {
		d.Fatalf("%s: tiles %+v", features, tiles)
	}
	return []byte(tiles[0].Cells[1:])
}

// TestDocsValues compares the canonical encodings, the hash and the shards that
// docs/formats.md shows.
func TestDocsValues(t *testing.T) {
	d := newDocument(t, "formats.md")
	values := map[string]schemas.Value{"null": {}, "bool true": schemas.BoolValue(true), "int 42": schemas.IntValue(42), "int -1": schemas.IntValue(-1),
		"double 0.5": schemas.DoubleValue(0.5), "string s1": schemas.StringValue("s1"), "bytes 00 ff": schemas.BytesValue("\x00\xff"),
		"timestamp 1970-01-01T00:00:01Z": schemas.TimestampValue(1_000_000), "list of int 1, 2": schemas.ListValue([]schemas.Value{schemas.IntValue(1), schemas.IntValue(2)})}
	for _, row := range d.table("value | encoding |") {
		v, ok := values[row[0]]
		if !ok {
			d.Errorf("the test knows no value %q", row[0])
		}
		delete(values, row[0])
		d.isBytes(row[0], d.hex(row[1]), v.Append(nil))
		if back, n := schemas.ParseValue(d.hex(row[1])); back != v || n != len(d.hex(row[1])) {
			d.Errorf("%s reads as %v", row[0], back)
		}
	}
	if len(values) > 0 {
		d.Errorf("the page does not show %v", values)
	}
	for _, row := range d.table("entity | XXH64 |") {
		e := d.hex(row[0])
		d.is("the hash of "+row[0], row[1]+" "+row[2], fmt.Sprintf("%016x %d", transforms.HashBytes(e), transforms.EntityShard(e, 16)))
	}
	for i, k := range []schemas.Kind{schemas.Null, schemas.Bool, schemas.Int, schemas.Double, schemas.String, schemas.Bytes, schemas.Timestamp, schemas.List} {
		if !slices.ContainsFunc(d.table("tag | kind |"), func(r []string) bool { return r[0] == fmt.Sprintf("%02x", i) && r[1] == k.String() }) {
			d.Errorf("the tag of %v is not shown", k)
		}
	}
}

// TestDocsCellOrder compares the order of families in docs/formats.md with that
// of the cells of a tile.
func TestDocsCellOrder(t *testing.T) {
	d := newDocument(t, "formats.md")
	events := d.table("offset | time | amount | items | name |")
	byFamily := map[string]string{}
	for _, row := range d.table("feature | cell |") {
		name, _, _ := strings.Cut(strings.TrimPrefix(row[0], "{"), ":")
		for _, f := range d.table("family | of |") {
			of := strings.ReplaceAll(f[1], "*", "")
			for _, n := range strings.Split(of, ", ") {
				if n == name || strings.HasSuffix(n, "_") && strings.HasPrefix(name, n) {
					byFamily[f[0]] = row[0]
				}
			}
		}
	}
	var want []byte
	var features []string
	for i, f := range d.table("family | of |") {
		one, ok := byFamily[f[0]]
		if !ok {
			t.Fatalf("no cell of family %s is shown", f[0])
		}
		want = append(want, d.cell(one, events)...)
		features = append([]string{fmt.Sprintf("f%d: %s", i, strings.Replace(one, "}", ", over: 1h}", 1))}, features...)
	}
	d.isBytes("the order of cells", want, d.cells(strings.Join(features, ", "), events))
}

// TestDocsOld compares the two parts of a state with old tiles that docs/formats.md
// shows, and the numbers that go with them.
func TestDocsOld(t *testing.T) {
	d := newDocument(t, "formats.md")
	def := testbed.View(t, `
sources: {orders: {schema: order.avsc, event_time: time}}
views:
  v: {source: orders, entity: {shop: string}, features: {n: {count: "*", over: 1h}}}
`, cellSchema)
	v, err := transforms.NewView(def.Spec)
	if err != nil {
		t.Fatal(err)
	}
	s, in := v.NewState(0), v.NewInput()
	for i := range int64(33) {
		at := schemas.Micros(i) * 5 * schemas.Minute
		e := &schemas.Event{Offset: i, Timestamp: at, Clock: at, EventTime: at, Fields: make([]schemas.Value, len(def.Source.Paths))}
		e.Fields[slices.Index(def.Source.Paths, "shop")] = schemas.StringValue("s1")
		v.Prepare(in, e)
		if v.Step(s, in); i < 32 && len(v.AppendOld(nil, s)) > 0 {
			t.Errorf("tiles are old after offset %d", i)
		}
	}
	d.isBytes("a served part beside an old one", d.bytes("bytes recent"), v.AppendServed(nil, s))
	d.isBytes("an old part", d.bytes("bytes old"), v.AppendOld(nil, s))
	if _, err := v.Parse(transforms.Parts{Served: d.bytes("bytes recent"), Old: d.bytes("bytes old")}); err != nil {
		t.Error(err)
	}
}

// TestDocsTable compares the state of a table that docs/formats.md shows: offset 3
// is before its clock, offset 4 ahead of it.
func TestDocsTable(t *testing.T) {
	d := newDocument(t, "formats.md")
	def := testbed.View(t, `
sources: {accounts: {kind: table, key: string, schema: account.avsc, event_time: at}}
views:
  v: {source: accounts, entity: {account: string}, features: {status: {last: status}}}
`, accountSchema)
	v, err := transforms.NewView(def.Spec)
	if err != nil {
		t.Fatal(err)
	}
	s, in := v.NewState(0), v.NewInput()
	for i, status := range []string{"open", "shut"} {
		clock := schemas.KafkaMillis(int64(1+i) * 1000)
		e := &schemas.Event{Offset: int64(3 + i), Timestamp: clock, Clock: clock, EventTime: schemas.Micros(1+2*i) * schemas.Second,
			Key: []schemas.Value{schemas.StringValue("s1")}, Fields: make([]schemas.Value, len(def.Source.Paths))}
		e.Fields[slices.Index(def.Source.Paths, "status")] = schemas.StringValue(status)
		v.Prepare(in, e)
		v.Step(s, in)
	}
	d.isBytes("the state of a table", d.bytes("bytes table"), v.AppendServed(nil, s))
}
