package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/rows"
)

// replayFlags are the flags of `replay`.
type replayFlags struct {
	common
	startFlags
	limits
	everyFlag
	storeFlags
	views        []string
	out          string
	quarantine   string
	cut, saveCut string
	disk         bytesFlag
	meter        *meter // nil = no progress
}

func replayCommand() *cobra.Command {
	var r replayFlags
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Fold the log up to a cut: the ledger, and with --out the tables as Parquet",
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer r.bound()()
			r.meter = r.logFlag.meter(cmd.ErrOrStderr())
			return r.run(cmd.Context(), cmd.OutOrStdout(), r.notices(cmd.ErrOrStderr()))
		},
	}
	r.readFlags(cmd)
	r.startFlags.add(cmd)
	r.limits.add(cmd, "`SIZE` that the process stays below; rows to be sorted that do not fit are spilled. Below 100MB it bounds the rows alone")
	r.everyFlag.add(cmd)
	r.storeFlags.add(cmd, 0)
	f := cmd.Flags()
	viewFlag(cmd, &r.views, "only the view")
	f.StringVar(&r.out, "out", "", "directory or URL `DIR`, such as s3://bucket/prefix, of the tables: DIR/VIEW/{features,tiles,open,quarantine}")
	f.StringVar(&r.quarantine, "quarantine", "", "directory `DIR` for DIR/VIEW.parquet: every record that is late, future, invalid or in conflict, with the reason")
	f.StringVar(&r.cut, "cut", "", "read up to this cut `FILE` (default: the log's end now)")
	f.StringVar(&r.saveCut, "save-cut", "", "write the cut, with the clocks at its end, to this `FILE`")
	f.Var(&r.disk, "disk", "fail rather than spill more than this `SIZE` (default: no limit)")
	return cmd
}

func (r *replayFlags) run(ctx context.Context, w, notices io.Writer) error {
	vs, err := r.loadViews(r.views)
	if err != nil {
		return err
	}
	if err := r.checkOutputs(); err != nil {
		return err
	}
	defer r.closeStore()
	cut, err := r.checkInputs(vs)
	if err != nil {
		return err
	}
	client, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return r.rounds(ctx, notices, func(ctx context.Context) error { return r.round(ctx, w, client, cut, vs) })
}

// round replays up to the cut, nil = the log's end now.
func (r *replayFlags) round(ctx context.Context, w io.Writer, client *log.Client, cut *schemas.Cut, vs []*definition.View) error {
	cut, err := cutOf(ctx, client, cut, vs)
	if err != nil {
		return err
	}
	out, err := r.replay(ctx, client, cut, vs)
	if err != nil {
		return err
	}
	if r.saveCut != "" {
		if err := cut.Save(r.saveCut); err != nil {
			return err
		}
	}
	if r.json {
		return printJSON(w, out)
	}
	out.print(w)
	return nil
}

// bound makes the process keep below its memory, until the returned function is
// called.
func (r *replayFlags) bound() (restore func()) {
	if r.memory < leastMemory {
		return func() {}
	}
	return (&memoryFlag{r.memory}).bound()
}

// rows is how many bytes rows to be sorted may take: beside them are what is being
// read, what is being written, and what the garbage collector has not taken back.
func (r *replayFlags) rows() int {
	if r.memory < leastMemory {
		return int(r.memory)
	}
	return int((&memoryFlag{r.memory}).heap() / 4 * 3)
}

func (r *replayFlags) checkOutputs() error {
	if err := r.everyFlag.check(); err != nil {
		return err
	}
	if r.every > 0 && r.cut != "" {
		return usagef("--every: it goes without --cut: the tables up to one cut are written once")
	}
	if err := checkFile("--save-cut", r.saveCut, r.definition()); err != nil {
		return err
	}
	if err := checkTree("--out", r.out); err != nil {
		return err
	}
	if err := checkTree("--quarantine", r.quarantine); err != nil {
		return err
	}
	if err := r.storeFlags.check(); err != nil {
		return err
	}
	return r.limits.check()
}

// checkInputs refuses flags that are not sound, before anything is connected,
// and returns the cut, if it is a file.
func (r *replayFlags) checkInputs(vs []*definition.View) (*schemas.Cut, error) {
	if err := r.startFlags.check(); err != nil {
		return nil, err
	}
	if err := r.checkLog(vs); err != nil {
		return nil, err
	}
	for _, v := range vs {
		if r.quarantine != "" {
			if err := checkRegular("--quarantine", filepath.Join(r.quarantine, v.Name+".parquet")); err != nil {
				return nil, err
			}
		}
	}
	if err := r.checkTables(vs); err != nil {
		return nil, err
	}
	return loadCut("--cut", r.cut, topics(vs))
}

// checkTables refuses a directory that cannot hold tables of the views.
func (r *replayFlags) checkTables(vs []*definition.View) error {
	if r.out == "" {
		return nil
	}
	for _, v := range vs {
		if _, err := r.tables(r.out, r.spill, v); err != nil {
			return err
		}
	}
	return nil
}

