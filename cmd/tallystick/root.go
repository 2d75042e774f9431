package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/transforms/definition"

	"github.com/tallystick/tallystick/transforms/expr"
)

// Exit codes. Scripts go by them: README.md lists them.
const (
	exitOK       = 0
	exitFailed   = 1 // what was asked could not be done: the message says why
	exitUsage    = 2 // the command line, a definition or another input file is not sound
	exitDiffers  = 3 // reconcile: the stores differ
	exitDiverged = 4 // reconcile: so many units diverge that the alert fires
)

// exitError carries the exit code of an error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage marks an error as one of the input.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

func usagef(format string, a ...any) error { return usage(fmt.Errorf(format, a...)) }

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted") // by a signal: whatever was under way says no more than that
	}
	var faults *definition.Errors
	if errors.As(err, &faults) { // lines that begin with file:line:column, as editors read them
		fmt.Fprintln(stderr, faults)
	} else {
		fmt.Fprintf(stderr, "tallystick: %v\n", err)
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "tallystick",
		Short:         "Features over Kafka, in Redis and Parquet, shown to agree to the bit",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.AddCommand(checkCommand(), cutCommand(), trainCommand(), replayCommand(), streamCommand(), getCommand(), dropCommand(), tickCommand(), demoCommand(), reconcileCommand())
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		hint := "see `tallystick --help`"
		if h := expr.DidYouMean(args[0], names); h != "" {
			hint = h
		}
		return usagef("unknown command `%s`; %s", args[0], hint)
	}
	return root
}

// wrapArgs makes wrong arguments usage errors.
func wrapArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w; see `%s --help`", err, cmd.CommandPath())
		}
		return nil
	}
}
