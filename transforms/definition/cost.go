package definition

import (
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// MaxStateBytes is the size of an entity's state beyond which `check` warns (O5).
const MaxStateBytes = 256 << 10

// Cost says what one entity of a view may take in one partition: upper bounds,
// reached by an entity that is active in every interval (O5).
type Cost struct {
	Levels []LevelCost // from the finest hop to the coarsest
	// StateBytes is what serving reads: all tiles and a lifetime base.
	StateBytes int64
	// OpenBytes is what serving never reads: max_open remembered ids, with a
	// version also their events.
	OpenBytes int64
	Warnings  []string
}

// LevelCost is one level of tiles.
type LevelCost struct {
	Hop, Retention schemas.Micros
	Tiles          int64 // at most, per entity and partition
	Cells          int   // distinct aggregations × inputs × filters in a tile
	TileBytes      int64 // at most, about
}

// Bytes of a tile and of its cells, about, as package transforms encodes them.
const (
	tileBytes     = 8    // start, event count
	countBytes    = 3    // varint
	sumBytes      = 16   // count, odd integer × 2^e
	momentsBytes  = 40   // sum and sum of squares
	numberBytes   = 10   // kind and 8 bytes
	textBytes     = 24   // kind, length, a short text
	orderBytes    = 24   // event time, version, offset
	distinctBytes = 8200 // 1,024 hashes
	// histogramBytes: 64 buckets of 3 bytes per power of two; most values of a
	// tile lie within ten of these.
	histogramBytes = 1920
	idBytes        = 40 // hash, event time, version, offset
)

// Cost estimates the view's state.
func (v *View) Cost() (Cost, error) {
	compiled, err := transforms.NewView(v.Spec)
	if err != nil {
		return Cost{}, fmt.Errorf("view %s: %w", v.Name, err)
	}
	var c Cost
	if v.Spec.Table {
		c.StateBytes = v.rowBytes()
		return c, nil
	}
	sketches := false
	for _, hop := range compiled.Hops() {
		l := LevelCost{Hop: hop, Retention: compiled.Retention(hop), TileBytes: tileBytes}
		l.Tiles = tilesOf(l.Retention, hop)
		for _, bytes := range v.cells(hop) {
			l.Cells++
			l.TileBytes += bytes
			sketches = sketches || bytes == distinctBytes
		}
		if compiled.HasLifetime() && hop == schemas.Day {
			c.StateBytes += l.TileBytes
		}
		c.StateBytes += l.Tiles * l.TileBytes
		c.Levels = append(c.Levels, l)
	}
	if v.Spec.Identity != transforms.Anonymous {
		per := int64(idBytes)
		if v.Spec.Identity == transforms.ByVersion {
			per += v.rowBytes() - orderBytes
		}
		c.OpenBytes = int64(v.Spec.MaxOpen) * per
	}
	c.warn(sketches)
	return c, nil
}

// rowBytes is what a raw event takes with its place in the order: all that a
// table keeps of an entity.
func (v *View) rowBytes() int64 {
	bytes := int64(orderBytes)
	for _, in := range v.Spec.Inputs {
		bytes += valueBytes(in.Type().Kind)
	}
	return bytes
}

// cells returns the sizes of the distinct cells of a level.
func (v *View) cells(hop schemas.Micros) map[string]int64 {
	out := map[string]int64{}
	for i := range v.Spec.Features {
		f := &v.Spec.Features[i]
		if f.Derived != nil || f.Window.Hop != hop {
			continue
		}
		if name, bytes := v.cell(f); name != "" {
			out[name] = bytes
		}
	}
	return out
}

// cell names the cell that a feature reads in the tiles of its level and tells
// its size; "" for a bare count, which tiles hold anyhow.
func (v *View) cell(f *transforms.Feature) (string, int64) {
	if f.Aggregation == transforms.Count && f.Input < 0 && f.Filter < 0 {
		return "", 0
	}
	kind := func(input int) schemas.Kind {
		if input < 0 {
			return schemas.Null
		}
		return v.Spec.Inputs[input].Type().Kind
	}
	name, bytes := cellBytes(f.Aggregation, kind(f.Input))
	switch f.Aggregation {
	case transforms.FirstK, transforms.LastK:
		name, bytes = fmt.Sprint(name, f.K), bytes*int64(f.K)
	case transforms.MinBy, transforms.MaxBy:
		name, bytes = fmt.Sprint(name, f.By), bytes+valueBytes(kind(f.By))
	}
	return fmt.Sprintf("%s %d %d", name, f.Input, f.Filter), bytes
}

// tilesOf is how many tiles a level of that hop and retention holds at most.
func tilesOf(retention, hop schemas.Micros) int64 {
	return int64((retention+hop-1)/hop) + transforms.OverdueTiles
}

// cellBytes returns what an aggregation keeps and its size: some share a cell.
func cellBytes(a transforms.Aggregation, k schemas.Kind) (string, int64) {
	switch a {
	case transforms.Count:
		return "count", countBytes
	case transforms.Sum, transforms.Mean:
		return "sum", sumBytes
	case transforms.VarPop, transforms.VarSamp, transforms.StddevPop, transforms.StddevSamp:
		return "moments", momentsBytes
	case transforms.CountDistinct:
		return "distinct", distinctBytes
	case transforms.Quantile:
		return "histogram", histogramBytes
	case transforms.First, transforms.Last, transforms.FirstK, transforms.LastK, transforms.MinBy, transforms.MaxBy:
		return a.String(), valueBytes(k) + orderBytes
	}
	return a.String(), valueBytes(k)
}

func valueBytes(k schemas.Kind) int64 {
	if k == schemas.String || k == schemas.Bytes {
		return textBytes
	}
	return numberBytes
}

func (c *Cost) warn(sketches bool) {
	if c.StateBytes <= MaxStateBytes {
		return
	}
	worst := c.Levels[0]
	for _, l := range c.Levels {
		if l.Tiles*l.TileBytes > worst.Tiles*worst.TileBytes {
			worst = l
		}
	}
	hint := "a coarser hop or a shorter window needs fewer tiles"
	if sketches {
		hint = "count_distinct keeps up to 8 KB in each tile: a coarser hop or a shorter window needs fewer"
	}
	c.Warnings = append(c.Warnings, fmt.Sprintf("the state of a very active entity may reach %d KB, of which %d KB in %d tiles of %s; %s",
		c.StateBytes>>10, worst.Tiles*worst.TileBytes>>10, worst.Tiles, expr.FormatDuration(worst.Hop), hint))
}