// replay replays every view over the cut and fills in the cut's clocks.
func (r *replayFlags) replay(ctx context.Context, client *log.Client, cut *schemas.Cut, vs []*definition.View) (_ *replayOutput, err error) {
	if r.quarantine != "" {
		_, missing := os.Stat(r.quarantine)
		if err := os.MkdirAll(r.quarantine, 0o755); err != nil {
			return nil, usagef("--quarantine: %w", err)
		}
		defer func() {
			if err != nil && missing != nil {
				os.Remove(r.quarantine) // unless a view's file is in it
			}
		}()
	}
	out, before := &replayOutput{Cut: cut, Root: r.out}, r.calls()
	for _, v := range vs {
		view, err := r.one(ctx, client, cut, v)
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name, err)
		}
		out.Views = append(out.Views, *view)
	}
	if r.out != "" {
		calls := r.calls().Since(before)
		out.Calls = &calls
	}
	return out, nil
}

func (r *replayFlags) one(ctx context.Context, client *log.Client, cut *schemas.Cut, v *definition.View) (*replayedView, error) {
	dir, remove, err := r.scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	tc := cut.Topics[v.Source.Topic]
	from, err := r.validFrom(ctx, client, v, tc)
	if err != nil {
		return nil, err
	}
	source, err := r.source(v)
	if err != nil {
		return nil, err
	}
	disk := spill.NewDisk(int64(r.disk))
	out, err := r.outputs(ctx, v, dir, disk)
	if err != nil {
		return nil, err
	}
	defer out.abort(ctx)
	phase := r.meter.phase("replay "+v.Name, cutRecords(tc))
	job := &batch.Replay{View: v, Source: source, Log: client, Cut: tc, Parallel: r.parallel, Memory: r.rows() / 2,
		Disk: disk, SpillDir: dir, ValidFrom: from, Progress: phase.done}
	out.of(job)
	report, err := job.Run(ctx)
	phase.end()
	if err != nil {
		return nil, err
	}
	for p, pc := range tc.Partitions {
		if c := report.Clocks[p]; c != schemas.Never {
			pc.Clock = &c
			tc.Partitions[p] = pc
		}
	}
	if err := out.publish(ctx, v, tc, from, report); err != nil {
		return nil, err
	}
	view := replayed(v, tc, from, report)
	return &view, nil
}

// cutRecords bounds how many records a cut holds: offsets are no count, but
// good enough for a meter.
func cutRecords(tc schemas.TopicCut) int64 {
	var n int64
	for _, p := range tc.Partitions {
		n += p.End - p.Start
	}
	return n
}

// viewRecords is the sum of it over views, each of which reads by itself.
func viewRecords(cut *schemas.Cut, vs []*definition.View) (n int64) {
	for _, v := range vs {
		n += cutRecords(cut.Topics[v.Source.Topic])
	}
	return n
}

// outputs are what a replay writes: tables, a quarantine file, both or neither.
type outputs struct {
	tables *offline.ViewWriter
	file   *offline.QuarantineWriter
}

func (r *replayFlags) outputs(ctx context.Context, v *definition.View, dir string, disk *spill.Disk) (*outputs, error) {
	o := &outputs{}
	if r.quarantine != "" {
		o.file = offline.QuarantineFile(filepath.Join(r.quarantine, v.Name+".parquet"), r.rows()/8)
	}
	if r.out == "" {
		return o, nil
	}
	tables, err := r.tables(r.out, r.spill, v)
	if err != nil {
		return nil, err
	}
	o.tables, err = tables.NewWriter(ctx, offline.RunOptions{SpillDir: dir, Memory: r.rows() / 2, Disk: disk})
	return o, err
}

// of makes the job write these outputs.
func (o *outputs) of(job *batch.Replay) {
	if o.tables != nil {
		job.Tables, job.Quarantine = o.tables, append(job.Quarantine, o.tables)
	}
	if o.file != nil {
		job.Quarantine = append(job.Quarantine, o.file)
	}
}

func (o *outputs) abort(ctx context.Context) {
	if o.tables != nil {
		o.tables.Abort(ctx) // what cannot be removed is for the next run; spilled rows go with the scratch directory
	}
	if o.file != nil {
		o.file.Abort()
	}
}

// publish makes what was written visible, in one publication.
func (o *outputs) publish(ctx context.Context, v *definition.View, tc schemas.TopicCut, from schemas.Micros, r *batch.Report) error {
	if o.file != nil {
		if _, err := o.file.Close(ctx); err != nil {
			return err
		}
	}
	if o.tables == nil {
		return nil
	}
	staged, err := o.tables.Stage(ctx, tc)
	if err != nil {
		return err
	}
	_, err = staged.Publish(ctx, publication(v, from, r))
	if errors.Is(err, offline.ErrConflict) {
		return fmt.Errorf("%w; nothing of this run is visible: run it again", err)
	}
	return err
}

func publication(v *definition.View, from schemas.Micros, r *batch.Report) offline.Publication {
	p := offline.Publication{Mode: offline.ReplaceTable, Topic: v.Source.Topic}
	if r.Boundary != schemas.Never {
		p.Boundary = &r.Boundary
	}
	if from != schemas.Never {
		p.ValidFrom = &from
	}
	for k, l := range r.Ledgers {
		row := rows.Ledger{Shard: k.Shard, Partition: k.Partition, Ledger: *l}
		if t, ok := r.Newest[k]; ok {
			row.Newest = &t
		}
		p.Ledgers = append(p.Ledgers, row)
	}
	for k, l := range r.Days {
		p.Days = append(p.Days, offline.DayEntry{Partition: k.Partition, Day: dayText(k.Day), Ledger: *l})
	}
	return p
}

// dayText formats days since the epoch as YYYY-MM-DD, "" for none.
func dayText(day int64) string {
	if day == batch.NoDay {
		return ""
	}
	return (schemas.Micros(day) * schemas.Day).Time().Format("2006-01-02")
}
