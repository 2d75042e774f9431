package batch

import (
	"context"
	"encoding/binary"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/rows"
)

// A sample is of this many offsets of a partition, and of one partition for so many
// records of a cut: what is fetched for it is a small part of what a replay reads.
const (
	sampleOffsets   = 1_000
	sampleOfRecords = 250_000
)

// Sample is what read units leave of some records.
type Sample struct {
	Offsets int64 // that were read
	Bytes   int64 // of rows for later units
}

// PerOffset is how many bytes an offset leaves; 0 = nothing was sampled.
func (s *Sample) PerOffset() float64 {
	if s.Offsets == 0 {
		return 0
	}
	return float64(s.Bytes) / float64(s.Offsets)
}

// Sample reads a few records in the middle of some partitions as a read unit does, and
// measures what that leaves. Nothing is kept.
func (r *Replay) Sample(ctx context.Context) (Sample, error) {
	measured := &measure{}
	part := &Replay{View: r.View, Source: r.Source, Log: r.Log, Cut: r.Cut, Work: measured, Memory: r.Memory, ReadRecords: sampleOffsets}
	part.Cut.Partitions = map[int32]schemas.PartitionCut{}
	var records, offsets int64
	for _, pc := range r.Cut.Partitions {
		records += pc.End - pc.Start
	}
	for _, p := range r.Cut.PartitionIDs() {
		pc := r.Cut.Partitions[p]
		if n := pc.End - pc.Start; n > 0 && int64(len(part.Cut.Partitions)) < max(1, records/sampleOfRecords) {
			pc.Start += max(0, n-sampleOffsets) / 2
			pc.End = min(pc.End, pc.Start+sampleOffsets)
			part.Cut.Partitions[p] = pc
			offsets += pc.End - pc.Start
		}
	}
	lanes, err := part.Reads()
	if err != nil {
		return Sample{}, err
	}
	for _, lane := range lanes {
		if err := lane[0].Run(ctx); err != nil {
			return Sample{}, err
		}
	}
	return Sample{offsets, measured.bytes}, nil
}

// measure is a Work and its Output, which counts the bytes of rows and keeps none.
type measure struct{ bytes int64 }

func (m *measure) Record(context.Context, string, any) (bool, error) { return false, nil }

func (m *measure) Begin(context.Context, string, int) (Output, error) { return m, nil }

func (m *measure) Rows(_ context.Context, unit string, _ byte, _ int, _ func([]byte) error) error {
	return &UnfinishedError{unit}
}

func (m *measure) Put(_ byte, _ int, row []byte) error {
	m.bytes += int64(binary.PutUvarint(make([]byte, binary.MaxVarintLen64), uint64(len(row))) + len(row))
	return nil
}

// quarantinedBytes is about what a quarantined record takes besides key, value, reason.
const quarantinedBytes = 100

func (m *measure) Quarantine(q rows.Quarantined) error {
	m.bytes += int64(quarantinedBytes + len(q.Key) + len(q.Value) + len(q.Reason))
	return nil
}

func (m *measure) Feature(rows.Feature) error        { return nil }
func (m *measure) Tile(rows.Tile) error              { return nil }
func (m *measure) Open(rows.Open) error              { return nil }
func (m *measure) Finish(context.Context, any) error { return nil }
func (m *measure) Abort()                            {}
