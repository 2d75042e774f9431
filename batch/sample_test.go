package batch

import (
	"context"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/reading"
)

// endlessLog has a record at every offset, and counts what is read.
type endlessLog struct{ read int64 }

func (l *endlessLog) ReadCut(_ context.Context, _ string, cut schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for p, pc := range cut.Partitions {
		for o := pc.Start; o < pc.End; o++ {
			l.read++
			if err := fn(p, []schemas.Record{event("a", at, o)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// B3: what is read for a sample is a small part of what a replay reads, however the
// log is divided, and comes from within each partition.
func TestSampleIsSmall(t *testing.T) {
	v := testbed.View(t, monthlyDefinition, monthlySchema)
	for _, c := range []struct {
		parts   int32
		records int64 // of each
		sampled int64 // partitions
	}{{1, 10, 1}, {1, 5_000_000, 1}, {4, 250_000, 4}, {300, 10_000, 12}, {3, 0, 0}} {
		log := &endlessLog{}
		r := &Replay{View: v, Source: reading.NewSource(v, testbed.Writers(v)), Log: log}
		r.Cut = schemas.TopicCut{TopicID: "id", Partitions: map[int32]schemas.PartitionCut{}}
		for p := range c.parts {
			r.Cut.Partitions[p] = schemas.PartitionCut{End: c.records}
		}
		s, err := r.Sample(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := int64(c.parts) * c.records
		if s.Offsets != log.read || s.Offsets != c.sampled*min(c.records, sampleOffsets) || all >= 250_000 && s.Offsets > all/100 {
			t.Errorf("B3: %+v: %d offsets are sampled, %d were read", c, s.Offsets, log.read)
		}
		if per := s.PerOffset(); all > 0 && (per < 10 || per > 1000) || all == 0 && per != 0 {
			t.Errorf("%+v: %v bytes an offset", c, per)
		}
	}
}
