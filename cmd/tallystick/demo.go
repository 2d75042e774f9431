package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// demo runs the whole loop inside this process: Kafka and Redis are embedded.
type demo struct {
	dir   string
	w     io.Writer
	meter *meter

	file  string // the definition
	def   *definition.Definition
	log   *embeddedLog
	mini  *miniredis.Miniredis
	redis *online.Client
	kills int
	// boundary is the closed one of the view that is sabotaged.
	boundary schemas.Micros
}

func demoCommand() *cobra.Command {
	d := &demo{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "A year of flights through both stores, embedded, and the verdict",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.w, d.meter = cmd.OutOrStdout(), newMeter(cmd.ErrOrStderr())
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.dir, "dir", "tallystick-demo", "directory `DIR` for the definition and the Parquet tables")
	return cmd
}

// demoMemory bounds the memory that the demo, its Kafka and its Redis take;
// beyond it the garbage collector works harder.
const demoMemory = 600 << 20

func (d *demo) run(ctx context.Context) error {
	begin := time.Now()
	if before := debug.SetMemoryLimit(-1); before > demoMemory { // a lower GOMEMLIMIT stands
		debug.SetMemoryLimit(demoMemory)
		defer debug.SetMemoryLimit(before)
	}
	if err := d.start(ctx); err != nil {
		return err
	}
	defer d.stop()
	for _, phase := range []func(context.Context) error{d.fill, d.stream, d.replay, d.agree, d.damage} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	tables, err := filepath.Abs(filepath.Join(d.dir, "tables"))
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, `
The Parquet tables (Delta) are in %[1]s. Read them, for example, with
  duckdb -c "select dest, boundary, flights_7d, delay_7d from '%[1]s/dest_delays/features/*/*/*.parquet' order by boundary desc limit 5"
  python3 -c "import pandas as pd; print(pd.read_parquet('%[1]s/dest_delays/features').tail())"
The definition is %[2]s. Done in %.0[3]f s.
`, tables, d.file, time.Since(begin).Seconds())
	return nil
}

// start unpacks the definition and starts the servers.
func (d *demo) start(ctx context.Context) error {
	if err := checkDemoDir(d.dir); err != nil {
		return err
	}
	if err := unpack(d.dir); err != nil {
		return usagef("--dir: %w", err)
	}
	d.file = filepath.Join(d.dir, "tallystick.yaml")
	var err error
	if d.def, err = definition.Load(d.file); err != nil {
		return err
	}
	if d.log, err = startEmbeddedLog(ctx); err != nil {
		return err
	}
	d.mini = miniredis.NewMiniRedis()
	if err := d.mini.StartAddr("127.0.0.1:0"); err != nil {
		return fmt.Errorf("embedded Redis: %w", err)
	}
	d.redis, err = online.Open(ctx, online.Options{Addrs: []string{d.mini.Addr()}, AllowUnknownPolicy: true})
	return err
}

func (d *demo) stop() {
	if d.redis != nil {
		d.redis.Close()
	}
	d.mini.Close()
	d.log.close()
}

// checkDemoDir refuses a directory that cannot be written, that cannot hold
// tables, or in which somebody has changed what the demo unpacked.
func checkDemoDir(dir string) error {
	if dir == "" {
		return usagef("--dir: name a directory")
	}
	if err := checkTree("--dir", dir); err != nil {
		return err
	}
	tables, err := filepath.Abs(filepath.Join(dir, "tables"))
	if err != nil {
		return usagef("--dir: %w", err)
	}
	if err := offline.CheckRoot(tables); err != nil {
		return usagef("--dir: %w", err)
	}
	return eachFile(func(path string, ours []byte) error {
		theirs, err := os.ReadFile(filepath.Join(dir, path))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return usagef("--dir: %w", err)
		}
		if !bytes.Equal(theirs, ours) {
			return usagef("--dir: %s is not the demo's own and would be overwritten: name another directory, or remove the file", filepath.Join(dir, path))
		}
		return nil
	})
}

// unpack writes the definition and its schemas into dir.
func unpack(dir string) error {
	return eachFile(func(path string, b []byte) error {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o644)
	})
}

// eachFile calls fn with the definition and its schemas.
func eachFile(fn func(path string, b []byte) error) error {
	return fs.WalkDir(flights.Files, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(path, "data") {
			return err
		}
		b, err := flights.Files.ReadFile(path)
		if err != nil {
			return err
		}
		return fn(path, b)
	})
}

func (d *demo) fill(ctx context.Context) error {
	p := d.meter.phase("fill", 128_771)
	n, err := d.log.fill(ctx, func(n int) { p.done.Add(int64(n)) })
	p.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, "Kafka    %d messages of 2013: departures from JFK with their corrections, and the weather (%.1f s)\n", n, p.took().Seconds())
	return nil
}

// errKilled stands for a worker that was killed.
var errKilled = errors.New("killed")

// mortal is a sink whose worker dies at its n-th write, with the write done or
// not, as chance has it; nothing gets through after that.
type mortal struct {
	*online.Store
	left *atomic.Int64
}

