package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

func initCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Write a project that works: a definition, its schemas, a README",
		Long: `Write an example into DIR, which must be new or empty: a definition of features
over the orders of a shop, their schemas and a README. Run it with

    tallystick run -f DIR/tallystick.yaml

change a feature, and run it again.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one directory: tallystick init DIR")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return initialise(cmd.OutOrStdout(), ordersProject(), args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	return cmd
}

// initialise writes the project into dir and says so.
func initialise(w io.Writer, p project, dir string, asJSON bool) error {
	if err := checkNew(dir); err != nil {
		return err
	}
	files, err := p.list()
	if err != nil {
		return err
	}
	if err := p.create(dir, writeText); err != nil {
		return fmt.Errorf("%s: %w; nothing was left there", dir, err)
	}
	file := filepath.Join(dir, definitionFile)
	if asJSON {
		return printJSON(w, initOutput{dir, file})
	}
	fmt.Fprintf(w, "%s holds\n%s\nSee its features in both stores, compared:\n  tallystick run -f %s\n", dir, files, file)
	return nil
}

// checkNew refuses a directory that has something in it or cannot be written.
func checkNew(dir string) error {
	if err := checkTablesIn("init", dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil
	case err != nil:
		return usagef("init: %w", told(dir, "directory", err))
	case len(entries) > 0:
		return usagef("init: %s is not empty, %s is in it: name a new directory", dir, entries[0].Name())
	}
	return nil
}

// initOutput is what `init --json` prints.
type initOutput struct {
	Directory  string `json:"directory"`
	Definition string `json:"definition"`
}
