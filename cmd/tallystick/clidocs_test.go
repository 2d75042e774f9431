package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var rewriteDocs = flag.Bool("rewrite-docs", false, "rewrite docs/cli.md")

// docs/cli.md is what every command says of itself.
func TestCLIDocs(t *testing.T) {
	for _, env := range os.Environ() {
		if name, _, _ := strings.Cut(env, "="); strings.HasPrefix(name, "TALLYSTICK_") {
			t.Setenv(name, "") // they are defaults of flags
		}
	}
	var b strings.Builder
	b.WriteString("# The command line\n\nWritten by `go test ./cmd/tallystick -run CLIDocs -rewrite-docs`.\n\n" +
		"Exit codes: 0 done, 1 failed, 2 the command line or an input file is not sound, 3 `reconcile` finds the stores different, 4 so many values diverge that its alert fires, 5 the gate holds a publication back, or a guard a `stream --until`. " +
		"With `--json` a command prints one JSON object to standard output, as [output.schema.json](output.schema.json) says. Progress and warnings go to standard error.\n")
	for _, c := range allCommands(newRoot()) {
		if !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		name := named(c)
		out, _ := tally(t, exitOK, append(strings.Fields(name), "--help")...)
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s\n```\n", name, strings.TrimSpace(out))
	}
	const path = "../../docs/cli.md"
	if *rewriteDocs {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the commands say; rewrite it with -rewrite-docs (%v)", path, err)
	}
}

// named is how a command is called, without the program's name.
func named(c *cobra.Command) string { return strings.TrimPrefix(c.CommandPath(), "tallystick ") }
