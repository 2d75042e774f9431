package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/rows"
)

const testSchema = `{"type":"record","name":"E","fields":[
 {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"usr","type":"string"},{"name":"num","type":"long"},
 {"name":"amount","type":["null","double"]},{"name":"city","type":["null","string"]},{"name":"ok","type":"boolean"}]}`

const testDefinition = `
sources:
  e: {topic: e, schema: e.avsc, event_time: at}
views:
  v:
    source: e
    shards: 4
    entity: {user: {type: string, field: usr}, shop: {type: int, field: num}}
    features:
      n: {count: "*", over: 24h}
      total: {sum: amount, over: 24h}
      city: {last: city, over: 7d}
      okay: {last: ok, over: 7d}
      seen: {last: at, over: 7d}
`

func testView(t testing.TB, text string) *definition.View {
	t.Helper()
	d, err := definition.Parse("f.yaml", []byte(text), func(string) ([]byte, error) { return []byte(testSchema), nil })
	if err != nil {
		t.Fatal(err)
	}
	return d.Views[0]
}

// run is what one replay hands to the tables.
type run struct {
	features   []rows.Feature
	tiles      []rows.Tile
	open       []rows.Open
	quarantine []rows.Quarantined
}

var epoch = schemas.Micros(1_767_225_600_000_000) // 2026-01-01

func randomRun(v *definition.View, seed uint64, entities int) *run {
	r := rand.New(rand.NewPCG(seed, 7))
	out := &run{}
	text := func() string { return strings.Repeat("ü/%'\x01", r.IntN(3)) }
	for i := range entities {
		entity := transforms.EncodeEntity(nil, schemas.StringValue(fmt.Sprint("u", i, text())), schemas.IntValue(int64(r.IntN(3)-1)))
		shard := transforms.EntityShard(entity, v.Spec.Shards)
		for d := range 1 + r.IntN(3) {
			values := []schemas.Value{schemas.IntValue(r.Int64()), schemas.DoubleValue(r.NormFloat64()), schemas.StringValue(text()),
				schemas.BoolValue(r.IntN(2) == 0), schemas.TimestampValue(epoch + schemas.Micros(r.IntN(1e9)))}
			row := rows.Feature{Shard: shard, Entity: entity, Boundary: epoch + schemas.Micros(d)*schemas.Day, Final: d == 0}
			for _, x := range values {
				res := transforms.Result{Value: x, Status: transforms.Present}
				if r.IntN(3) == 0 {
					res = transforms.Result{Status: transforms.Status(r.IntN(int(transforms.Incomplete) + 1))}
				}
				row.Results = append(row.Results, res)
			}
			out.features = append(out.features, row)
		}
		for p := range int32(2) {
			for h := range 1 + r.IntN(40) {
				out.tiles = append(out.tiles, rows.Tile{Shard: shard, Partition: p, Entity: entity, Tile: transforms.Tile{Hop: schemas.Hour, Start: epoch - schemas.Day + schemas.Micros(h)*schemas.Hour,
					Events: int64(r.IntN(5)), Cells: text() + "\x00"}})
			}
			o := rows.Open{Shard: shard, Partition: p, Entity: entity, Served: []byte("served" + text())}
			for h := range r.IntN(3) {
				o.Open = append(o.Open, transforms.Open{Hour: int64(h) + 490896, Data: []byte(text())})
			}
			if r.IntN(2) == 0 {
				o.Waiting = []transforms.Tile{{Hop: schemas.Day, Start: epoch - schemas.Day, Events: 1, Cells: "w"}}
			}
			out.open = append(out.open, o)
		}
		out.quarantine = append(out.quarantine, rows.Quarantined{At: schemas.Position{TopicID: "topic", Partition: int32(i % 2), Offset: int64(i)}, Timestamp: schemas.Never, Clock: epoch + schemas.Micros(i)*schemas.Hour,
			EventTime: schemas.Never, Outcome: transforms.Late, Reason: "late\xff", Value: []byte("v")})
	}
	return out
}

func testCut(end int64) schemas.TopicCut {
	clock := epoch + schemas.Micros(end)*schemas.Hour
	return schemas.TopicCut{TopicID: "topic", Partitions: map[int32]schemas.PartitionCut{0: {End: end, Clock: &clock}, 1: {End: end}}}
}

type publishOptions struct {
	memory int
	seed   uint64
	mode   Mode
	end    int64
	dates  *DateRange
}

func (r *run) publish(t testing.TB, tables *Tables, o publishOptions) (map[TableName]int64, error) {
	t.Helper()
	ctx := context.Background()
	to, s, err := r.stage(ctx, t, tables, stageOptions{memory: o.memory, seed: o.seed, end: o.end})
	if err != nil {
		return nil, err
	}
	defer to.Clean(ctx)
	if o.mode == "" {
		o.mode = ReplaceTable
	}
	return s.Publish(ctx, Publication{Mode: o.mode, Topic: "e", Dates: o.dates, Ledgers: []rows.Ledger{{Shard: 1, Ledger: transforms.Ledger{Applied: 3}}, {Shard: 0}}})
}

