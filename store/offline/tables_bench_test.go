package offline

import (
	"context"
	"fmt"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// BenchmarkTables stages tiles and features, 30 days of 64 bytes of cells, and
// publishes them; b.N counts entities of 60 rows.
func BenchmarkTables(b *testing.B) {
	v := testView(b, testDefinition)
	tables := openTables(b, b.TempDir(), v)
	to, err := newRun(b, tables, stageOptions{})
	if err != nil {
		b.Fatal(err)
	}
	cells := string(make([]byte, 64))
	results := make([]transforms.Result, len(v.Spec.Features))
	for i := range results {
		results[i].Status = transforms.IsNull
	}
	r := &run{}
	for i := range b.N {
		entity := transforms.EncodeEntity(nil, schemas.StringValue(fmt.Sprint("user-", i)), schemas.IntValue(int64(i)))
		shard := transforms.EntityShard(entity, v.Spec.Shards)
		for d := range 30 {
			at := epoch + schemas.Micros(d)*schemas.Day
			r.tiles = append(r.tiles, rows.Tile{Shard: shard, Partition: int32(i % 4), Entity: entity, Tile: transforms.Tile{Hop: schemas.Day, Start: at, Events: 1, Cells: cells}})
			r.features = append(r.features, rows.Feature{Shard: shard, Entity: entity, Boundary: at, Results: results})
		}
	}
	r = r.sorted()
	b.ResetTimer()
	s, err := r.stageTo(b.Context(), to, stageOptions{memory: 64 << 20, end: 5})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Publish(context.Background(), Publication{Mode: ReplaceTable}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(60*b.N)/b.Elapsed().Seconds(), "rows/s")
}