// Commit implements stream.Sink.
func (m mortal) Commit(ctx context.Context, shard int, partition int32, was, now marker.Mark, writes []marker.Write) error {
	n := m.left.Add(-1)
	if n < 0 {
		return errKilled
	}
	err := m.Store.Commit(ctx, shard, partition, was, now, writes)
	if n == 0 {
		return errKilled // the reply is lost with the worker
	}
	return err
}

// stream keeps the features in Redis; the worker is killed several times.
func (d *demo) stream(ctx context.Context) error {
	cut, err := d.log.client.Cut(ctx, topics(d.def.Views)...)
	if err != nil {
		return err
	}
	p := d.meter.phase("stream", viewRecords(cut, d.def.Views))
	defer p.end()
	for _, writes := range []int64{2, 4, 6, 8, 1 << 60} {
		left := new(atomic.Int64)
		left.Store(writes)
		s := &streamFlags{common: common{file: d.file}, until: "end", notices: io.Discard, cache: 64 << 20, pollWait: 20 * time.Millisecond,
			sink: func(st *online.Store) stream.Sink { return mortal{st, left} }}
		err := s.follow(ctx, d.log.client, d.redis, d.def.Views, nil, p)
		if errors.Is(err, errKilled) {
			d.kills++
			continue
		}
		if err != nil {
			return fmt.Errorf("stream: %w", err)
		}
	}
	fmt.Fprintf(d.w, "Redis    the features of %d views, kept by the stream worker, killed %d times on the way (%.1f s)\n", len(d.def.Views), d.kills, p.took().Seconds())
	return nil
}

func (d *demo) replay(ctx context.Context) error {
	cut, err := d.log.client.Cut(ctx, topics(d.def.Views)...)
	if err != nil {
		return err
	}
	begin := time.Now()
	r := &replayFlags{common: common{file: d.file}, limits: limits{memory: 256_000_000, parallel: runtime.GOMAXPROCS(0), spill: os.TempDir()},
		out: filepath.Join(d.dir, "tables"), meter: d.meter}
	out, err := r.replay(ctx, d.log.client, cut, d.def.Views)
	if err != nil {
		return err
	}
	var rows, tiles int64
	for _, v := range out.Views {
		rows += v.Features
		tiles += v.Tiles
	}
	fmt.Fprintf(d.w, "Parquet  %d feature rows and %d closed tiles, replayed from the same log (%.1f s)\n\n", rows, tiles, time.Since(begin).Seconds())
	for _, v := range out.Views {
		t := &v.Total.Ledger
		fmt.Fprintf(d.w, "%-12s %v\n", v.View, t)
	}
	return nil
}

// reconcile compares both stores of all views.
func (d *demo) reconcile(ctx context.Context) (*reconcileOutput, error) {
	r := &reconcileFlags{common: common{file: d.file}, out: filepath.Join(d.dir, "tables"), sample: 1, list: 20}
	return r.reconcile(ctx, d.redis, d.log.client, d.def.Views)
}

// agree shows that the stores are equal.
func (d *demo) agree(ctx context.Context) error {
	begin := time.Now()
	out, err := d.reconcile(ctx)
	if err != nil {
		return err
	}
	if out.Verdict != reconcile.Equal {
		out.print(d.w)
		return errors.Join(errors.New("the stores should be equal"), out.outcome())
	}
	fmt.Fprintln(d.w)
	for _, v := range out.Views {
		fmt.Fprintf(d.w, "%-12s equal, to the bit: %d tiles, %d values of %d entities, %d ledgers; %d tiles are still open\n",
			v.View, v.Tiles, v.Values, v.Compared, v.Ledgers.Compared, v.OpenTiles)
	}
	d.boundary = schemas.Micros(out.Views[0].Boundary)
	fmt.Fprintf(d.w, "verdict: EQUAL, TO THE BIT (%.1f s)\n\n", time.Since(begin).Seconds())
	return nil
}

// damage corrupts one value and drops one tile online, and shows both found.
func (d *demo) damage(ctx context.Context) error {
	v := d.def.Views[0]
	corrupted, dropped, err := d.sabotage(ctx, v, d.boundary)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, "Now one count in Redis is made one too high (%s),\nand one tile is dropped (%s). The reconciler finds:\n", corrupted, dropped)
	out, err := d.reconcile(ctx)
	if err != nil {
		return err
	}
	found := map[reconcile.Cause]bool{}
	for _, x := range out.Views[0].Listed {
		if x.Kind != reconcile.TileKind {
			continue
		}
		found[x.Cause] = true
		fmt.Fprintf(d.w, "  %-8s %s, partition %d, %s tile of %v: Redis %s, Parquet %s\n", x.Cause, strings.Join(x.Key, " "), *x.Partition, x.Level, x.Start, x.Online, x.Offline)
	}
	var causes []string
	for _, c := range reconcile.Causes() {
		if n := out.Views[0].Causes[c]; n > 0 {
			causes = append(causes, fmt.Sprintf("%d %s", n, c))
		}
	}
	fmt.Fprintf(d.w, "verdict: %s; %d differences, in tiles and in the values that they make: %s\n", out.Verdict, out.Views[0].Differences, strings.Join(causes, ", "))
	if !found[reconcile.Corrupt] || !found[reconcile.Missing] {
		return errors.New("the damage should have been found as corrupt and missing")
	}
	return nil
}
