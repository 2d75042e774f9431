package definition

import (
	"fmt"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// Warning is something sound that will hurt. What it is about is named as far as
// it concerns one source, view or feature only.
type Warning struct {
	Source   string   `json:"source,omitempty"`
	View     string   `json:"view,omitempty"`
	Features []string `json:"features,omitempty"`
	Text     string   `json:"text"`
}

// About names what the warning is about.
func (w *Warning) About() string {
	switch {
	case w.View != "" && len(w.Features) > 0:
		return "view " + w.View + ", " + strings.Join(w.Features, ", ")
	case w.View != "":
		return "view " + w.View
	}
	return "source " + w.Source
}

// Warnings tells what will hurt by the definition alone.
func (v *View) Warnings() ([]Warning, error) {
	cost, err := v.Cost()
	if err != nil {
		return nil, err
	}
	var out []Warning
	for _, text := range cost.Warnings {
		out = append(out, Warning{View: v.Name, Text: text})
	}
	return append(out, v.midnights()...), nil
}

// midnights warns of windows of UTC days up to t: the instants of the features
// table are midnights, where the day of t has just begun (V3: an event at exactly
// t does not count).
func (v *View) midnights() []Warning {
	var out []Warning
	for _, f := range v.Spec.Features {
		w := f.Window
		if f.Derived != nil || w.Kind != transforms.Days || w.ExcludeCurrent {
			continue
		}
		text := fmt.Sprintf("{days: %d} ends with the day of t, of which nothing has passed at midnight, where the features table has its rows: there it covers the %d days before only; write {days: %d, exclude_current: true}",
			w.N, w.N-1, w.N-1)
		if w.N == 1 {
			text = "{days: 1} is the day of t up to t, which is always empty at midnight, where the features table has its rows; write {days: 1, exclude_current: true} for the day before, or ask `tallystick train` for other instants"
		}
		out = append(out, Warning{View: v.Name, Features: []string{f.Name}, Text: text})
	}
	return out
}

// KeptFor tells what will hurt where the source's topic keeps records for that
// long only.
func (s *Source) KeptFor(kept schemas.Micros) []Warning {
	if s.Table {
		return []Warning{{Source: s.Name, Text: fmt.Sprintf(
			"topic %s deletes records after %s, also the newest of a key, which a replay or a stream that begins anew then no longer sees; let Kafka compact it instead (cleanup.policy=compact)",
			s.Topic, expr.FormatDuration(kept))}}
	}
	if s.Lateness < kept {
		return nil
	}
	return []Warning{{Source: s.Name, Text: fmt.Sprintf(
		"its lateness is %s and topic %s keeps records for %s: they may be gone before what they belong to is closed, and no replay can tell what the stream counted; keep records longer than the lateness",
		expr.FormatDuration(s.Lateness), s.Topic, expr.FormatDuration(kept))}}
}

// KeptFor tells which windows no fold of the topic's log can fill where the topic
// keeps records for that long only (K8).
func (v *View) KeptFor(kept schemas.Micros) []Warning {
	if v.Spec.Table { // its source says so
		return nil
	}
	out := Warning{View: v.Name}
	for _, f := range v.Spec.Features {
		if f.Derived == nil && f.Window.Reach() > kept {
			out.Features = append(out.Features, f.Name)
		}
	}
	if len(out.Features) == 0 {
		return nil
	}
	out.Text = fmt.Sprintf("topic %s keeps records for %s and the window reaches further back: once records are deleted, a replay, or a stream that begins anew, marks the value as INCOMPLETE; keep records longer, or shorten the window",
		v.Source.Topic, expr.FormatDuration(kept))
	return []Warning{out}
}
