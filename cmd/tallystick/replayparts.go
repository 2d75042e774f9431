package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// partFlags are those of the commands that do a part of a replay.
type partFlags struct {
	replayFlags
	plan   string // the file
	unit   string // I/N
	output string
}

const tablesUsage = "directory or URL `DIR`, such as s3://bucket/prefix, of the tables: DIR/VIEW/{features,tiles,open,quarantine}"

func (r *partFlags) command(use, short string, run func(ctx context.Context, w, notices io.Writer) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer r.bound(cmd.Context())()
			r.meter = r.logFlag.meter(cmd.ErrOrStderr())
			defer r.closeStore()
			return run(cmd.Context(), cmd.OutOrStdout(), r.notices(cmd.ErrOrStderr()))
		},
	}
	r.readFlags(cmd)
	r.storeFlags.add(cmd, 0)
	cmd.Flags().StringVar(&r.out, "out", "", tablesUsage)
	return cmd
}

func replayPlanCommand() *cobra.Command {
	r := &partFlags{replayFlags: replayFlags{limits: limits{memory: leastMemory, parallel: 1, spill: os.TempDir()}, units: defaultUnits(), planning: true}}
	cmd := r.command("plan", "Fix what a replay is of, as a file for `replay run` and `replay publish`", r.runPlan)
	r.startFlags.add(cmd)
	viewFlag(cmd, &r.views, "only the view")
	f := cmd.Flags()
	f.StringVar(&r.cut, "cut", "", "read up to this cut `FILE` (default: the log's end now)")
	f.StringVarP(&r.output, "output", "o", "", "write the plan to this `FILE` (default: print it)")
	r.units.addRecords(cmd)
	r.dates.add(cmd)
	r.entities.add(cmd)
	f.BoolVar(&r.goOn, "continue", false, continueUsage)
	r.estimateFlags.add(cmd)
	f.StringVar(&r.units.work, "work", "", workUsage+", for --estimate and its refusals")
	return cmd
}

func replayRunCommand() *cobra.Command {
	r := &partFlags{}
	cmd := r.command("run", "Run one process's share of a plan; every unit is run, whoever runs it", r.runShare)
	r.planFlag(cmd)
	r.limits.add(cmd, "`SIZE` that the process stays below; rows to be sorted that do not fit are spilled. Below 100MB it bounds the rows alone")
	r.units.addRun(cmd)
	f := cmd.Flags()
	f.Var(&r.disk, "disk", "fail rather than leave and spill more than this `SIZE` of rows (default: no limit)")
	f.StringVar(&r.unit, "unit", "", "which of how many processes this is, `I/N` with I from 0: those of a Kubernetes Indexed Job are $(JOB_COMPLETION_INDEX)/N")
	return cmd
}

func replayPublishCommand() *cobra.Command {
	r := &partFlags{}
	cmd := r.command("publish", "Publish what the processes of a plan have left, in one commit", r.runPublish)
	r.planFlag(cmd)
	r.limits.add(cmd, "`SIZE` that the process stays below. Below 100MB it bounds the rows alone")
	cmd.Flags().StringVar(&r.units.work, "work", "", workUsage)
	r.gate.add(cmd)
	return cmd
}

func (r *partFlags) planFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.plan, "plan", "", "the plan, a `FILE` that replay plan wrote")
	r.units = defaultUnits()
}

// checkPart refuses flags that are not sound.
func (r *partFlags) checkPart() error {
	if r.out == "" {
		return usagef("--out: name the directory or URL of the tables")
	}
	return r.checkOutputs()
}

