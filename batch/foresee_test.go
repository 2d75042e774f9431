package batch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

const foreseenDefinition = `sources:
  ev: {schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, lateness: 1h}
views:
  v:
    source: ev
    entity: {k: string}
    shards: 4
    snapshots: %s
    features:
      n: {count: "*", over: [1h, %s]}
`

// noRows drops rows.
type noRows struct{}

func (noRows) Feature(rows.Feature) error        { return nil }
func (noRows) Tile(rows.Tile) error              { return nil }
func (noRows) Open(rows.Open) error              { return nil }
func (noRows) Quarantine(rows.Quarantined) error { return nil }

// B3: the rows of tables are foretold to a factor of two, whether a few entities have
// most events or each has as many, and where partitions share their entities.
func TestRowsAreForeseen(t *testing.T) {
	const records, days = 100_000, 10
	r := rand.New(rand.NewPCG(7, 7))
	zipf := rand.NewZipf(r, 1.1, 1, 5_000)
	for name, draw := range map[string]func() uint64{
		"skewed": zipf.Uint64,
		"even":   func() uint64 { return r.Uint64N(8_000) },
		"few":    func() uint64 { return r.Uint64N(3) },
		"new":    r.Uint64, // none comes twice
		"hot": func() uint64 { // one has half of all events
			return zipf.Uint64() * r.Uint64N(2)
		},
	} {
		for i, x := range []struct{ snapshots, window string }{{"24h", "7d"}, {"6h", "{window: 24h, hop: 1h}"}} {
			parts := int32(1 + 3*i)
			log, at := partedLog{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for n := range records {
				at = at.Add(days * 24 * time.Hour / records)
				k := draw()
				p := int32(k % uint64(parts))
				if name == "even" { // partitions share their entities
					p = int32(n) % parts
				}
				log[p] = append(log[p], event(fmt.Sprint(k), at, int64(len(log[p]))))
			}
			v := testbed.View(t, fmt.Sprintf(foreseenDefinition, x.snapshots, x.window), monthlySchema)
			checkForeseen(t, fmt.Sprint(name, parts, x), func() *Replay {
				return &Replay{View: v, Source: reading.NewSource(v, testbed.Writers(v)), Log: log, Parallel: 1, Memory: 64 << 20, SpillDir: t.TempDir(),
					Work: newMemoryWork(noRows{}), ValidFrom: schemas.Never, Cut: log.cut()}
			})
		}
	}
}

func checkForeseen(t *testing.T, name string, replay func() *Replay) {
	f, err := replay().Foresee(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rep, err := replay().Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what            string
		foreseen, there int64
	}{{"features", f.Features, rep.Features}, {"tiles", f.Tiles, rep.Tiles}, {"open states", f.States, rep.States}} {
		if c.foreseen > 2*c.there || c.there > 2*c.foreseen {
			t.Errorf("B3: %s: %d rows of %s are foreseen, there are %d", name, c.foreseen, c.what, c.there)
		}
	}
}

// partedLog is a log by partition.
type partedLog map[int32][]schemas.Record

func (l partedLog) cut() schemas.TopicCut {
	cut := schemas.TopicCut{TopicID: "id", Partitions: map[int32]schemas.PartitionCut{}}
	for p, rs := range l {
		cut.Partitions[p] = schemas.PartitionCut{End: int64(len(rs))}
	}
	return cut
}

func (l partedLog) ReadCut(_ context.Context, _ string, cut schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	for p, pc := range cut.Partitions {
		rs := slices.Clone(l[p][pc.Start:pc.End])
		for i := range rs {
			rs[i].Partition = p
		}
		if err := fn(p, rs); err != nil {
			return err
		}
	}
	return nil
}
