package batch

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// The rows of tables that a replay will write are foretold from consecutive records of
// two partitions, a two-hundredth of the cut, within bounds: entities that come seldom
// are to be met twice. The least is what comes in one fetch.
const (
	curveOfRecords = 200
	curveLeast     = 20_000
	curveMost      = 200_000
)

// Foreseen is about what the tables of a replay will hold.
type Foreseen struct {
	Features, Tiles, States int64 // rows
	Work                    int64 // bytes that these take in the work area
	Tables                  int64 // bytes that they take as Parquet
	// Heaviest is the share of all records that the entity has that has most of them.
	Heaviest float64
}

// curve counts how many entities there are among so many records that follow one another.
type curve struct {
	measure
	times    map[uint64]int32 // how often each was met, by hash
	names    int64            // bytes of their names
	n        int64
	share    float64 // of the records that count, which are n
	marks    []int64 // entities among the first 1, 2, 4 … records
	from, to schemas.Micros
}

// Put implements Output.
func (c *curve) Put(kind byte, _ int, row []byte) error {
	if kind != inputRows {
		return nil
	}
	entity, key := transforms.RowKey(row)
	at := transforms.RowClock(key)
	if c.n++; c.n == 1 {
		c.from = at
	}
	c.to = at
	c.names += int64(len(entity))
	c.times[transforms.HashBytes(entity)]++
	if c.n&(c.n-1) == 0 {
		c.marks = append(c.marks, int64(len(c.times)))
	}
	return nil
}

// Begin implements Work.
func (c *curve) Begin(context.Context, string, int) (Output, error) { return c, nil }

// among is about how many entities there are among m records.
func (c *curve) among(m float64) float64 {
	if m <= 1 {
		return m
	}
	if m >= float64(c.n) {
		return c.beyond(m)
	}
	i := int(math.Log2(m))
	if i+1 >= len(c.marks) {
		return float64(c.marks[i]) + (float64(len(c.times))-float64(c.marks[i]))*(m-float64(int64(1)<<i))/(float64(c.n)-float64(int64(1)<<i))
	}
	share := m/float64(int64(1)<<i) - 1
	return float64(c.marks[i]) + float64(share*float64(c.marks[i+1]-c.marks[i]))
}

// beyond goes on past what was met: the mean, geometric, of a power law, which knows no
// end of new entities, and Chao's least number of those not met yet.
func (c *curve) beyond(m float64) float64 {
	var once, twice float64
	for _, n := range c.times {
		switch n {
		case 1:
			once++
		case 2:
			twice++
		}
	}
	seen, n := float64(len(c.times)), float64(c.n)
	if once == 0 {
		return seen
	}
	unseen := once * once / (2 * max(twice, 1))
	least := seen + float64(unseen*(1-math.Exp(-(m-n)/n*once/unseen)))
	most := seen * math.Pow(m/n, once/seen)
	return math.Sqrt(least * max(least, most))
}

// Foresee tells about what the rows of tables will be. It reads parts of two partitions
// as read units do; nothing is kept. The largest partition is apart, as one entity may
// make it that; the one in the middle stands for the others.
func (r *Replay) Foresee(ctx context.Context) (f Foreseen, err error) {
	size := func(p int32) int64 { return r.Cut.Partitions[p].End - r.Cut.Partitions[p].Start }
	ids, records := slices.DeleteFunc(r.Cut.PartitionIDs(), func(p int32) bool { return size(p) == 0 }), int64(0)
	slices.SortStableFunc(ids, func(a, b int32) int { return cmp.Compare(size(b), size(a)) })
	for _, p := range ids {
		records += size(p)
	}
	if records == 0 || r.View.Spec.Table {
		return f, nil
	}
	take := max(records/curveOfRecords, curveLeast) / int64(min(2, len(ids)))
	largest, engine, err := r.curve(ctx, ids[0], take)
	if err != nil || largest.n == 0 {
		return f, err
	}
	f.Heaviest = largest.heaviest()
	if rest := len(ids) - 1; rest > 0 {
		other, _, err := r.curve(ctx, ids[1+rest/2], take)
		if err != nil {
			return f, err
		}
		if other.shares(largest) {
			all := float64(records) / float64(size(ids[0]))
			r.foreseen(&f, engine, largest, load{size(ids[0]), all, all})
			return f, nil
		}
		f.Heaviest *= float64(size(ids[0])) / float64(records)
		r.foreseen(&f, engine, other, load{size(ids[1+rest/2]), float64(rest), 1})
	}
	r.foreseen(&f, engine, largest, load{size(ids[0]), 1, 1})
	return f, nil
}

