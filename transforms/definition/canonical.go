package definition

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// canonical writes the view and its source as a definition in normal form:
// defaults explicit, expressions in their normal form, nothing that is implied.
func (v *View) canonical() string {
	w := &yamlWriter{}
	w.line(0, "sources:")
	v.Source.write(w)
	w.line(0, "views:")
	v.write(w)
	return w.String()
}

type yamlWriter struct{ strings.Builder }

func (w *yamlWriter) line(indent int, format string, a ...any) {
	w.WriteString(strings.Repeat("  ", indent))
	fmt.Fprintf(&w.Builder, format, a...)
	w.WriteByte('\n')
}

// quoted is a double-quoted YAML scalar; JSON's escapes are YAML's.
func quoted(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func quotedList(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quoted(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func (s *Source) write(w *yamlWriter) {
	w.line(1, "%s:", s.Name)
	w.line(2, "topic: %s", quoted(s.Topic))
	if s.Table {
		w.line(2, "kind: table")
		w.line(2, "key: %s", quoted(s.Key.ref))
	}
	w.line(2, "schema: %s", quoted(s.schemaRef))
	switch {
	case s.writers.Registry != "":
		w.line(2, "writers: {registry: %s}", quoted(s.writers.Registry))
	case s.writers.Files != nil:
		var files []string
		for _, id := range slices.Sorted(maps.Keys(s.writers.Files)) {
			files = append(files, fmt.Sprintf("%d: %s", id, quoted(s.writers.Files[id])))
		}
		w.line(2, "writers: {files: {%s}}", strings.Join(files, ", "))
	default:
		w.line(2, "writers: {directory: %s}", quoted(s.writers.Directory))
	}
	if len(s.Migrations) > 0 {
		w.line(2, "migrate:")
	}
	for _, m := range s.Migrations {
		var rules []string
		for _, r := range m.Rules {
			rules = append(rules, fmt.Sprintf("%s: %s", quoted(r.Field), quoted(r.canonical)))
		}
		w.line(3, "%s: {%s}", quoted(m.Writer), strings.Join(rules, ", "))
	}
	if len(s.AcceptDefaults) > 0 {
		w.line(2, "accept_defaults: %s", quotedList(s.AcceptDefaults))
	}
	w.line(2, "incompatible: %s", s.Incompatible)
	w.line(2, "event_time: %s", s.EventTime.text())
	if s.ID != nil {
		w.line(2, "id: %s", quoted(s.ID.Canonical()))
	}
	if s.Version != nil {
		w.line(2, "version: %s", quoted(s.Version.Canonical()))
	}
	if !s.Table {
		w.line(2, "lateness: %s", expr.FormatDuration(s.Lateness))
	}
	w.line(2, "max_future: %s", expr.FormatDuration(s.MaxFuture))
	if !s.Table {
		w.line(2, "max_open: %d", s.MaxOpen)
	}
	if len(s.Expect) > 0 {
		w.line(2, "expect:")
	}
	for _, r := range s.Expect {
		w.line(3, "- %s", quoted(r.Expr.Canonical()))
	}
	if len(s.History) > 0 {
		var parts []string
		for _, p := range slices.Sorted(maps.Keys(s.History)) {
			parts = append(parts, fmt.Sprintf("%d: %d", p, s.History[p]))
		}
		w.line(2, "history: {%s}", strings.Join(parts, ", "))
	}
	if s.HistoryLateness > 0 {
		w.line(2, "history_lateness: %s", expr.FormatDuration(s.HistoryLateness))
	}
}

func (e EventTimeSpec) text() string {
	parts := []string{"field: " + quoted(e.Field)}
	if e.Kind == TimeNumber {
		for _, name := range []string{"s", "ms", "us"} {
			if timeUnits[name] == e.Unit {
				parts = append(parts, "unit: "+name)
			}
		}
	}
	if e.Parser != nil {
		parts = append(parts, "zone: "+quoted(e.Zone))
		if e.Layout != "" {
			parts = append(parts, "layout: "+quoted(e.Layout))
		}
		parts = append(parts, "fold: "+e.Fold, "gap: "+e.Gap)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (v *View) write(w *yamlWriter) {
	w.line(1, "%s:", v.Name)
	w.line(2, "source: %s", v.Source.Name)
	if v.Description != "" {
		w.line(2, "description: %s", quoted(v.Description))
	}
	w.line(2, "entity:")
	for _, k := range v.Spec.Key {
		switch {
		case v.Spec.Table && v.Source.Key.single():
			w.line(3, "%s: {type: %s}", k.Name, k.Kind)
			continue
		case v.Spec.Table:
			w.line(3, "%s: {type: %s, field: %s}", k.Name, k.Kind, quoted(k.Expr.Canonical()))
			continue
		}
		w.line(3, "%s: {type: %s, expr: %s}", k.Name, k.Kind, quoted(k.Expr.Canonical()))
	}
	if v.Spec.Where != nil {
		w.line(2, "where: %s", quoted(v.Spec.Where.Canonical()))
	}
	w.line(2, "snapshots: %s", expr.FormatDuration(v.Snapshots))
	w.line(2, "shards: %d", v.Spec.Shards)
	w.line(2, "features:")
	var done []*feature
	for i := range v.Spec.Features { // in the order of the spec
		f := v.declaredOf(v.Spec.Features[i].Name)
		if !slices.Contains(done, f) {
			done = append(done, f)
			w.line(3, "%s: {%s}", f.name, v.featureText(f))
		}
	}
}

func (v *View) declaredOf(name string) *feature {
	i := slices.IndexFunc(v.declared, func(f *feature) bool { return slices.Contains(f.names(), name) })
	return v.declared[i]
}

func (v *View) featureText(f *feature) string {
	var parts []string
	if f.derived != nil {
		parts = append(parts, "expr: "+quoted(f.programs.Canonical()))
	} else {
		input := "*"
		if f.spec.Input >= 0 {
			input = v.Spec.Inputs[f.spec.Input].Canonical()
		}
		parts = append(parts, f.spec.Aggregation.String()+": "+quoted(input))
		if p := v.parameterText(&f.spec); p != "" {
			parts = append(parts, p)
		}
		if f.spec.Filter >= 0 {
			parts = append(parts, "where: "+quoted(v.Spec.Filters[f.spec.Filter].Canonical()))
		}
		var windows []string
		for _, w := range f.windows {
			if w.suffix != "" {
				windows = append(windows, w.canonical())
			}
		}
		if len(windows) > 0 {
			parts = append(parts, "over: ["+strings.Join(windows, ", ")+"]")
		}
	}
	if !f.spec.Default.IsNull() {
		parts = append(parts, "default: "+defaultText(f.spec.Default))
	}
	return strings.Join(parts, ", ")
}

// parameterText is what else an aggregation is given.
func (v *View) parameterText(f *transforms.Feature) string {
	switch f.Aggregation {
	case transforms.FirstK, transforms.LastK:
		return fmt.Sprintf("k: %d", f.K)
	case transforms.Quantile:
		return "q: " + strconv.FormatFloat(float64(f.Q)/transforms.QuantileUnit, 'f', -1, 64)
	case transforms.MinBy, transforms.MaxBy:
		return "by: " + quoted(v.Spec.Inputs[f.By].Canonical())
	}
	return ""
}

func (w window) canonical() string {
	switch w.Kind {
	case transforms.Sliding:
		return fmt.Sprintf("{window: %s, hop: %s}", w.text, expr.FormatDuration(w.Hop))
	case transforms.Lifetime:
		return "lifetime"
	}
	for _, u := range calendarUnits {
		if u.kind == w.Kind {
			return fmt.Sprintf("{%s: %d, exclude_current: %t}", u.key, w.N, w.ExcludeCurrent)
		}
	}
	return ""
}

func defaultText(v schemas.Value) string {
	switch v.Kind() {
	case schemas.List:
		texts := make([]string, v.Len())
		for i, x := range v.Elements() {
			texts[i] = defaultText(x)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case schemas.String, schemas.Bytes:
		return quoted(v.Text())
	case schemas.Timestamp:
		return quoted(v.String())
	case schemas.Double:
		if s := v.String(); strings.ContainsAny(s, ".e") {
			return s
		}
		return v.String() + ".0"
	}
	return v.String()
}
