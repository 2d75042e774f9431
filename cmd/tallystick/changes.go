package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// changesOutput is what a replay has changed of rows that were there: where it went on, of
// those that were not final, and of dates, of all.
type changesOutput struct {
	Dates    []changedDate    `json:"dates"`
	Examples []changedExample `json:"examples"` // the first ones
}

type changedDate struct {
	Date    string `json:"date"`
	Rows    int64  `json:"rows"`
	Changed int64  `json:"changed_rows"`
	Values  int64  `json:"changed_values"`
}

// changedExample is a value that changed, and the late events that changed it.
type changedExample struct {
	Boundary string            `json:"boundary"` // RFC 3339
	Key      map[string]string `json:"key"`
	Feature  string            `json:"feature"`
	Before   string            `json:"before"`
	After    string            `json:"after"`
	Events   []lateEvent       `json:"late_events"`
	More     int               `json:"more_late_events,omitempty"`
}

type lateEvent struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	EventTime string `json:"event_time"` // RFC 3339
}

// changesOf returns nil where nothing was compared.
func changesOf(v *definition.View, c *batch.Changes) (*changesOutput, error) {
	if c == nil {
		return nil, nil
	}
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return nil, err
	}
	out := &changesOutput{Dates: []changedDate{}, Examples: []changedExample{}}
	for _, d := range c.Dates {
		out.Dates = append(out.Dates, changedDate{gate.Day(d.Day).String(), d.Rows, d.Changed, d.Values})
	}
	for _, e := range c.Examples {
		values, err := engine.DecodeEntity(e.Entity)
		if err != nil {
			return nil, err
		}
		x := changedExample{Boundary: e.Boundary.String(), Key: map[string]string{}, Feature: e.Feature, Before: e.Before, After: e.After, Events: []lateEvent{}, More: e.More}
		for i, k := range v.Key() {
			x.Key[k.Name] = values[i].String()
		}
		for _, l := range e.Events {
			x.Events = append(x.Events, lateEvent{l.Partition, l.Offset, l.EventTime.String()})
		}
		out.Examples = append(out.Examples, x)
	}
	return out, nil
}

// printedChanges is how many examples are printed.
const printedChanges = 3

func (c *changesOutput) print(w io.Writer, dates bool) {
	var rows, changed, values int64
	for _, d := range c.Dates {
		rows, changed, values = rows+d.Rows, changed+d.Changed, values+d.Values
	}
	which := "that could still change %d did"
	if dates {
		which = "of these dates, as they were and are, %d changed"
	}
	fmt.Fprintf(w, "  of %d rows "+which+", %d values\n", rows, changed, values)
	for i, e := range c.Examples {
		if i == printedChanges {
			fmt.Fprintln(w, "    --json has more of them")
			break
		}
		var key []string
		for _, name := range slices.Sorted(maps.Keys(e.Key)) {
			key = append(key, name+"="+e.Key[name])
		}
		var events []string
		for _, l := range e.Events {
			events = append(events, fmt.Sprintf("%d:%d of %s", l.Partition, l.Offset, l.EventTime))
		}
		by := ""
		if len(events) > 0 {
			by = "; by events " + strings.Join(events, ", ")
		}
		if e.More > 0 {
			by += fmt.Sprintf(" and %d more", e.More)
		}
		fmt.Fprintf(w, "    %s, %s as of %s: %s, now %s%s\n", strings.Join(key, " "), e.Feature, e.Boundary, e.Before, e.After, by)
	}
}