func openTables(t testing.TB, root string, v *definition.View) *Tables {
	t.Helper()
	tables, err := OpenTables(root, v)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// readBack reads a publication in full.
func readBack(t testing.TB, tables *Tables) *run {
	t.Helper()
	ctx := context.Background()
	p, err := tables.Published(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out := &run{}
	for x, err := range p.Features(ctx, Select{}) {
		if err != nil {
			t.Fatal(err)
		}
		out.features = append(out.features, x)
	}
	for x, err := range p.Tiles(ctx, Select{}) {
		if err != nil {
			t.Fatal(err)
		}
		out.tiles = append(out.tiles, x)
	}
	for x, err := range p.Open(ctx, Select{}) {
		if err != nil {
			t.Fatal(err)
		}
		out.open = append(out.open, x)
	}
	return out
}

// sorted puts the rows into the order in which readers get them.
func (r *run) sorted() *run {
	out := &run{features: slices.Clone(r.features), tiles: slices.Clone(r.tiles), open: slices.Clone(r.open)}
	less := func(s1, s2 int, e1, e2 []byte, rest bool) bool {
		if s1 != s2 {
			return s1 < s2
		}
		if c := bytes.Compare(e1, e2); c != 0 {
			return c < 0
		}
		return rest
	}
	sort.SliceStable(out.features, func(i, j int) bool {
		a, b := out.features[i], out.features[j]
		return less(a.Shard, b.Shard, a.Entity, b.Entity, a.Boundary < b.Boundary)
	})
	sort.SliceStable(out.tiles, func(i, j int) bool {
		a, b := out.tiles[i], out.tiles[j]
		return less(a.Shard, b.Shard, a.Entity, b.Entity, a.Partition < b.Partition || a.Partition == b.Partition && a.Tile.Start < b.Tile.Start)
	})
	sort.SliceStable(out.open, func(i, j int) bool {
		a, b := out.open[i], out.open[j]
		return less(a.Shard, b.Shard, a.Entity, b.Entity, a.Partition < b.Partition)
	})
	return out
}

func (r *run) String() string { return fmt.Sprint(r.features, r.tiles, r.open) }

// What is published is read, in order, whatever the memory and goroutines.
func TestTablesRoundTrip(t *testing.T) {
	v := testView(t, testDefinition)
	for seed := range uint64(8) {
		r := randomRun(v, seed, int(1+seed*20))
		tables := openTables(t, t.TempDir(), v)
		if _, err := r.publish(t, tables, publishOptions{memory: 1, seed: seed, end: 5}); err != nil {
			t.Fatal(err)
		}
		got, want := readBack(t, tables), r.sorted()
		if !reflect.DeepEqual(got.features, want.features) || !reflect.DeepEqual(got.tiles, want.tiles) || got.String() != want.String() {
			t.Fatalf("seed %d: read\n%v\nwant\n%v", seed, got, want)
		}
	}
}

// tree returns the files below root but for _staging, with their bytes.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		if !strings.Contains(rel, staging) {
			out[rel] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// B1: names, files and logs depend on the rows, not on memory, goroutines or
// the order in which the rows come; nor does a rerun change a thing (B4).
func TestTablesDeterministic(t *testing.T) {
	v := testView(t, testDefinition)
	r := randomRun(v, 1, 150)
	var want map[string]string
	for i, o := range []publishOptions{{memory: 64 << 20}, {memory: 1, seed: 5}, {memory: 1 << 20, seed: 6}} {
		root := t.TempDir()
		o.end = 5
		tables := openTables(t, root, v)
		first, err := r.publish(t, tables, o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.publish(t, tables, o)
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Errorf("a rerun: %v %v, first %v", again, err, first)
		}
		got := tree(t, root)
		if i == 0 {
			want = got
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: other files", o)
		}
	}
	if len(want) < 10 {
		t.Errorf("%d files", len(want))
	}
}

// B6: the primary key is unique.
func TestDuplicateRow(t *testing.T) {
	v := testView(t, testDefinition)
	r := randomRun(v, 1, 5)
	r.tiles = append(r.tiles, r.tiles[3])
	_, err := r.publish(t, openTables(t, t.TempDir(), v), publishOptions{})
	var d *DuplicateError
	if !errors.As(err, &d) || d.Table != "tiles" {
		t.Errorf("%v", err)
	}
}

func TestModes(t *testing.T) {
	v := testView(t, testDefinition)
	tables := openTables(t, t.TempDir(), v)
	a, b := randomRun(v, 1, 30), randomRun(v, 2, 30)
	publish := func(r *run, o publishOptions) {
		t.Helper()
		if _, err := r.publish(t, tables, o); err != nil {
			t.Fatal(err)
		}
	}
	publish(a, publishOptions{end: 1})
	publish(b, publishOptions{end: 2})
	if got := readBack(t, tables); got.String() != b.sorted().String() {
		t.Error("replace table leaves rows")
	}
	// The third day of features and only it is written again.
	day := dayOf(epoch) + 2
	one := &run{}
	for _, f := range a.features {
		if dayOf(f.Boundary) == day {
			one.features = append(one.features, f)
		}
	}
	want := &run{features: slices.Clone(one.features), tiles: b.tiles}
	for _, f := range b.features {
		if dayOf(f.Boundary) != day {
			want.features = append(want.features, f)
		}
	}
	publish(one, publishOptions{end: 50, mode: ReplaceDates})
	if got := readBack(t, tables); fmt.Sprint(got.features) != fmt.Sprint(want.sorted().features) || len(got.tiles) != len(b.tiles) || len(got.open) != 0 {
		t.Error("replace dates gives other rows")
	}
	publish(&run{}, publishOptions{end: 51, mode: ReplaceDates, dates: &DateRange{dateText(day), dateText(day)}})
	if got := readBack(t, tables); len(got.features) != len(want.features)-len(one.features) {
		t.Error("an empty date stays")
	}
	publish(one, publishOptions{end: 52, mode: AppendFiles})
	if got := readBack(t, tables); len(got.features) != len(want.features) {
		t.Error("append")
	}
	other := testView(t, strings.Replace(testDefinition, "n: {count", "m: {count", 1))
	if _, err := one.publish(t, openTables(t, filepath.Dir(filepath.Dir(storeDir(tables))), other), publishOptions{mode: AppendFiles}); err == nil || !strings.Contains(err.Error(), "replay from scratch") {
		t.Errorf("another definition: %v", err)
	}
	changed := openTables(t, filepath.Dir(filepath.Dir(storeDir(tables))), other)
	if _, err := one.publish(t, changed, publishOptions{mode: ReplaceTable, end: 60}); err != nil {
		t.Error(err)
	}
	if got := readBack(t, changed); len(got.features) != len(one.features) {
		t.Error("a new schema does not take the table's place")
	}
}

func storeDir(t *Tables) string { return t.tables[Features].store.(*Local).root }

func TestCheckView(t *testing.T) {
	v := testView(t, strings.Replace(strings.Replace(testDefinition, "shop:", "boundary:", 1), "user:", "entity:", 1))
	err := CheckView(v)
	if err == nil || !strings.Contains(err.Error(), `"boundary"`) || !strings.Contains(err.Error(), `"entity"`) {
		t.Errorf("%v", err)
	}
}

func TestNothingPublished(t *testing.T) {
	_, err := openTables(t, t.TempDir(), testView(t, testDefinition)).Published(context.Background())
	if !errors.Is(err, ErrNothingPublished) {
		t.Error(err)
	}
}

func TestDiskLimit(t *testing.T) {
	v := testView(t, testDefinition)
	o := stageOptions{memory: 1, disk: spill.NewDisk(1000), id: "r", work: NewScratch(t.TempDir())}
	to, err := newRun(t, openTables(t, t.TempDir(), v), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := randomRun(v, 1, 300).write(t.Context(), to, o); !errors.Is(err, spill.ErrDisk) {
		t.Errorf("%v", err)
	}
	if left, err := o.work.List(t.Context(), "r"); err != nil || len(left) > 0 {
		t.Errorf("rows stay: %v, %v", left, err)
	}
}

func TestQuarantineFile(t *testing.T) {
	v := testView(t, testDefinition)
	rows := randomRun(v, 3, 500).quarantine
	var want []byte
	for i := range 2 {
		path := filepath.Join(t.TempDir(), "q.parquet")
		w := QuarantineFile(files.OS{}, path, 1)
		for _, q := range rows {
			if err := w.Quarantine(q); err != nil {
				t.Fatal(err)
			}
		}
		info, err := w.Close(t.Context())
		if err != nil || info.Rows != 500 {
			t.Fatalf("%v %v", info, err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && !bytes.Equal(b, want) {
			t.Error("other bytes")
		}
		want = b
		slices.Reverse(rows)
		r, err := ReadFile(path, "source_partition", "offset", "outcome", "reason", "event_time", "key")
		if err != nil {
			t.Fatal(err)
		}
		row, err := r.Next()
		if err != nil || fmt.Sprint(row) != "[0 0 late late\ufffd null null]" {
			t.Errorf("%v %v", row, err)
		}
		r.Close()
		if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
			t.Errorf("%d files beside", len(files))
		}
	}
}
