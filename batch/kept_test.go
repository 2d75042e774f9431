package batch

import (
	"bytes"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// FuzzKept: a carried row comes back as it was, and bytes that are none are told.
func FuzzKept(f *testing.F) {
	tile := transforms.Tile{Hop: schemas.Hour, Start: -5, Events: 3, Cells: "cells"}
	f.Add(appendState(nil, &Carried{Open: rows.Open{Served: []byte("served"), Open: []transforms.Open{{Hour: -7, Data: []byte("open")}}}, Closed: []transforms.Tile{tile, tile}}))
	f.Add(appendTile(nil, &tile))
	f.Add(appendFeature(nil, &rows.Feature{Boundary: 9, Final: true, Results: []transforms.Result{{Value: schemas.DoubleValue(1.5), Status: transforms.Present}, {Status: transforms.IsNull}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Carried
		k := keptReader{b: b}
		if k.state(&c); k.end() {
			again, d := keptReader{b: appendState(nil, &c)}, Carried{}
			if again.state(&d); !again.end() || !bytes.Equal(appendState(nil, &c), appendState(nil, &d)) {
				t.Errorf("a state is another one: %+v %+v", c, d)
			}
		}
		var tile, other transforms.Tile
		k = keptReader{b: b}
		if k.tile(&tile); k.end() {
			again := keptReader{b: appendTile(nil, &tile)}
			if again.tile(&other); !again.end() || tile != other {
				t.Errorf("a tile is another one: %+v %+v", tile, other)
			}
		}
		var row, same rows.Feature
		k = keptReader{b: b}
		if k.feature(&row, 2); k.end() {
			again := keptReader{b: appendFeature(nil, &row)}
			if again.feature(&same, 2); !again.end() || !bytes.Equal(appendFeature(nil, &row), appendFeature(nil, &same)) {
				t.Errorf("a row is another one: %+v %+v", row, same)
			}
		}
	})
}
