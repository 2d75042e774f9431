package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// replayFlags are the flags of `replay`.
type replayFlags struct {
	common
	startFlags
	limits
	everyFlag
	storeFlags
	estimateFlags
	planning     bool // others run what is planned, with what memory nobody knows
	views        []string
	out          string
	quarantine   string
	cut, saveCut string
	disk         bytesFlag
	units        unitFlags
	goOn         bool
	dates        dateFlags
	entities     entityFlag
	gate         gateFlags
	meter        *meter // nil = no progress
}

const continueUsage = "go on from the tables in --out: read what has come since their cut alone. Where that cannot be, it is said why and the log is read from its start"

func replayCommand() *cobra.Command {
	var r replayFlags
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Fold the log up to a cut: the ledger, and with --out the tables as Parquet",
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer r.bound(cmd.Context())()
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
	f.StringVar(&r.out, "out", "", tablesUsage)
	f.StringVar(&r.quarantine, "quarantine", "", "directory `DIR` for DIR/VIEW.parquet: every record that is late, future, invalid or in conflict, with the reason")
	f.StringVar(&r.cut, "cut", "", "read up to this cut `FILE` (default: the log's end now)")
	f.StringVar(&r.saveCut, "save-cut", "", "write the cut, with the clocks at its end, to this `FILE`")
	f.Var(&r.disk, "disk", "fail rather than leave and spill more than this `SIZE` of rows (default: no limit)")
	r.units.add(cmd)
	r.gate.add(cmd)
	f.BoolVar(&r.goOn, "continue", false, continueUsage)
	r.dates.add(cmd)
	r.entities.add(cmd)
	r.estimateFlags.add(cmd)
	cmd.AddCommand(replayPlanCommand(), replayRunCommand(), replayPublishCommand(), replayHeldCommand(), replayAcceptCommand())
	return cmd
}

func (r *replayFlags) run(ctx context.Context, w, notices io.Writer) error {
	defer r.closeStore()
	vs, cut, client, err := r.inputs(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return r.rounds(ctx, notices, func(ctx context.Context) error { return r.round(ctx, w, notices, client, cut, vs) })
}

// inputs checks the flags, and opens what is read: the cut is nil where no flag names
// one. Close the client.
func (r *replayFlags) inputs(ctx context.Context) ([]*definition.View, *schemas.Cut, *log.Client, error) {
	vs, err := r.loadViews(r.views)
	if err == nil {
		err = r.checkOutputs()
	}
	var cut *schemas.Cut
	if err == nil {
		cut, err = r.checkInputs(vs)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := r.open(ctx)
	return vs, cut, client, err
}

// round replays up to the cut, nil = the log's end now.
func (r *replayFlags) round(ctx context.Context, w, notices io.Writer, client *log.Client, cut *schemas.Cut, vs []*definition.View) error {
	cut, err := cutOf(ctx, client, cut, vs)
	if err != nil {
		return err
	}
	if done, err := r.foresee(ctx, w, notices, client, cut, vs); done || err != nil {
		return err
	}
	out, err := r.replay(ctx, client, cut, vs)
	if err != nil {
		return err
	}
	if err := r.save(cut); err != nil {
		return err
	}
	return out.tell(w, r.json)
}

// save writes the cut where it is asked for.
func (r *replayFlags) save(cut *schemas.Cut) error {
	if r.saveCut == "" {
		return nil
	}
	if err := files.SaveJSON(r.system(), r.saveCut, cut); err != nil {
		return fmt.Errorf("--save-cut: %w", err)
	}
	return nil
}

// bound makes the process keep below its memory, see memoryFlag.bound.
func (r *replayFlags) bound(ctx context.Context) (restore func()) {
	if r.memory < leastMemory {
		return func() {}
	}
	return (&memoryFlag{r.memory}).bound(ctx)
}

// rows is how many bytes rows to be sorted may take: beside them are what is being
// read, what is being written, and what the garbage collector has not taken back.
func (r *replayFlags) rows() int {
	if r.memory < leastMemory {
		return int(r.memory)
	}
	return int((&memoryFlag{r.memory}).heap() / 4 * 3)
}

// tablesDir is --out, where no file may stand.
func (r *replayFlags) tablesDir() input { return input{"directory of the tables", r.out} }

func (r *replayFlags) checkOutputs() error {
	if err := r.everyFlag.check(); err != nil {
		return err
	}
	if r.goOn && r.out == "" {
		return usagef("--continue: it goes on from the tables in --out: name them")
	}
	if r.goOn && r.quarantine != "" {
		return usagef("--continue: it goes without --quarantine, which holds the records of the whole log: they are in table quarantine too")
	}
	if r.every > 0 && r.cut != "" {
		return usagef("--every: it goes without --cut: the tables up to one cut are written once")
	}
	if r.every > 0 && r.estimate {
		return usagef("--estimate: it goes without --every: it is told once")
	}
	if err := r.checkDates(); err != nil {
		return err
	}
	if err := checkFile("--save-cut", r.saveCut, r.definition(), r.tablesDir()); err != nil {
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
	if err := r.units.check(); err != nil {
		return err
	}
	if err := r.gate.check(); err != nil {
		return err
	}
	return r.limits.check()
}

// checkInputs refuses flags that are not sound, before anything is connected,
// and returns the cut, if it is a file.
func (r *replayFlags) checkInputs(vs []*definition.View) (*schemas.Cut, error) {
	if err := r.startFlags.check(r.dates.set()); err != nil {
		return nil, err
	}
	if err := r.checkLog(vs); err != nil {
		return nil, err
	}
	for _, v := range vs {
		if _, _, err := r.entities.of(v); err != nil {
			return nil, err
		}
		if r.units.publish == publishFinal && v.Spec.Table {
			return nil, usagef("--publish: view %s is of a table, of which no row is ever final: name the others with --view", v.Name)
		}
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
		if offline.IsURL(r.out) {
			continue
		}
		for _, table := range []offline.TableName{offline.Features, offline.Tiles, offline.Open, offline.Quarantine} {
			if err := checkTree("--out", filepath.Join(r.out, v.Name, string(table))); err != nil {
				return err
			}
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
