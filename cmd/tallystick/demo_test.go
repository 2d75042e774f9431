package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// The demo shows the whole loop: equal first, then the damage found and named
// (R1, R3); it fails by itself where that is not so.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	out, _ := tally(t, exitOK, "demo", "--dir", dir)
	for _, want := range []string{"killed 4 times", "EQUAL, TO THE BIT", "  corrupt  ", "  missing  ", "verdict: differs", "late 16", "invalid 908"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "\n"); n > 30 {
		t.Errorf("%d lines are more than a screen", n)
	}
}
