package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// B2: gc shows with --dry-run what it removes without: what a killed run has left
// and is old. It removes nothing that is younger, and nothing that is published.
func TestGC(t *testing.T) {
	x := newReconcileRig(t)
	x.fill()
	out := filepath.Join(x.dir, "tables")
	replay := []string{"replay", "-f", filepath.Join(x.dir, "v.yaml"), "--brokers", x.common().brokers, "--out", out}
	tally(t, exitOK, replay...)
	old, young := filepath.Join(out, "v", "tiles", "event_date=2026-03-01", "old.parquet"), filepath.Join(out, "v", "tiles", "young.parquet")
	for _, f := range []string{old, young} {
		x.must(os.MkdirAll(filepath.Dir(f), 0o755))
		x.must(os.WriteFile(f, []byte("12345"), 0o600))
	}
	x.must(os.Chtimes(old, time.Time{}, time.Now().Add(-30*time.Hour)))
	stdout, _ := tally(t, exitOK, "gc", "--out", out)
	if strings.Count(stdout, "; removed: 0 files") != 4 || !strings.Contains(stdout, "2 files are too young") {
		t.Errorf("%s", stdout)
	}
	stdout, _ = tally(t, exitOK, "gc", "--out", out, "--older-than", "24h", "--dry-run")
	if !strings.HasPrefix(stdout, "v/tiles/event_date=2026-03-01/old.parquet\n") || !strings.Contains(stdout, "would be removed: 1 files (5 bytes)") {
		t.Errorf("%s", stdout)
	}
	stdout, _ = tally(t, exitOK, "gc", "--out", out, "--older-than", "24h", "--json", "--store-rate", "100000")
	var got gcOutput
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got.Tables) != 4 || got.Tables[0].Removed != 1 || got.Tables[0].Young != 1 || got.Calls.Delete != 1 || got.Calls.List == 0 {
		t.Errorf("%v\n%s", err, stdout)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the old file stays")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"--older-than", "1h", "--out", out}, {"--out", filepath.Join(out, "none")}, {}, {"--store-rate", "-1", "--out", out}, {"--view=", "--out", out}, {"--view", "none", "--out", out}, {"--out", "gs://b/c"}} {
		t.Setenv("TALLYSTICK_OUT", "")
		if _, errs := tally(t, exitUsage, append([]string{"gc"}, args...)...); !strings.Contains(errs, "--") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %s", args, errs)
		}
	}
	if _, errs := tally(t, exitUsage, append(replay, "--store-rate", "NaN")...); !strings.Contains(errs, "--store-rate") {
		t.Errorf("%s", errs)
	}
}
