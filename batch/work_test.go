package batch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/tallystick/tallystick/transforms/rows"
)

// tableRows takes rows of tables.
type tableRows interface {
	Feature(rows.Feature) error
	Tile(rows.Tile) error
	Open(rows.Open) error
	Quarantine(rows.Quarantined) error
}

// memoryWork is a Work in memory. Rows of tables go to a sink when their unit is
// finished, unless it was before.
type memoryWork struct {
	sink tableRows // nil = they are dropped

	mu      sync.Mutex
	records map[string][]byte
	rows    map[string][][]byte // by unit, kind and shard
	begun   int                 // outputs
}

func newMemoryWork(sink tableRows) *memoryWork {
	return &memoryWork{sink: sink, records: map[string][]byte{}, rows: map[string][][]byte{}}
}

func (w *memoryWork) Record(_ context.Context, unit string, v any) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.records[unit]
	if !ok || v == nil {
		return ok, nil
	}
	return true, json.Unmarshal(b, v)
}

func (w *memoryWork) Begin(_ context.Context, unit string, _ int) (Output, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun++
	return &memoryOutput{w: w, unit: unit, rows: map[string][][]byte{}}, nil
}

func rowsName(unit string, kind byte, shard int) string { return fmt.Sprint(unit, kind, shard) }

func (w *memoryWork) Rows(_ context.Context, unit string, kind byte, shard int, fn func([]byte) error) error {
	w.mu.Lock()
	_, ok := w.records[unit]
	rows := w.rows[rowsName(unit, kind, shard)]
	w.mu.Unlock()
	if !ok {
		return &UnfinishedError{unit}
	}
	for _, r := range rows {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

type memoryOutput struct {
	w    *memoryWork
	unit string
	rows map[string][][]byte
	sent []func() error
	last map[[2]int64]rows.Tile // by partition and date
}

func (o *memoryOutput) Put(kind byte, shard int, row []byte) error {
	n := rowsName(o.unit, kind, shard)
	o.rows[n] = append(o.rows[n], bytes.Clone(row))
	return nil
}

func (o *memoryOutput) Feature(r rows.Feature) error {
	r.Entity, r.Results = bytes.Clone(r.Entity), slices.Clone(r.Results)
	o.sent = append(o.sent, func() error { return o.w.sink.Feature(r) })
	return nil
}

func (o *memoryOutput) Tile(r rows.Tile) error {
	r.Entity = bytes.Clone(r.Entity)
	if o.last == nil {
		o.last = map[[2]int64]rows.Tile{}
	}
	k := [2]int64{int64(r.Partition), r.Tile.Start.Days()}
	was, there := o.last[k]
	if there && cmp.Or(cmp.Compare(was.Shard, r.Shard), bytes.Compare(was.Entity, r.Entity), cmp.Compare(was.Tile.Hop, r.Tile.Hop), cmp.Compare(was.Tile.Start, r.Tile.Start)) >= 0 {
		return fmt.Errorf("tile %v of entity %x comes after %v", r.Tile, r.Entity, was.Tile)
	}
	o.last[k] = r
	o.sent = append(o.sent, func() error { return o.w.sink.Tile(r) })
	return nil
}

func (o *memoryOutput) Open(r rows.Open) error {
	r.Entity = bytes.Clone(r.Entity)
	o.sent = append(o.sent, func() error { return o.w.sink.Open(r) })
	return nil
}

func (o *memoryOutput) Quarantine(r rows.Quarantined) error {
	o.sent = append(o.sent, func() error { return o.w.sink.Quarantine(r) })
	return nil
}

func (o *memoryOutput) Finish(_ context.Context, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if _, ok := o.w.records[o.unit]; ok {
		return nil
	}
	o.w.records[o.unit] = b
	for n, r := range o.rows {
		o.w.rows[n] = r
	}
	for _, send := range o.sent {
		if o.w.sink == nil {
			break
		}
		if err := send(); err != nil {
			return err
		}
	}
	return nil
}

func (o *memoryOutput) Abort() {}
