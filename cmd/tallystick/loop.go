package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/definition"
)

// equalText says what was compared and is equal.
func equalText(v *reconcile.Report) string {
	if v.Cells != nil { // of a table, which has neither tiles nor ledgers to compare
		return fmt.Sprintf("%d cells, %d values of %d entities", v.Cells.Compared, v.Values, v.Compared)
	}
	return fmt.Sprintf("%d tiles, %d values of %d entities, %d ledgers; %d tiles are still open",
		v.Tiles, v.Values, v.Compared, v.Ledgers.Compared, v.OpenTiles)
}

// loop is the whole way of events through both stores: stream, replay and
// reconcile over one cut of the log, within this process.
type loop struct {
	servers
	common
	storeFlags
	out     string // directory of the tables
	vs      []*definition.View
	w       io.Writer // what people read
	notices io.Writer // of the stream worker
	meter   *meter
}

// loopMemory bounds the memory that a loop with its Kafka and its Redis takes;
// beyond it the garbage collector works harder.
const loopMemory = 600 << 20

// boundMemory holds the process to it, until the returned function is called.
func boundMemory() (unbound func()) {
	before := debug.SetMemoryLimit(-1)
	if before <= loopMemory { // a lower GOMEMLIMIT stands
		return func() {}
	}
	debug.SetMemoryLimit(loopMemory)
	return func() { debug.SetMemoryLimit(before) }
}

// cut fixes how far the log is read: the same for both stores.
func (l *loop) cut(ctx context.Context) (*schemas.Cut, error) {
	return cutOf(ctx, l.client, nil, l.vs)
}

// follow keeps the features in Redis up to the cut. sink stands between the
// worker and the store, nil = nothing.
func (l *loop) follow(ctx context.Context, cut *schemas.Cut, p *metered, sink func(*online.Store) stream.Sink) error {
	s := &streamFlags{common: l.common, notices: l.notices, cache: 64 << 20, pollWait: 20 * time.Millisecond, sink: sink}
	if err := s.follow(ctx, l.client, l.redis, l.vs, cut, p); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}

// replay writes the tables up to the cut.
func (l *loop) replay(ctx context.Context, cut *schemas.Cut) (*replayOutput, error) {
	begin := time.Now()
	r := &replayFlags{common: l.common, limits: limits{memory: 256_000_000, parallel: runtime.GOMAXPROCS(0), spill: os.TempDir()}, out: l.out, meter: l.meter,
		storeFlags: l.storeFlags, units: defaultUnits(), gate: gateFlags{mode: gateReport}}
	out, err := r.replay(ctx, l.client, cut, l.vs)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	var rows, tiles int64
	for _, v := range out.Views {
		rows += v.Features
		tiles += v.Tiles
	}
	fmt.Fprintf(l.w, "Parquet  %d feature rows and %d closed tiles, replayed from the same log (%.1f s)\n\n", rows, tiles, time.Since(begin).Seconds())
	for _, v := range out.Views {
		t := &v.Total.Ledger
		fmt.Fprintf(l.w, "%-12s %v\n", v.View, t)
		if v.Gate != nil && len(v.Gate.Breaches) > 0 {
			v.Gate.print(l.w)
		}
	}
	return out, nil
}

// reconcile compares both stores of all views.
func (l *loop) reconcile(ctx context.Context) (*reconcileOutput, error) {
	r := &reconcileFlags{common: l.common, storeFlags: l.storeFlags, out: l.out, sample: 1, list: 20}
	return r.reconcile(ctx, l.redis, l.client, l.vs)
}

// judge compares both stores and prints the verdict; one that is not equal is an
// error too.
func (l *loop) judge(ctx context.Context) (*reconcileOutput, error) {
	begin := time.Now()
	out, err := l.reconcile(ctx)
	if err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	page := filepath.Join(l.out, "report.html")
	if offline.IsURL(l.out) {
		page = filepath.Join(filepath.Dir(l.file), "report.html")
	}
	if err := writeFile(page, func(w io.Writer) error { return reconcile.WriteHTML(w, out.Views) }); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	fmt.Fprintln(l.w)
	if out.Verdict != reconcile.Equal {
		out.print(l.w)
		fmt.Fprintf(l.w, "report: %s\n", page)
		return out, out.outcome()
	}
	for _, v := range out.Views {
		fmt.Fprintf(l.w, "%-12s equal, to the bit: %s\n", v.View, equalText(v))
	}
	fmt.Fprintf(l.w, "verdict: EQUAL, TO THE BIT (%.1f s), in detail in %s\n", time.Since(begin).Seconds(), page)
	return out, nil
}
