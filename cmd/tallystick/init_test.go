package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
)

// initialised writes the example project and returns its definition.
func initialised(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new", "project")
	tally(t, exitOK, "init", dir)
	return filepath.Join(dir, definitionFile)
}

// runSeen is what tests look at in the output of run --json.
type runSeen struct {
	Filled map[string]int
	Replay struct {
		Views []struct {
			View  string
			Total map[string]int64
		}
	}
	Reconcile struct{ Verdict string }
}

// ran runs a project and returns its output.
func ran(t *testing.T, args ...string) *runSeen {
	t.Helper()
	out, _ := tally(t, exitOK, append([]string{"run", "--json"}, args...)...)
	var r runSeen
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return &r
}

func edit(t *testing.T, file, from, to string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s does not hold %q", file, from)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// progressLine is what a phase of over two seconds says, as on a slow machine.
var progressLine = regexp.MustCompile(`(?m)^\w+: .*\d/s.*\n`)

// What init writes runs as it is; a feature that is changed stands in both stores
// at the next run, and both are equal (R1).
func TestInitAndRun(t *testing.T) {
	file := initialised(t)
	if _, warnings := tally(t, exitOK, "check", "-f", file); warnings != "" {
		t.Errorf("an example to follow has %s", warnings)
	}
	out, notices := tally(t, exitOK, "run", "-f", file)
	if !strings.Contains(out, "verdict: EQUAL, TO THE BIT") || !strings.Contains(out, "  last_channel_lifetime ") || progressLine.ReplaceAllString(notices, "") != "" {
		t.Errorf("%s%s", out, notices)
	}
	if page, err := os.ReadFile(filepath.Join(filepath.Dir(file), tablesDir, "report.html")); err != nil || strings.Count(string(page), "Equal, to the bit") != 2 {
		t.Errorf("the report does not say of both views that they are equal: %v", err)
	}
	edit(t, file, "{count: coupon, over: 7d}", "{count: coupon, over: [7d, 1h]}")
	out, _ = tally(t, exitOK, "run", "-f", file, "--events", "3000", "--seed", "7")
	if !strings.Contains(out, "verdict: EQUAL, TO THE BIT") || !strings.Contains(out, "  with_coupon_1h ") || !strings.Contains(out, "read 3000 =") {
		t.Errorf("after the change: %s", out)
	}
}

// The samples are the same for the same seed, and hold what a log of orders
// brings: every outcome of the ledger is among them (V6, V8).
func TestRunShowsEveryOutcome(t *testing.T) {
	file := initialised(t)
	a, b := ran(t, "-f", file), ran(t, "-f", file)
	for i, v := range a.Replay.Views {
		if !maps.Equal(v.Total, b.Replay.Views[i].Total) {
			t.Errorf("view %s: %v, and again %v", v.View, v.Total, b.Replay.Views[i].Total)
		}
		for _, outcome := range []string{"applied", "duplicate", "superseded", "late", "future", "invalid"} {
			if v.Total[outcome] == 0 {
				t.Errorf("view %s: nothing is %s: %v", v.View, outcome, v.Total)
			}
		}
	}
	if a.Filled["orders"] != 20_000 || a.Reconcile.Verdict != "equal" {
		t.Errorf("%+v", a)
	}
}

// Editors find the schema of what init writes, and of the examples: the one that
// check --schema prints.
func TestEditorsFindTheSchema(t *testing.T) {
	want, _ := tally(t, exitOK, "check", "--schema")
	for _, file := range []string{initialised(t), "../../examples/orders/tallystick.yaml", "../../examples/flights/tallystick.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		path, ok := strings.CutPrefix(line, "# yaml-language-server: $schema=")
		if !ok {
			t.Errorf("%s begins with %q", file, line)
			continue
		}
		if have, err := os.ReadFile(filepath.Join(filepath.Dir(file), filepath.FromSlash(path))); err != nil || string(have) != want {
			t.Errorf("%s: %s is not the schema: %v", file, path, err)
		}
	}
}

// On servers that are named nothing is filled unless --fill asks for it, and
// then once; a changed definition takes the place of the one that is live (O5).
func TestRunOnServers(t *testing.T) {
	file := initialised(t)
	kafka, redis := testbed.Kafka(t), testbed.Redis(t)
	at := []string{"-f", file, "--events", "2000", "--brokers", strings.Join(kafka.ListenAddrs(), ","), "--redis", redis.Addr()}
	if _, errs := tally(t, exitFailed, append([]string{"run"}, at...)...); !strings.Contains(errs, "--fill creates it") {
		t.Errorf("a topic that is missing: %s", errs)
	}
	if r := ran(t, append(at, "--fill")...); r.Filled["orders"] != 2000 {
		t.Errorf("filled %v", r.Filled)
	}
	edit(t, file, "over: [1h, 24h,", "over: [2h, 24h,")
	r := ran(t, append(at, "--fill")...)
	if len(r.Filled) != 0 || r.Replay.Views[0].Total["read"] != 2000 {
		t.Errorf("filled again: %v, read %d", r.Filled, r.Replay.Views[0].Total["read"])
	}
	tally(t, exitOK, "get", "categories", "category=food", "-f", file, "--redis", redis.Addr())
}

// A directory that is not new or empty is refused and stays as it is.
func TestInitRefusesDirectory(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"":                           "name a directory",
		file:                         "is not a directory",
		filepath.Join(file, "x"):     "is not a directory",
		root:                         "is not empty, file is in it",
		filepath.Join(root, "a b=c"): "choose a path",
	} {
		if out, errs := tally(t, exitUsage, "init", dir); out != "" || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: %s%s", dir, out, errs)
		}
	}
	if list, err := os.ReadDir(root); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// Nothing half-written stays behind where init fails, whether the directory was
// there or not.
func TestInitLeavesNothing(t *testing.T) {
	root := t.TempDir()
	there := filepath.Join(root, "there")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("no room")
	write := func(name string, text []byte) error {
		if filepath.Base(name) == definitionFile {
			return failed
		}
		return writeText(name, text)
	}
	for _, dir := range []string{there, filepath.Join(root, "new", "deep")} {
		if err := ordersProject().create(dir, write); !errors.Is(err, failed) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if list, err := os.ReadDir(there); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := os.Stat(filepath.Join(root, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that was made stays: %v", err)
	}
}

// What run cannot do is said before anything is started.
func TestRunRefuses(t *testing.T) {
	file := initialised(t)
	for want, args := range map[string][]string{
		"--fill: it goes with --brokers":           {"--fill"},
		"--redis: it goes with --brokers":          {"--redis", "127.0.0.1:1"},
		"--events: 0 is no number of orders":       {"--events", "0"},
		"--out: tables cannot lie":                 {"--out", filepath.Join(t.TempDir(), "a b")},
		"--brokers: \"x\" is not an address":       {"--brokers", "x"},
		"--seed: \"x\" is not a whole number from": {"--seed", "x"},
	} {
		if _, errs := tally(t, exitUsage, append([]string{"run", "-f", file}, args...)...); !strings.Contains(errs, want) {
			t.Errorf("%v: %s", args, errs)
		}
	}
	edit(t, file, "topic: orders", "topic: other")
	if _, errs := tally(t, exitUsage, "run", "-f", file); !strings.Contains(errs, "topic other") {
		t.Error(errs)
	}
}
