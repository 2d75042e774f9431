package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// tablesFlags say what an online store is restored from (O2, O5).
type tablesFlags struct {
	from  string // "" = the log alone
	spill string
	root  *offline.Root // nil until it is asked for
}

func (t *tablesFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.from, "from-tables", "", "restore what has no marker in Redis from the tables in `DIR`, or at a URL, as given to replay --out, and go on from their cut (default: from the log's start)")
	f.StringVar(&t.spill, "spill-dir", os.TempDir(), "with --from-tables: `DIR` where tiles are sorted of views that look back on many dates")
	f.Lookup("spill-dir").DefValue = "the system's"
}

// check refuses what are no tables of these views.
func (t *tablesFlags) check(vs []*definition.View) error {
	if t.from == "" {
		return nil
	}
	root, err := openTablesOf("--from-tables", t.from, t.spill, vs)
	t.root = root
	return err
}

// openTablesOf opens the place of the tables of views that a flag names; scratch takes
// copies of objects that are read.
func openTablesOf(flag, from, scratch string, vs []*definition.View) (*offline.Root, error) {
	if !offline.IsURL(from) {
		st, err := os.Stat(from)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, usagef("%s: there is no directory %s: name the one that was given to replay --out", flag, from)
		case errors.Is(err, syscall.ENOTDIR), err == nil && !st.IsDir():
			return nil, usagef("%s: %s is not a directory: name the one that was given to replay --out", flag, from)
		case err != nil:
			return nil, usagef("%s: %w", flag, told(from, "directory", err))
		}
	}
	root, err := offline.OpenRoot(from, offline.RootOptions{Scratch: scratch})
	if err != nil {
		return nil, usagef("%s: %w", flag, err)
	}
	for _, v := range vs {
		if _, err := root.Tables(v); err != nil {
			root.Close()
			return nil, usagef("%s: %w", flag, err)
		}
	}
	return root, nil
}

func (t *tablesFlags) close() {
	if t.root != nil {
		t.root.Close()
	}
}

// restoreMemory is what a partition takes while it is restored, about: a page of each
// column of the files that are read side by side, or what is sorted.
const restoreMemory = 128_000_000

// origin is what a view's worker, which may hold so many bytes of states (0 = the
// default), restores from; nil = the log's start. States fill their share only
// afterwards.
func (t *tablesFlags) origin(v *definition.View, states int) (stream.Origin, error) {
	if t.root == nil {
		return nil, nil
	}
	tables, err := t.root.Tables(v)
	if err != nil {
		return nil, usagef("--from-tables: %w", err)
	}
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return nil, err
	}
	if states == 0 {
		states = 2 * restoreMemory
	}
	return &wire.Tables{Root: t.from, Tables: tables, Engine: engine, Parallel: min(max(1, states/restoreMemory), 4),
		Options: offline.RestoreOptions{SpillDir: t.spill, Memory: min(restoreMemory/2, max(states/2, 1<<20))}}, nil
}
