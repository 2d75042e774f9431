package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// victim is a state of the demo's online store that is to be damaged.
type victim struct {
	shard     int
	partition int32
	entity    string
	state     *transforms.State
	closed    []transforms.Tile
}

// name returns the victim's key for people.
func (v *victim) name(engine *transforms.View) string {
	key, err := engine.DecodeEntity([]byte(v.entity))
	if err != nil {
		return fmt.Sprintf("%x", v.entity)
	}
	var parts []string
	for i, k := range engine.Spec().Key {
		parts = append(parts, k.Name+"="+key[i].String())
	}
	return strings.Join(parts, " ")
}

// victims finds the states of two entities that hold closed tiles.
func (d *demo) victims(ctx context.Context, v *definition.View, engine *transforms.View, b schemas.Micros) ([]*victim, error) {
	store := d.redis.Store(v)
	var out []*victim
	parts, err := store.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	for shard := range v.Spec.Shards {
		for _, p := range parts {
			page, err := store.Scan(ctx, shard, p, "")
			if err != nil {
				return nil, err
			}
			for _, s := range page.States {
				x, err := d.victim(engine, shard, p, s, b)
				if err != nil {
					return nil, err
				}
				if x != nil && (len(out) == 0 || out[0].entity != x.entity) {
					if out = append(out, x); len(out) == 2 {
						return out, nil
					}
				}
			}
		}
	}
	return nil, fmt.Errorf("view %s: no two entities hold closed tiles", v.Name)
}

func (d *demo) victim(engine *transforms.View, shard int, p int32, s online.State, b schemas.Micros) (*victim, error) {
	state, err := engine.Parse(s.Stored)
	if err != nil {
		return nil, err
	}
	x := &victim{shard: shard, partition: p, entity: s.Entity, state: state, closed: engine.TakeClosed(state, b)}
	if len(x.closed) < 3 || x.closed[0].Events > 100 {
		return nil, nil
	}
	return x, nil
}

// write puts the damaged state back with a sound checksum and past the guard,
// as a faulty program or operator would.
func (d *demo) write(v *definition.View, engine *transforms.View, x *victim) error {
	if err := engine.Restore(x.state, x.closed); err != nil {
		return err
	}
	key := fmt.Sprintf("{%s:%s:%d}:e:%s", v.Name, v.Fingerprint, x.shard, x.entity)
	field := strconv.Itoa(int(x.partition))
	if d.mini.HGet(key, field) == "" {
		return fmt.Errorf("the online store has no %s of %q", field, key)
	}
	st := engine.Encode(x.state)
	d.mini.HSet(key, field, string(st.Served))
	if len(st.Old) == 0 {
		d.mini.HDel(key, field+":old")
	} else {
		d.mini.HSet(key, field+":old", string(st.Old))
	}
	return nil
}

// sabotage corrupts one value and drops one tile of a view's online states, and
// says which.
func (d *demo) sabotage(ctx context.Context, v *definition.View, b schemas.Micros) (corrupted, dropped string, err error) {
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return "", "", err
	}
	xs, err := d.victims(ctx, v, engine, b)
	if err != nil {
		return "", "", err
	}
	t := lastOf(xs[0].closed, engine.Hops()[0])
	cells := []byte(t.Cells)
	cells[1]++ // the first cell is a count: one event too many
	t.Cells = string(cells)
	corrupted = fmt.Sprintf("%s, tile of %v", xs[0].name(engine), t.Start)

	u := lastOf(xs[1].closed, engine.Hops()[0])
	dropped = fmt.Sprintf("%s, tile of %v", xs[1].name(engine), u.Start)
	kept := xs[1].closed[:0]
	for _, c := range xs[1].closed {
		if c.Hop != u.Hop || c.Start != u.Start {
			kept = append(kept, c)
		}
	}
	xs[1].closed = kept
	for _, x := range xs {
		if err := d.write(v, engine, x); err != nil {
			return "", "", err
		}
	}
	return corrupted, dropped, nil
}

// lastOf returns the newest tile of a level.
func lastOf(tiles []transforms.Tile, hop schemas.Micros) *transforms.Tile {
	var last *transforms.Tile
	for i := range tiles {
		if tiles[i].Hop == hop {
			last = &tiles[i]
		}
	}
	return last
}
