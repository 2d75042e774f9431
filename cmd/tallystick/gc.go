package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/offline"
)

// gcRate is how many calls a second GC makes, unless told otherwise: it is in no
// hurry, and others use the store.
const gcRate = 100

// gcFlags are the flags of `gc`.
type gcFlags struct {
	storeFlags
	out    string
	views  []string
	older  time.Duration
	dryRun bool
	json   bool
}

func gcCommand() *cobra.Command {
	var g gcFlags
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove files of the tables that no version names which is still read",
		Long: `Remove from the tables what nobody reads any more: files that runs have left
which were killed, and files of versions that were superseded longer ago than
--older-than. The newest version of every table stays, and so do younger ones and
the whole log; what is removed cannot be read at its old versions again.

It needs no definition, lists directory by directory, and may run beside jobs and
readers. Look at what --dry-run prints first.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return g.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	g.storeFlags.add(cmd, gcRate)
	f := cmd.Flags()
	f.StringVar(&g.out, "out", os.Getenv("TALLYSTICK_OUT"), "directory or URL `DIR` of the tables, as given to replay ($TALLYSTICK_OUT)")
	viewFlag(cmd, &g.views, "only the view")
	f.DurationVar(&g.older, "older-than", 7*24*time.Hour, "keep what is younger than this `DURATION`, 24h or more")
	f.BoolVar(&g.dryRun, "dry-run", false, "remove nothing, and print what would be removed")
	f.BoolVar(&g.json, "json", false, "print one JSON object instead of text")
	return cmd
}

// gcOutput is what `gc --json` prints.
type gcOutput struct {
	DryRun bool               `json:"dry_run"`
	Tables []offline.GCTable  `json:"tables"`
	Files  []string           `json:"files,omitempty"` // with dry_run: what would be removed
	Calls  offline.CallCounts `json:"store_calls"`
}

func (g *gcFlags) run(ctx context.Context, w io.Writer) error {
	if err := g.storeFlags.check(); err != nil {
		return err
	}
	if g.older < offline.LeastRetain {
		return usagef("--older-than: %v is too short: name 24h or more, as a job may be about to publish younger files", g.older)
	}
	if err := errors.Join(checkViews(g.views), checkWritten(g.out)); err != nil {
		return err
	}
	root, err := g.openRoot(g.out, "")
	if err != nil {
		return err
	}
	defer g.closeStore()
	out := gcOutput{DryRun: g.dryRun, Tables: []offline.GCTable{}}
	opt := offline.GCOptions{Retain: g.older, Now: time.Now(), Views: g.views, DryRun: g.dryRun}
	if g.dryRun {
		opt.File = func(name string) {
			if out.Files = append(out.Files, name); !g.json {
				fmt.Fprintln(w, name)
			}
		}
	}
	tables, err := root.GC(ctx, opt)
	if none := (*offline.NoViewError)(nil); errors.As(err, &none) {
		return usagef("--view: %w", none)
	}
	if err != nil {
		return err
	}
	out.Tables, out.Calls = append(out.Tables, tables...), g.calls()
	if g.json {
		return printJSON(w, out)
	}
	out.print(w)
	return nil
}

func (o *gcOutput) print(w io.Writer) {
	removed := "removed"
	if o.DryRun {
		removed = "would be removed"
	}
	for _, t := range o.Tables {
		fmt.Fprintf(w, "table %s: %d files of %d versions kept; %s: %d files (%d bytes), %d killed runs, %d uploads; %d files are too young\n",
			t.Table, t.Kept, t.Versions, removed, t.Removed, t.Bytes, t.Staged, t.Uploads, t.Young)
	}
	if len(o.Tables) == 0 {
		fmt.Fprintln(w, "there are no tables")
	}
	fmt.Fprintln(w, callsText(&o.Calls))
}
