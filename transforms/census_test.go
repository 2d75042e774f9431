package transforms_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

const censusSchema = `{"type":"record","name":"e","fields":[{"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"k","type":"string"},{"name":"x","type":["null","double"]},{"name":"s","type":["null","string"]}]}`

// B6: Taken counts per cell what was neither null nor filtered, tile by tile.
func TestTakenInputs(t *testing.T) {
	def := testbed.View(t, `
sources: {e: {schema: e.avsc, event_time: time}}
views:
  v:
    source: e
    entity: {k: string}
    features:
      n:     {count: "*", over: 6h}
      big:   {count: "*", where: x > 5.0, over: 6h}
      mean:  {mean: x, over: [6h, 2d]}
      sum:   {sum: x, over: 6h}
      q:     {quantile: x, q: 0.5, over: 6h}
      least: {min: x, over: 6h}
      last:  {last: s, over: 6h}
      few:   {count_distinct: s, over: 6h}
`, censusSchema)
	v, err := transforms.NewView(def.Spec)
	if err != nil {
		t.Fatal(err)
	}
	intake := v.NewIntake()
	taken := make([]int64, intake.Len())
	s, in := v.NewState(0), v.NewInput()
	at := map[string]int{}
	for i, p := range def.Source.Paths {
		at[p] = i
	}
	for i := range 100 { // within two tiles of 5 min, two of the 1 h level; nulls: x each fifth, s each other
		clock := schemas.Micros(i/50)*schemas.Hour + schemas.Micros(i%50)*schemas.Second
		e := &schemas.Event{Offset: int64(i), Clock: clock, EventTime: clock, Fields: make([]schemas.Value, len(def.Source.Paths))}
		for path, value := range map[string]schemas.Value{"time": schemas.TimestampValue(clock), "k": schemas.StringValue("k"), "x": schemas.DoubleValue(float64(i % 10)), "s": schemas.StringValue(fmt.Sprint(i % 3))} {
			if slot, ok := at[path]; ok && !(path == "x" && i%5 == 0) && !(path == "s" && i%2 == 0) {
				e.Fields[slot] = value
			}
		}
		v.Prepare(in, e)
		if r := v.Step(s, in); r.Outcome != transforms.Applied {
			t.Fatalf("event %d is %v", i, r.Outcome)
		}
		intake.Add(taken, in)
	}
	cells, n, tiles := v.Cells(), make([]int64, len(v.Cells())), 0
	for _, tile := range v.Tiles(s, schemas.Forever) {
		if !v.Taken(n, &tile) {
			t.Fatalf("the tile of %v does not decode", tile.Start)
		}
		before := slices.Clone(n)
		tile.Events++
		if v.Taken(n, &tile) {
			t.Error("a tile with another count is taken")
		}
		tile.Events, tile.Cells = tile.Events-1, tile.Cells[:len(tile.Cells)-1]
		if v.Taken(n, &tile) || v.Taken(n, &transforms.Tile{Hop: 1}) || !slices.Equal(before, n) {
			t.Error("a broken tile is taken")
		}
		tiles++
	}
	want := map[string]int64{"big_6h": 40, "mean_6h": 80, "mean_2d": 80, "sum_6h": 80, "q_6h": 80, "least_6h": 2, "last_6h": 2, "few_6h": 6}
	seen := 0
	for i, c := range cells {
		for _, f := range c.Features {
			name := v.Spec().Features[f].Name
			seen++
			if n[i] != want[name] || c.PerTile != (name == "least_6h" || name == "last_6h") {
				t.Errorf("%s took %d inputs, want %d; one per tile: %v", name, n[i], want[name], c.PerTile)
			}
			// Event by event the same, where a cell counts every input.
			counts := want[name] > 6
			if at := intake.Count(i); counts != (at >= 0) || counts && taken[at] != want[name] {
				t.Errorf("%s: the events had %v inputs, count %d; want %d", name, taken, at, want[name])
			}
		}
	}
	if seen != len(want) || tiles != 4 {
		t.Errorf("%d features read the cells of %d tiles", seen, tiles)
	}
}
