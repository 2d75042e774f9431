package reconcile

import (
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// R1, K8: which tiles are compared, to the microsecond: closed ones, whole within
// retention of the later clock, that begin after both sides' starts.
func TestReach(t *testing.T) {
	const hop, retention = 5 * schemas.Minute, 2 * schemas.Hour
	hour := func(h, µs schemas.Micros) *schemas.Micros { return new(h*schemas.Hour + µs) }
	p := &part{at: place{shard: 1}}
	for _, c := range []struct {
		name              string
		start             schemas.Micros
		cut               *schemas.Micros // the log clock at the cut
		marker            schemas.Micros
		validFrom, filled schemas.Micros // of the tables, of the online store
		want              reach
	}{
		{"within", 9 * schemas.Hour, hour(10, 0), 0, schemas.Never, schemas.Never, inReach},
		{"ends at the boundary", 10*schemas.Hour - hop, hour(10, 0), 0, schemas.Never, schemas.Never, inReach},
		{"ends beyond it", 10 * schemas.Hour, hour(10, 0), 0, schemas.Never, schemas.Never, stillOpen},
		{"ends where retention ends", 8*schemas.Hour - hop, hour(10, 0), 0, schemas.Never, schemas.Never, outOfReach},
		{"ends a µs within retention", 8*schemas.Hour - hop, hour(10, -1), 0, schemas.Never, schemas.Never, inReach},
		{"out of the marker's retention", 8*schemas.Hour - hop, hour(9, 0), 10 * schemas.Hour, schemas.Never, schemas.Never, outOfReach},
		{"begins where the tables begin", 9 * schemas.Hour, hour(10, 0), 0, 9 * schemas.Hour, schemas.Never, incomplete},
		{"begins a µs after", 9 * schemas.Hour, hour(10, 0), 0, 9*schemas.Hour - 1, schemas.Never, inReach},
		{"begins where the online store begins", 9 * schemas.Hour, hour(10, 0), 0, schemas.Never, 9 * schemas.Hour, incomplete},
	} {
		r := &run{frame: frame{source: &definition.Source{}, hops: []schemas.Micros{hop}, retention: []schemas.Micros{retention}, bounds: []schemas.Micros{10 * schemas.Hour},
			cut: schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{0: {Clock: c.cut}}}, validFrom: c.validFrom,
			after: map[place]marker.Mark{p.at: {Clock: c.marker, ValidFrom: c.filled}}}}
		if _, got := r.reach(p, &transforms.Tile{Hop: hop, Start: c.start}); got != c.want {
			t.Errorf("R1: a tile that %s: %d, want %d", c.name, got, c.want)
		}
	}
}
