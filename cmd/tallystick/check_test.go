package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms/definition"
)

const flightsDefinition = "../../examples/flights/tallystick.yaml"

// check --explain says of a derived feature what its inputs look at, exactly (V3),
// in text and as JSON.
func TestExplain(t *testing.T) {
	out, _ := tally(t, exitOK, "check", "-f", flightsDefinition, "--explain", "cancelled_share", "--at", "2026-01-31T12:34:56Z")
	want := `dest_delays.cancelled_share: double
  computes  double(cancelled_30d) / double(cancelled_30d + flights_30d)
  looks at  [2026-01-01T00:00:00Z, 2026-01-31T12:34:56Z), as of 2026-01-31T12:34:56Z
  final     once every partition's log clock has reached 2026-02-02T12:34:56Z, its end and the lateness of 2d
  level     1d: tiles are kept for 35d
  state     none of its own
  statuses  PRESENT, NULL, ABSENT, INCOMPLETE
  reads     2 features:
    dest_delays.flights_30d: int
      computes  count of events where status != "cancelled"
      window    sliding, 30d before t, its start rounded down to 1d
      looks at  [2026-01-01T00:00:00Z, 2026-01-31T12:34:56Z), as of 2026-01-31T12:34:56Z
      final     once every partition's log clock has reached 2026-02-02T12:34:56Z, its end and the lateness of 2d
      level     1d: tiles are kept for 35d
      state     up to about 153 B per entity and partition, in 51 tiles, shared with flights_prev_7d
      statuses  PRESENT, ABSENT, INCOMPLETE
    dest_delays.cancelled_30d: int
`
	if !strings.HasPrefix(out, want) {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	out, _ = tally(t, exitOK, "check", "-f", flightsDefinition, "--explain", "plane.arr_delay_lifetime", "--json")
	var x explained
	if err := json.Unmarshal([]byte(out), &x); err != nil || x.From != nil || x.At != exampleInstant || x.Default != 0.0 || len(x.Statuses) != 3 {
		t.Errorf("%v: %s", err, out)
	}
	for want, args := range map[string][]string{
		"its columns are delay_24h, delay_7d": {"--explain", "delay"},
		"is no instant":                       {"--explain", "hops_24h", "--at", "noon"},
		"--at: it goes with --explain":        {"--at", "2026-01-31T12:34:56Z"},
	} {
		if _, errs := tally(t, exitUsage, append([]string{"check", "-f", flightsDefinition}, args...)...); !strings.Contains(errs, want) {
			t.Errorf("%v: %s", args, errs)
		}
	}
}

// check warns on standard error, and in a list with --json, of what the topic's
// configuration makes of the definition; the exit code stays 0 (K6, K8, §3).
func TestCheckWarns(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "v.yaml")
	for name, text := range map[string]string{file: testbed.EventDefinition, filepath.Join(dir, "ev.avsc"): testbed.EventSchema} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kafka := testbed.Kafka(t)
	client, err := log.Open(t.Context(), log.Options{Brokers: kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	args := []string{"check", "-f", file, "--brokers", strings.Join(kafka.ListenAddrs(), ",")}
	texts := func() string {
		t.Helper()
		_, errs := tally(t, exitOK, args...)
		out, none := tally(t, exitOK, append(args, "--json")...)
		var o struct{ Warnings []definition.Warning }
		if err := json.Unmarshal([]byte(out), &o); err != nil || len(o.Warnings) != strings.Count(errs, "\n") || none != "" {
			t.Errorf("%v: %d warnings as JSON, as text\n%s%s", err, len(o.Warnings), errs, none)
		}
		return errs
	}
	if got := texts(); !strings.Contains(got, "warning: source ev: ") || !strings.Contains(got, "topic ev does not exist") {
		t.Errorf("a topic that is missing: %s", got)
	}
	if err := client.EnsureTopic(t.Context(), "ev", 1, map[string]string{"retention.ms": "3600000", "cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	got := texts()
	for _, want := range []string{"no view can read it: ", "it is compacted", "its lateness is", "and topic ev keeps records for 1h", "the window reaches further back"} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if out, errs := tally(t, exitOK, "check", "-f", flightsDefinition); strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "the state of a very active entity") || strings.Contains(out, "warning") {
		t.Errorf("without a log: %s%s", out, errs)
	}
}

// S2: check says which of the writer schemas it is given no rule makes readable,
// and what will become of their records.
func TestCheckReadsWriters(t *testing.T) {
	for policy, want := range map[string]string{"stop": "records of writer schema 2 will stop stream, replay and train: ", "quarantine": "records of writer schema 2 will go to the quarantine: "} {
		dir := t.TempDir()
		file := filepath.Join(dir, "v.yaml")
		text := strings.Replace(testbed.EventDefinition, "writers: {files: {1: ev.avsc}}", "writers: {files: {1: ev.avsc, 2: old.avsc}}\n    incompatible: "+policy, 1)
		if text == testbed.EventDefinition {
			t.Fatal("the definition has no writers to add to")
		}
		old := strings.ReplaceAll(testbed.EventSchema, `"name":"ent"`, `"name":"entity"`)
		for name, text := range map[string]string{file: text, filepath.Join(dir, "ev.avsc"): testbed.EventSchema, filepath.Join(dir, "old.avsc"): old} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, errs := tally(t, exitOK, "check", "-f", file); !strings.Contains(errs, want) || strings.Contains(errs, "schema 1") || !strings.Contains(errs, "ent") {
			t.Errorf("%s: %s", policy, errs)
		}
	}
}
