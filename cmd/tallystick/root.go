package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

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
	exitHeld     = 5 // replay: the gate holds a publication back; stream --until: its guard holds it
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
	stderr = &serial{w: stderr} // the workers of several views and the meter write to it at once
	root := newRoot()
	root.SetArgs(args)
	out := &serial{w: coloured(stdout)}
	root.SetOut(out)
	root.SetErr(stderr)
	err := within(ctx, stopTime, func() error { return root.ExecuteContext(ctx) })
	if failed := out.failure(); failed != nil && (err == nil || errors.Is(err, failed)) {
		err = fmt.Errorf("the output cannot be written: %w", failed)
	}
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted") // by a signal: whatever was under way says no more than that
	}
	code := exitFailed
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
	}
	var faults *definition.Errors
	switch {
	case asksForObjects(args):
		logFailure(stderr, err, code)
	case errors.As(err, &faults): // lines that begin with file:line:column, as editors read them
		fmt.Fprintln(stderr, printable(faults.Error()))
	default:
		text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") // several faults, one line
		fmt.Fprintf(stderr, "tallystick: %s\n", printable(text))
	}
	return code
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
	root.Version = version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(initCommand(), runCommand(), fillCommand(), checkCommand(), cutCommand(), trainCommand(), replayCommand(), streamCommand(), getCommand(), liveCommand(), dropCommand(), tickCommand(), demoCommand(), reconcileCommand(), gcCommand(), healthCommand())
	for _, c := range allCommands(root) {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(root, args[0])
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return checkEmpty(cmd) }
	root.SetHelpCommand(helpCommand(root))
	return root
}

// allCommands returns the commands below one, each followed by its own.
func allCommands(c *cobra.Command) (out []*cobra.Command) {
	for _, sub := range c.Commands() {
		out = append(append(out, sub), allCommands(sub)...)
	}
	return out
}

// printable keeps control characters, which messages may quote from files, off
// the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return utf8.RuneError
		}
		return r
	}, text)
}

// helpCommand is cobra's, but refuses what is no command.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return root.Help()
			}
			cmd, rest, err := root.Find(args)
			switch {
			case err != nil || cmd == root:
				return unknownCommand(root, args[0])
			case len(rest) > 0:
				return usagef("%s has no command `%s`; see `%s --help`", cmd.CommandPath(), rest[0], cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	hint := "see `tallystick --help`"
	if h := expr.DidYouMean(name, names); strings.HasPrefix(h, "did you mean") {
		hint = h
	}
	return usagef("unknown command `%s`; %s", name, hint)
}

// noArguments refuses words behind a command that takes flags alone.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("%s takes no arguments, and here is `%s`; see `%s --help`", cmd.Name(), args[0], cmd.CommandPath())
}