// curve reads some records in the middle of a partition.
func (r *Replay) curve(ctx context.Context, p int32, n int64) (*curve, *transforms.View, error) {
	pc, c := r.Cut.Partitions[p], &curve{times: map[uint64]int32{}}
	n = min(n, curveMost, pc.End-pc.Start)
	pc.Start += (pc.End - pc.Start - n) / 2
	pc.End = pc.Start + n
	part := &Replay{View: r.View, Source: r.Source, Log: r.Log, Cut: r.Cut, Work: c, Memory: r.Memory, ReadRecords: n}
	part.Cut.Partitions = map[int32]schemas.PartitionCut{p: pc}
	lanes, err := part.Reads()
	if err == nil {
		err = lanes[0][0].Run(ctx)
	}
	c.share = float64(c.n) / float64(n)
	return c, part.engine, err
}

// heaviest is the share of the entity that was met most often.
func (c *curve) heaviest() float64 {
	return float64(slices.Max(slices.Collect(maps.Values(c.times)))) / float64(c.n)
}

// shares tells whether partitions have entities in common: a tenth of what was read of
// one are of entities that were met in the other.
func (c *curve) shares(o *curve) bool {
	var common int64
	for h, n := range c.times {
		if o.times[h] > 0 {
			common += int64(n)
		}
	}
	return 10*common > c.n
}

// load is how many records a partition has, how many such there are, and how many of
// these have the same entities, 1 = each its own.
type load struct {
	records            int64
	partitions, shared float64
}

// foreseen adds the rows of a load.
func (r *Replay) foreseen(f *Foreseen, engine *transforms.View, c *curve, l load) {
	if c.n == 0 {
		return
	}
	all, span := c.share*float64(l.records), float64(max(c.to-c.from, 1))
	within := func(t schemas.Micros) float64 { return min(float64(c.n)/span*float64(t), all) } // events of so much time
	name, cells := float64(c.names)/float64(c.n), map[schemas.Micros]float64{}
	for _, cell := range engine.Cells() {
		cells[cell.Hop]++
	}
	for _, hop := range engine.Hops() { // each partition has tiles of its own
		m := max(within(hop), 1)
		f.add(&f.Tiles, l.partitions*all/m*c.among(m), name+tileBytes+float64(cells[hop]*cellBytes), tableTile+float64(cells[hop]*tableCell))
	}
	// At each boundary there is a row for each entity of the windows that end there, which
	// have their length not before the log has. The mean is taken of some boundaries.
	boundaries, rows := all/max(within(r.View.Snapshots), 1e-9), 0.0
	const most = 64
	n := min(math.Ceil(boundaries), most)
	for i := range int(n) {
		rows += c.among(l.shared*min(float64(i+1)/n*all, within(longest(&r.View.Spec)))) / n
	}
	features := float64(len(r.View.Spec.Features))
	f.add(&f.Features, l.partitions/l.shared*boundaries*rows, name+featureBytes+float64(features*valueBytes), tableFeature+float64(features*tableValue))
	kept := within(longest(&r.View.Spec) + transforms.Slack) // about: those of older events hold nothing
	f.add(&f.States, l.partitions*c.among(kept), float64(2*name)+stateBytes, tableState)
}

// longest is the length of the longest window.
func longest(s *transforms.Spec) (length schemas.Micros) {
	for _, f := range s.Features {
		switch w := f.Window; w.Kind {
		case transforms.Sliding:
			length = max(length, w.Length)
		case transforms.Days:
			length = max(length, schemas.Micros(w.N)*schemas.Day)
		case transforms.Weeks:
			length = max(length, 7*schemas.Micros(w.N)*schemas.Day)
		case transforms.Months:
			length = max(length, 31*schemas.Micros(w.N)*schemas.Day)
		case transforms.Lifetime:
			length = schemas.Forever / 2
		}
	}
	return length
}

// add enters rows of so many bytes each.
func (f *Foreseen) add(to *int64, rows, work, table float64) {
	*to += int64(rows)
	f.Work += int64(rows * work)
	f.Tables += int64(rows * table)
}

// About what rows take, in bytes: in the work area besides the entity's name, and as
// Parquet. Numbers of the benchmark workload (docs/performance.md).
const (
	tileBytes, cellBytes     = 32, 8
	featureBytes, valueBytes = 24, 7
	stateBytes               = 160
	tableTile, tableCell     = 8, 4
	tableFeature, tableValue = 2, 1
	tableState               = 40
)
