package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// demo runs the whole loop inside this process: Kafka and Redis are embedded.
type demo struct {
	loop
	dir  string
	done demoOutput
	// boundary is the closed one of the view that is sabotaged.
	boundary schemas.Micros
}

// demoOutput is what `demo --json` prints.
type demoOutput struct {
	Kills     int              `json:"kills"`
	Replay    *replayOutput    `json:"replay"`
	Reconcile *reconcileOutput `json:"reconcile"`
	Damaged   *reconcileOutput `json:"reconcile_damaged"` // with one value corrupted and one tile dropped
}

func demoCommand() *cobra.Command {
	d := &demo{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "A year of flights through both stores, embedded, and the verdict",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.w, d.meter = cmd.OutOrStdout(), newMeter(cmd.ErrOrStderr())
			text := d.w
			if d.json {
				d.w = io.Discard
			}
			err := d.run(cmd.Context())
			if d.json && err == nil {
				err = printJSON(text, &d.done)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&d.dir, "dir", "tallystick-demo", "directory `DIR` for the definition and the Parquet tables")
	cmd.Flags().BoolVar(&d.json, "json", false, "print one JSON object instead of text")
	return cmd
}

func (d *demo) run(ctx context.Context) error {
	begin := time.Now()
	defer boundMemory()()
	defer d.close()
	for _, phase := range []func(context.Context) error{d.start, d.fill, d.both, d.damage} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	tables, err := filepath.Abs(d.out)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, `
The Parquet tables (Delta) are in %[1]s. Read them, for example, with
  duckdb -c "select dest, boundary, flights_7d, delay_7d from delta_scan('%[1]s/dest_delays/features') order by boundary desc limit 5"
  python3 -c "from deltalake import DeltaTable; print(DeltaTable('%[1]s/dest_delays/features').to_pandas().tail())"
The definition is %[2]s. Done in %.0[3]f s.
`, tables, d.file, time.Since(begin).Seconds())
	return nil
}

// start unpacks the definition and starts the servers.
func (d *demo) start(ctx context.Context) error {
	if err := checkTablesIn("--dir", d.dir); err != nil {
		return err
	}
	if err := flightsProject().checkUnchanged("--dir", d.dir); err != nil {
		return err
	}
	if err := flightsProject().unpack(d.dir, writeText); err != nil {
		return usagef("--dir: %w", err)
	}
	d.file, d.out, d.notices = filepath.Join(d.dir, definitionFile), filepath.Join(d.dir, tablesDir), io.Discard
	def, err := definition.Load(d.file)
	if err != nil {
		return err
	}
	d.vs = def.Views
	return errors.Join(d.embedLog(ctx), d.embedRedis(ctx))
}

func (d *demo) fill(ctx context.Context) error {
	from := samples(0, 0)
	delete(from, "orders")
	p := d.meter.phase("fill", from["flights"].about+from["weather"].about)
	n, err := createAndFill(ctx, d.client, from, nil, func(n int) { p.done.Add(int64(n)) })
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

// both fills both stores from one cut, and shows that they are equal.
func (d *demo) both(ctx context.Context) error {
	cut, err := d.cut(ctx)
	if err != nil {
		return err
	}
	if err := d.stream(ctx, cut); err != nil {
		return err
	}
	if d.done.Replay, err = d.replay(ctx, cut); err != nil {
		return err
	}
	out, err := d.judge(ctx)
	d.done.Reconcile = out
	if err != nil {
		return errors.Join(errors.New("the stores should be equal"), err)
	}
	fmt.Fprintln(d.w)
	d.boundary = schemas.Micros(out.Views[0].Boundary)
	return nil
}

// stream keeps the features in Redis; the worker is killed several times.
func (d *demo) stream(ctx context.Context, cut *schemas.Cut) error {
	p := d.meter.phase("stream", viewRecords(cut, d.vs))
	defer p.end()
	for _, writes := range []int64{2, 4, 6, 8, 1 << 60} {
		left := new(atomic.Int64)
		left.Store(writes)
		err := d.follow(ctx, cut, p, func(st *online.Store) stream.Sink { return mortal{st, left} })
		if errors.Is(err, errKilled) {
			d.done.Kills++
			continue
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(d.w, "Redis    the features of %d views, kept by the stream worker, killed %d times on the way (%.1f s)\n", len(d.vs), d.done.Kills, p.took().Seconds())
	return nil
}

// damage corrupts one value and drops one tile online, and shows both found.
func (d *demo) damage(ctx context.Context) error {
	v := d.vs[0]
	corrupted, dropped, err := d.sabotage(ctx, v, d.boundary)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, "Now one count in Redis is made one too high (%s),\nand one tile is dropped (%s). The reconciler finds:\n", corrupted, dropped)
	out, err := d.reconcile(ctx)
	if err != nil {
		return err
	}
	d.done.Damaged = out
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
