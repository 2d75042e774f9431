package main

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every flag's help says what kind of value it takes in words of ours, and a
// default that is a number with its unit (README: every command has --help).
func TestHelpIsPlain(t *testing.T) {
	root := newRoot()
	seen := 0
	for _, c := range allCommands(root) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			seen++
			checkFlagHelp(t, c, f)
		})
		out, _ := tally(t, exitOK, append(strings.Fields(named(c)), "--help")...)
		if !strings.Contains(out, "Usage:\n  "+c.CommandPath()) {
			t.Errorf("%s --help: %s", c.Name(), out)
		}
	}
	if seen < 50 {
		t.Errorf("only %d flags seen", seen)
	}
}

func checkFlagHelp(t *testing.T, c *cobra.Command, f *pflag.Flag) {
	t.Helper()
	kind, text := pflag.UnquoteUsage(f)
	switch {
	case f.Value.Type() == "bool" && kind != "":
		t.Errorf("%s --%s takes no value and shows %q", c.Name(), f.Name, kind)
	case f.Value.Type() != "bool" && kind != strings.ToUpper(kind):
		t.Errorf("%s --%s shows %q as its value: put one word of its usage in capitals and backquotes", c.Name(), f.Name, kind)
	case strings.Contains(text, "`"):
		t.Errorf("%s --%s: backquotes in %q", c.Name(), f.Name, text)
	case f.DefValue == "[]" && f.Value.Type() != "stringSlice" && f.Value.Type() != "intSlice", f.DefValue == "0B", len(f.DefValue) > 8 && strings.HasSuffix(f.DefValue, "B"):
		t.Errorf("%s --%s: its default is %q", c.Name(), f.Name, f.DefValue)
	}
}

// The version names the module's version, the commit where the build knows it,
// and the Go release.
func TestVersion(t *testing.T) {
	out, _ := tally(t, exitOK, "--version")
	if !strings.HasPrefix(out, "tallystick ") || !strings.Contains(out, runtime.Version()) || strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}
	got := commitOf([]debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-31T12:00:00Z"}, {Key: "vcs.modified", Value: "true"}})
	if want := ", commit abc of 2026-01-31T12:00:00Z with changes"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := commitOf(nil); got != "" {
		t.Errorf("%q without a commit", got)
	}
}

// Sizes are read as they are shown.
func TestSizes(t *testing.T) {
	for text, want := range map[string]bytesFlag{"1B": 1, "256MB": 256_000_000, "2GiB": 2 << 30, "5 KB": 5000, "9223372TB": 0, "0MB": 0, "-1MB": 0, "1.5GB": 0, "5": 0, "MB": 0, "": 0, "5mb": 0} {
		var b, again bytesFlag
		err := b.Set(text)
		if (err == nil) != (want > 0) || b != want {
			t.Errorf("%q is %d, %v; want %d", text, b, err, want)
		}
		if err == nil {
			if err := again.Set(b.String()); err != nil || again != b {
				t.Errorf("%q shows as %q, which is %d, %v", text, b.String(), again, err)
			}
		}
	}
}
