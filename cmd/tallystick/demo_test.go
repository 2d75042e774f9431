package main

import (
	"os"
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

// What the demo cannot use is refused before anything is written; a definition
// that was changed is not overwritten (B2).
func TestDemoRefusesDirectory(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	changed := filepath.Join(root, "changed")
	if err := os.Mkdir(changed, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, filepath.Join(changed, "tallystick.yaml")} {
		if err := os.WriteFile(f, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		"":                                "name a directory",
		file:                              "is not a directory",
		changed:                           "would be overwritten",
		filepath.Join(root, "with space"): "choose a path",
	} {
		if out, errs := tally(t, exitUsage, "demo", "--dir", dir); out != "" || !strings.Contains(errs, want) {
			t.Errorf("%q: %s%s", dir, out, errs)
		}
	}
	if b, err := os.ReadFile(filepath.Join(changed, "tallystick.yaml")); err != nil || string(b) != "mine" {
		t.Errorf("the changed definition is now %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(root, "with space")); err == nil {
		t.Error("a refused directory was created")
	}
}
