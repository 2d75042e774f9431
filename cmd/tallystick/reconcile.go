package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// reconcileFlags are the flags of `reconcile`.
type reconcileFlags struct {
	common
	redisFlags
	everyFlag
	storeFlags
	views  []string
	out    string
	sample float64
	list   int
	html   string
	meter  *meter // nil = no progress
}

func reconcileCommand() *cobra.Command {
	var r reconcileFlags
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare the online and the offline store and name the cause of every difference",
		Long: `Compare the online store with the tables that replay wrote: every closed tile
that both still hold, byte for byte, the values at the closed boundaries, and the
ledgers where both stand at one position. With --brokers, what differs is replayed
from the log to tell which side is right.

Exit codes: 0 equal, 3 the stores differ, 4 so many values diverge that the alert
fires, 1 nothing could be compared or the comparison failed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.meter = r.logFlag.meter(cmd.ErrOrStderr())
			return r.run(cmd.Context(), cmd.OutOrStdout(), r.notices(cmd.ErrOrStderr()))
		},
	}
	r.readFlags(cmd)
	r.redisFlags.add(cmd)
	r.everyFlag.add(cmd)
	r.storeFlags.add(cmd, 0)
	f := cmd.Flags()
	viewFlag(cmd, &r.views, "only the view")
	f.StringVar(&r.out, "out", os.Getenv("TALLYSTICK_OUT"), "directory or URL `DIR` of the tables, as given to replay ($TALLYSTICK_OUT)")
	f.Float64Var(&r.sample, "sample", 1, "compare this `SHARE` of the entities, above 0 and up to 1, chosen by their hash")
	f.StringVar(&r.html, "html", "", "also write the report as a page to `FILE`")
	f.IntVar(&r.list, "list", 100, "let --json name at most `N` differences")
	return cmd
}

func (r *reconcileFlags) run(ctx context.Context, w, notices io.Writer) error {
	vs, err := r.loadViews(r.views)
	if err != nil {
		return err
	}
	if err := r.check(vs); err != nil {
		return err
	}
	defer r.closeStore()
	redis, err := r.redisFlags.open(ctx)
	if err != nil {
		return err
	}
	defer redis.Close()
	var client *log.Client
	if r.brokers != "" {
		if client, err = r.common.open(ctx); err != nil {
			return err
		}
		defer client.Close()
	}
	return r.rounds(ctx, notices, func(ctx context.Context) error { return r.round(ctx, w, redis, client, vs) })
}

// round compares once and tells the outcome.
func (r *reconcileFlags) round(ctx context.Context, w io.Writer, redis *online.Client, client *log.Client, vs []*definition.View) error {
	out, err := r.reconcile(ctx, redis, client, vs)
	if err != nil {
		return err
	}
	r.seen.reported(out.Views)
	if r.html != "" {
		err = writeFile(r.html, func(w io.Writer) error { return reconcile.WriteHTML(w, out.Views) })
	}
	if r.json {
		err = errors.Join(err, printJSON(w, out))
	} else {
		out.print(w)
	}
	return errors.Join(err, out.outcome())
}

// check refuses flags that are not sound, before anything is connected.
func (r *reconcileFlags) check(vs []*definition.View) error {
	if err := r.everyFlag.check(); err != nil {
		return err
	}
	if !(r.sample > 0 && r.sample <= 1) {
		return usagef("--sample: %v is no share of the entities: name one above 0 and up to 1", r.sample)
	}
	if r.list < 0 {
		return usagef("--list: %d is no number of differences: name 0 or more", r.list)
	}
	if err := checkFile("--html", r.html, r.definition()); err != nil {
		return err
	}
	if err := r.storeFlags.check(); err != nil {
		return err
	}
	if err := r.checkTables(vs); err != nil {
		return err
	}
	if err := r.redisFlags.check(); err != nil {
		return err
	}
	if r.brokers == "" {
		return nil // the log is not asked
	}
	return r.checkLog(vs)
}

// checkTables refuses a directory that cannot hold what replay wrote.
func (r *reconcileFlags) checkTables(vs []*definition.View) error {
	if err := checkWritten(r.out); err != nil {
		return err
	}
	for _, v := range vs {
		if _, err := r.tables(r.out, "", v); err != nil {
			return err
		}
	}
	return nil
}

// checkWritten refuses what is no directory. A URL is left to its store.
func checkWritten(dir string) error {
	if dir == "" {
		return usagef("--out: no tables: name the directory that replay wrote")
	}
	if offline.IsURL(dir) {
		return nil
	}
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return usagef("--out: %w; write the tables with `tallystick replay --out`", told(dir, "directory", err))
	case !st.IsDir():
		return usagef("--out: %s is not a directory: name the one that replay wrote", dir)
	}
	return nil
}

// reconcileOutput is what `reconcile --json` prints.
type reconcileOutput struct {
	Verdict reconcile.Verdict   `json:"verdict"` // the worst of the views
	Alert   bool                `json:"alert"`
	Views   []*reconcile.Report `json:"views"`
}

// reconcile compares every view; without a log client no replay tells who is right.
func (r *reconcileFlags) reconcile(ctx context.Context, redis *online.Client, client *log.Client, vs []*definition.View) (*reconcileOutput, error) {
	out := &reconcileOutput{Verdict: reconcile.Equal}
	for _, v := range vs {
		rep, err := r.one(ctx, redis, client, v)
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name, err)
		}
		out.Views = append(out.Views, rep)
		out.Alert = out.Alert || rep.Alert
		if rep.Verdict == reconcile.Differs || rep.Verdict == reconcile.NothingCompared && out.Verdict == reconcile.Equal {
			out.Verdict = rep.Verdict
		}
	}
	return out, nil
}

func (r *reconcileFlags) one(ctx context.Context, redis *online.Client, client *log.Client, v *definition.View) (*reconcile.Report, error) {
	tables, err := r.tables(r.out, "", v)
	if err != nil {
		return nil, err
	}
	published, err := tables.Published(ctx)
	if errors.Is(err, offline.ErrNothingPublished) {
		return nil, fmt.Errorf("%w in %s: write the tables with `tallystick replay --out`", offline.ErrNothingPublished, r.out)
	}
	if err == nil && published.Info.Entities != nil {
		err = usagef("--out: the tables hold %v alone, the online store all: name tables of all", published.Info.Entities)
	}
	if err != nil {
		return nil, err
	}
	var replayer reconcile.Replayer
	if client != nil {
		source, err := r.source(v)
		if err != nil {
			return nil, err
		}
		engine, err := transforms.NewView(v.Spec)
		if err != nil {
			return nil, err
		}
		replayer = &replaySide{client: client, source: source, view: v, engine: engine, cut: published.Info.Cut}
	}
	phase := r.meter.phaseOf("reconcile "+v.Name, "states", 0)
	defer phase.end()
	return reconcile.Run(ctx, v, &onlineSide{redis, redis.Store(v), v.Name}, offlineSide{published}, replayer,
		reconcile.Options{Sample: r.sample, List: r.list, Progress: phase.done})
}

func (o *reconcileOutput) print(w io.Writer) {
	for i, v := range o.Views {
		if i > 0 {
			fmt.Fprintln(w)
		}
		v.Print(w)
	}
}

// outcome turns the verdict into the exit code.
func (o *reconcileOutput) outcome() error {
	switch {
	case o.Alert:
		return &exitError{exitDiverged, errors.New("the stores diverge: alert")}
	case o.Verdict == reconcile.Differs:
		return &exitError{exitDiffers, errors.New("the stores differ")}
	case o.Verdict == reconcile.NothingCompared:
		return errors.New("nothing could be compared")
	}
	return nil
}
