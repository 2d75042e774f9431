package offline

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// BenchmarkTables writes tiles and features from two goroutines, 30 days of 64
// bytes of cells, and publishes them; b.N counts entities of 60 rows.
func BenchmarkTables(b *testing.B) {
	v := testView(b, testDefinition)
	tables := openTables(b, b.TempDir(), v)
	w, err := tables.NewWriter(context.Background(), RunOptions{SpillDir: b.TempDir(), Memory: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	cells := string(make([]byte, 64))
	results := make([]transforms.Result, len(v.Spec.Features))
	for i := range results {
		results[i].Status = transforms.IsNull
	}
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			for i := g; i < b.N; i += 2 {
				entity := transforms.EncodeEntity(nil, schemas.StringValue(fmt.Sprint("user-", i)), schemas.IntValue(int64(i)))
				shard := transforms.EntityShard(entity, v.Spec.Shards)
				for d := range 30 {
					at := epoch + schemas.Micros(d)*schemas.Day
					if err := w.Tile(rows.Tile{Shard: shard, Partition: int32(i % 4), Entity: entity, Tile: transforms.Tile{Hop: schemas.Day, Start: at, Events: 1, Cells: cells}}); err != nil {
						b.Error(err)
					}
					if err := w.Feature(rows.Feature{Shard: shard, Entity: entity, Boundary: at, Results: results}); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	s, err := w.Stage(context.Background(), testCut(5))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Publish(context.Background(), Publication{Mode: ReplaceTable}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(60*b.N)/b.Elapsed().Seconds(), "rows/s")
}
