package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/expr"
)

// exampleInstant is the t that `check --explain` takes unless --at names one: a
// Wednesday, so that every kind of window shows where it begins.
const exampleInstant = "2026-03-11T14:23:45Z"

// explained is what `check --explain --json` prints.
type explained struct {
	Feature    string       `json:"feature"`
	View       string       `json:"view"`
	Type       string       `json:"type"`
	Computes   string       `json:"computes"`
	Window     string       `json:"window,omitempty"`
	At         string       `json:"at"`
	From       *string      `json:"from" jsonschema:"nullable"` // of event time, inclusive; null = the beginning
	To         string       `json:"to"`                         // exclusive
	Level      string       `json:"level,omitempty"`            // a table has none; likewise what else may be left out
	Retention  string       `json:"retention,omitempty"`
	Tiles      int64        `json:"tiles_max"`
	StateBytes int64        `json:"state_bytes_max"`
	Shares     []string     `json:"shares_cells_with,omitempty"`
	Lateness   string       `json:"lateness,omitempty"`
	Closes     string       `json:"final_at_clock,omitempty"`
	Default    any          `json:"default"`
	Statuses   []string     `json:"statuses"`
	Inputs     []*explained `json:"inputs,omitempty"`
}

// explain prints what a feature is, and what it looks at as of an instant.
func (c *common) explain(w io.Writer, def *definition.Definition, name, at string) error {
	t, err := parseInstant("--at", at)
	if err != nil {
		return err
	}
	v, i, err := def.Find(name)
	if err != nil {
		return usagef("--explain: %w", err)
	}
	x, err := v.Explain(i, t)
	if err != nil {
		return err
	}
	out := explanation(x, t)
	if c.json {
		return printJSON(w, out)
	}
	out.print(w, "")
	return nil
}

func explanation(x *definition.Explanation, t schemas.Micros) *explained {
	out := &explained{Feature: x.Feature.Name, View: x.View.Name, Type: x.Feature.Type(), Computes: x.Computes, Window: x.Window,
		At: t.String(), From: instant(x.From), To: x.To.String(), Tiles: x.Tiles, StateBytes: x.StateBytes, Shares: x.Shares,
		Default: jsonValue(x.Default)}
	if !x.View.Spec.Table {
		out.Level, out.Retention = expr.FormatDuration(x.Hop), expr.FormatDuration(x.Retention)
		out.Lateness, out.Closes = expr.FormatDuration(x.View.Spec.Lateness), x.Closes.String()
	}
	for _, s := range x.Statuses {
		out.Statuses = append(out.Statuses, s.String())
	}
	for _, in := range x.Inputs {
		out.Inputs = append(out.Inputs, explanation(in, t))
	}
	return out
}

func (x *explained) print(w io.Writer, indent string) {
	line := func(name, format string, a ...any) {
		fmt.Fprintf(w, "%s  %-9s %s\n", indent, name, fmt.Sprintf(format, a...))
	}
	from := "the beginning"
	if x.From != nil {
		from = *x.From
	}
	fmt.Fprintf(w, "%s%s.%s: %s\n", indent, x.View, x.Feature, x.Type)
	line("computes", "%s", x.Computes)
	if x.Window != "" {
		line("window", "%s", x.Window)
	}
	line("looks at", "[%s, %s), as of %s", from, x.To, x.At)
	if x.Level == "" {
		line("final", "never: nothing of a table is late; the features table has it once every partition's log clock has reached %s", x.To)
	} else {
		line("final", "once every partition's log clock has reached %s, its end and the lateness of %s", x.Closes, x.Lateness)
		line("level", "%s: tiles are kept for %s", x.Level, x.Retention)
	}
	line("state", "%s", x.state())
	if x.Default != nil {
		line("default", "%v", x.Default)
	}
	line("statuses", "%s", strings.Join(x.Statuses, ", "))
	if len(x.Inputs) > 0 {
		line("reads", "%d features:", len(x.Inputs))
	}
	for _, in := range x.Inputs {
		in.print(w, indent+"    ")
	}
}

// state says what the feature costs an entity in one partition.
func (x *explained) state() string {
	switch {
	case len(x.Inputs) > 0:
		return "none of its own"
	case x.Level == "":
		return fmt.Sprintf("the newest record, about %d B per entity and partition for all features; it is kept for ever", x.StateBytes)
	case x.StateBytes == 0:
		return fmt.Sprintf("nothing beyond the event count in each of up to %d tiles", x.Tiles)
	}
	text := fmt.Sprintf("up to about %d B per entity and partition, in %d tiles", x.StateBytes, x.Tiles)
	if len(x.Shares) > 0 {
		text += ", shared with " + strings.Join(x.Shares, ", ")
	}
	return text
}