func (r *partFlags) runPlan(ctx context.Context, w, notices io.Writer) error {
	if err := r.checkPart(); err != nil {
		return err
	}
	if err := checkFile("--output", r.output, r.definition(), r.tablesDir(), input{"cut file", r.cut}); err != nil {
		return err
	}
	vs, cut, client, err := r.inputs(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if cut, err = cutOf(ctx, client, cut, vs); err != nil {
		return err
	}
	if done, err := r.foresee(ctx, w, notices, client, cut, vs); done || err != nil {
		return err
	}
	plan, err := r.planned(ctx, client, cut, vs)
	if err != nil {
		return err
	}
	if r.output != "" {
		if err := files.SaveJSON(r.system(), r.output, plan); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
	}
	if r.json || r.output == "" {
		return printJSON(w, plan)
	}
	plan.print(w)
	return nil
}

// planned fixes what a replay of the views is of.
func (r *partFlags) planned(ctx context.Context, client *log.Client, cut *schemas.Cut, vs []*definition.View) (*replayPlan, error) {
	plan := &replayPlan{Cut: cut}
	var err error
	if plan.Build, err = build(); err != nil {
		return nil, err
	}
	if plan.Tables, err = r.identity(); err != nil {
		return nil, err
	}
	for _, v := range vs {
		pv, err := r.plannedView(ctx, client, plan, v)
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name, err)
		}
		plan.Views = append(plan.Views, *pv)
	}
	plan.Sum, err = plan.sum()
	return plan, err
}

func (r *partFlags) plannedView(ctx context.Context, client *log.Client, plan *replayPlan, v *definition.View) (*plannedView, error) {
	tc := plan.Cut.Topics[v.Source.Topic]
	o, whole, reason, err := r.startOf(ctx, client, v, tc)
	if err != nil {
		return nil, err
	}
	r.fromItsStart(v, reason)
	if o.standing(whole) {
		return nil, errors.New("nothing has come since the tables were published: there is nothing to plan")
	}
	rules, err := r.rulesOf(v)
	if err != nil {
		return nil, err
	}
	pv := &plannedView{View: v.Name, Fingerprint: v.Fingerprint, Rules: rules, UnitRecords: o.records, FinalOnly: o.finalOnly,
		Upon: o.publication(), Continued: o.continued, Dates: planDates(o.dates), Entities: o.entities}
	if o.from != schemas.Never {
		pv.ValidFrom = &o.from
	}
	if o.continued || o.dates != nil {
		pv.Cut = &whole
	}
	j, err := r.job(ctx, client, v, whole, o)
	if err != nil {
		return nil, err
	}
	defer j.close()
	pv.Units, pv.Base = len(j.units), j.run.Base()
	pv.ID, err = pv.id(plan.Build, rules, v, whole)
	return pv, err
}

// planOf reads the plan and checks the flags.
func (r *partFlags) planOf() (*replayPlan, []*definition.View, error) {
	def, err := r.load()
	if err != nil {
		return nil, nil, err
	}
	p, vs, err := r.loadPlan(r.plan, def)
	if err != nil {
		return nil, nil, err
	}
	if err := r.checkPart(); err != nil {
		return nil, nil, err
	}
	if err := r.checkTables(vs); err != nil {
		return nil, nil, err
	}
	out, err := r.identity()
	if err == nil && out != p.Tables {
		err = usagef("--plan: %s is of the tables in %s, --out is %s: name the same place, or plan anew", r.plan, p.Tables, out)
	}
	return p, vs, err
}

// identity is that of --out.
func (r *partFlags) identity() (string, error) {
	root, err := r.openRoot(r.out, r.spill)
	if err != nil {
		return "", err
	}
	return root.Identity()
}

// sharedOutput is what `replay run --json` prints.
type sharedOutput struct {
	Views []sharedView `json:"views"`
	// Calls are those of this process to the store of the tables.
	Calls *offline.CallCounts `json:"store_calls"`
}

type sharedView struct {
	View string `json:"view"`
	replayedUnits
	// Offsets of the log that are the plan's to read, and the records that this process
	// has read: more of these, over all processes, is what was read twice.
	Offsets     int64 `json:"offsets"`
	RecordsRead int64 `json:"records_read"`
	// Published: the plan has been published already, and nothing was run.
	Published bool `json:"published"`
}

// tellWaiting says what a process waits for that has run its share: others may not have
// been started yet.
func tellWaiting(notices io.Writer, view, unit string, more int, timeout time.Duration) {
	and := ""
	if more > 0 {
		and = fmt.Sprintf(" and %d lanes more", more)
	}
	fmt.Fprintf(notices, "view %s: waiting for unit %s%s of other processes: start these; what stands still for %v (--unit-timeout) is run here\n", view, unit, and, timeout)
}

