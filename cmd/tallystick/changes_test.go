package main

import (
	"strings"
	"testing"
)

// §7: what has changed is told with the events that did it, where there are some.
func TestChangesArePrinted(t *testing.T) {
	c := &changesOutput{Dates: []changedDate{{"2026-01-01", 10, 1, 2}, {"2026-01-02", 20, 2, 3}}, Examples: []changedExample{
		{Boundary: "2026-01-02T00:00:00Z", Key: map[string]string{"b": "y", "a": "x"}, Feature: "n", Before: "1", After: "2",
			Events: []lateEvent{{0, 7, "2026-01-01T10:00:00Z"}, {1, 8, "2026-01-01T11:00:00Z"}}, More: 3},
		{Boundary: "2026-01-03T00:00:00Z", Key: map[string]string{"a": "z"}, Feature: "n", Before: "1", After: "absent"}}}
	for dates, first := range map[bool]string{false: "  of 30 rows that could still change 3 did, 5 values\n",
		true: "  of 30 rows of these dates, as they were and are, 3 changed, 5 values\n"} {
		var said strings.Builder
		c.print(&said, dates)
		want := first + "    a=x b=y, n as of 2026-01-02T00:00:00Z: 1, now 2; by events 0:7 of 2026-01-01T10:00:00Z, 1:8 of 2026-01-01T11:00:00Z and 3 more\n" +
			"    a=z, n as of 2026-01-03T00:00:00Z: 1, now absent\n"
		if said.String() != want {
			t.Errorf("it says\n%s\nnot\n%s", said.String(), want)
		}
	}
}
