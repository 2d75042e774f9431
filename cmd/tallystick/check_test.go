package main

import (
	"encoding/json"
	"strings"
	"testing"
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
      state     up to about 105 B per entity and partition, in 35 tiles, shared with flights_prev_7d
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