func (r *partFlags) runShare(ctx context.Context, w, notices io.Writer) error {
	p, vs, err := r.planOf()
	if err != nil {
		return err
	}
	share, of, err := parseShare(r.unit)
	if err != nil {
		return err
	}
	if err := r.checkLog(vs); err != nil {
		return err
	}
	client, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := cutOf(ctx, client, p.Cut, vs); err != nil {
		return err
	}
	out, before := sharedOutput{Views: []sharedView{}}, r.calls()
	for i, v := range vs {
		sv := sharedView{View: v.Name}
		err := r.part(ctx, client, p, i, v, share, of, func(j *viewJob, published bool) error {
			sv.Published = published
			if !published {
				j.waiting = func(unit string, more int) { tellWaiting(notices, v.Name, unit, more, r.units.timeout) }
				err := j.runUnits(ctx)
				sv.Ran, sv.Found = j.ran.Load(), j.found.Load()
				sv.Offsets, sv.RecordsRead = j.toRead(), j.read
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
		out.Views = append(out.Views, sv)
	}
	calls := r.calls().Since(before)
	out.Calls = &calls
	if r.json {
		return printJSON(w, out)
	}
	for _, v := range out.Views {
		if v.Published {
			fmt.Fprintf(w, "view %s: the plan has been published already\n", v.View)
			continue
		}
		fmt.Fprintf(w, "view %s: %d units were run, %d were finished before, %d records read, of %d offsets; publish them with `tallystick replay publish`\n", v.View, v.Ran, v.Found, v.RecordsRead, v.Offsets)
	}
	fmt.Fprintf(w, "tables in %s; %s\n", r.out, callsText(&calls))
	return nil
}

// part calls fn with the job of a plan's view; it is nil where that has been published
// already.
func (r *partFlags) part(ctx context.Context, client *log.Client, p *replayPlan, i int, v *definition.View, share, of int, fn func(j *viewJob, published bool) error) error {
	err := r.partOf(ctx, client, p, i, v, share, of, fn)
	if err != nil {
		return fmt.Errorf("view %s: %w", v.Name, err)
	}
	return nil
}

func (r *partFlags) partOf(ctx context.Context, client *log.Client, p *replayPlan, i int, v *definition.View, share, of int, fn func(j *viewJob, published bool) error) error {
	pv := &p.Views[i]
	tc := p.cutOf(i, v)
	tables, err := r.tables(r.out, r.spill, v)
	if err != nil {
		return err
	}
	done, err := pv.published(ctx, tables, tc)
	if err != nil {
		return err
	}
	if done {
		return fn(nil, true)
	}
	o, err := r.options(ctx, v, pv)
	if err != nil {
		return err
	}
	o.share, o.of = share, of
	return r.withJob(ctx, client, v, tc, o, func(j *viewJob) error { return fn(j, false) })
}

func (r *partFlags) runPublish(ctx context.Context, w, _ io.Writer) error {
	p, vs, err := r.planOf()
	if err != nil {
		return err
	}
	if err := r.checkSources(vs); err != nil {
		return err
	}
	out, before := &replayOutput{Cut: p.Cut, Root: r.out, Views: []replayedView{}}, r.calls()
	var already []string
	for i, v := range vs {
		err := r.part(ctx, nil, p, i, v, 0, 1, func(j *viewJob, published bool) error {
			if published {
				already = append(already, v.Name)
				return nil
			}
			var view *replayedView
			err := j.checkSchemas(ctx)
			if err == nil {
				view, _, err = j.publish(ctx)
			}
			if unit := unfinished(err); unit != "" {
				// Unless another one that has published has removed it.
				done, err := p.Views[i].published(ctx, j.tables, j.cut)
				if err == nil && !done {
					err = notRun(unit)
				} else if err == nil {
					already = append(already, v.Name)
				}
				return err
			}
			if err != nil {
				return err
			}
			out.Views = append(out.Views, *view)
			return nil
		})
		if err != nil {
			return err
		}
	}
	calls := r.calls().Since(before)
	out.Calls = &calls
	if !r.json {
		for _, name := range already {
			fmt.Fprintf(w, "view %s: the plan has been published already\n", name)
		}
	}
	return out.tell(w, r.json)
}

func notRun(unit string) error {
	return fmt.Errorf("unit %s is not finished: run `tallystick replay run` with this plan, all of its processes, and then publish", unit)
}
