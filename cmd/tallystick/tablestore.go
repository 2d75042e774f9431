package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// storeFlags say how the store of the tables is asked. What has opened it is
// shared by all rounds of a command, so that its calls are counted and spaced
// together.
type storeFlags struct {
	storeRate float64
	root      *offline.Root // nil until it is asked for
	files     files.Files   // nil = the operating system's
}

// system are the files that the command writes.
func (s *storeFlags) system() files.Files {
	if s.files == nil {
		return files.OS{}
	}
	return s.files
}

// add adds the flag; rate 0 = no limit unless one is given.
func (s *storeFlags) add(cmd *cobra.Command, rate float64) {
	usage := "call the store of the tables at most `N` times a second"
	if rate == 0 {
		usage += " (default: no limit)"
	}
	cmd.Flags().Float64Var(&s.storeRate, "store-rate", rate, usage)
}

func (s *storeFlags) check() error {
	if !(s.storeRate >= 0) || math.IsInf(s.storeRate, 1) {
		return usagef("--store-rate: %v is no number of calls per second: name one above 0", s.storeRate)
	}
	return nil
}

// openRoot returns the root of the tables, which a command has one of. scratch takes
// copies of objects that are read, "" = where the system has such.
func (s *storeFlags) openRoot(out, scratch string) (*offline.Root, error) {
	if s.root == nil {
		root, err := offline.OpenRoot(out, offline.RootOptions{Calls: offline.NewCalls(s.storeRate), Scratch: scratch, Files: s.files})
		if err != nil {
			return nil, usagef("--out: %w", err)
		}
		s.root = root
	}
	return s.root, nil
}

// tables returns the tables of a view.
func (s *storeFlags) tables(out, scratch string, v *definition.View) (*offline.Tables, error) {
	root, err := s.openRoot(out, scratch)
	if err != nil {
		return nil, err
	}
	t, err := root.Tables(v)
	if err != nil {
		return nil, usagef("--out: %w", err)
	}
	return t, nil
}

// calls returns what the store has been asked so far.
func (s *storeFlags) calls() offline.CallCounts {
	if s.root == nil {
		return offline.CallCounts{}
	}
	return s.root.Counts()
}

func (s *storeFlags) closeStore() {
	if s.root != nil {
		s.root.Close()
	}
}

// callsText tells counts for people.
func callsText(n *offline.CallCounts) string {
	return fmt.Sprintf("%d calls to their store: %d get, %d put, %d copy, %d head, %d list, %d delete", n.Total(), n.Get, n.Put, n.Copy, n.Head, n.List, n.Delete)
}
