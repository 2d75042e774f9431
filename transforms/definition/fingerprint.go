package definition

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// fingerprint hashes what values depend on besides the records (§3): not names
// and descriptions, not the order of features, not writer schemas, nor
// the origin of schemas.
func (v *View) fingerprint() string {
	lines := []string{fmt.Sprintf("tallystick state format %d", transforms.StateFormat)}
	add := func(format string, a ...any) { lines = append(lines, fmt.Sprintf(format, a...)) }
	if v.Source.Table {
		v.Source.Key.rules(add)
	}
	v.Source.rules(add, v.Slots())
	for _, k := range v.Spec.Key {
		add("key %s %q", k.Kind, k.Expr.Canonical())
	}
	add("where %q", canonicalOf(v.Spec.Where))
	add("snapshots %d shards %d", v.Snapshots, v.Spec.Shards)
	lines = append(lines, v.featureLines()...)
	return digest(strings.Join(lines, "\n"))
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

func canonicalOf(p *expr.Program) string {
	if p == nil {
		return ""
	}
	return p.Canonical()
}

// Slots returns the fields that the view and its source's own rules read, as
// ascending indexes into Source.Paths.
func (v *View) Slots() []int {
	slots := []int{v.Source.EventTime.Slot}
	programs := []*expr.Program{v.Spec.ID, v.Spec.Version, v.Spec.Where}
	for _, r := range v.Spec.Expect {
		programs = append(programs, r.Expr)
	}
	for _, k := range v.Spec.Key {
		if !v.Spec.Table { // those of a table read its key
			programs = append(programs, k.Expr)
		}
	}
	programs = append(append(programs, v.Spec.Filters...), v.Spec.Inputs...)
	for _, p := range programs {
		if p != nil {
			slots = append(slots, p.Slots()...)
		}
	}
	slices.Sort(slots)
	return slices.Compact(slots)
}

// rules adds what makes records of the source into events of the projection.
func (s *Source) rules(add func(string, ...any), projection []int) {
	paths := make([]string, len(projection))
	types := map[string]string{}
	for i, slot := range projection {
		t := s.types[slot]
		paths[i] = s.Paths[slot]
		types[paths[i]] = fmt.Sprintf("%s nullable=%t %s %s", t.Kind, t.Nullable, t.Avro, t.Logical)
		if more := s.Reader.Describe(paths[i]); more != "" {
			types[paths[i]] += " " + more
		}
	}
	sort.Strings(paths)
	for _, p := range paths {
		add("field %q %s", p, types[p])
	}
	s.fieldRules(add, paths)
	used := func(accepted string) bool {
		accepted = avro.Names(accepted)
		return slices.ContainsFunc(paths, func(p string) bool {
			p = avro.Names(p)
			return p == accepted || strings.HasPrefix(p, accepted+".")
		})
	}
	for _, m := range s.Migrations {
		for _, r := range m.Rules {
			// Also rules for fields that the view does not read: a rule that fails
			// makes the record invalid.
			add("migrate %q %q {%v %t} %q", m.Writer, r.Field, r.Type.Kind, r.Type.Nullable, r.canonical)
		}
	}
	for _, p := range s.AcceptDefaults {
		if used(p) {
			add("accept default %q", p)
		}
	}
	e := s.EventTime
	add("event time %q %s unit=%d", e.Field, e.Kind, e.Unit)
	if e.Parser != nil {
		add("local time %q %s %s %s", e.Layout, e.Fold, e.Gap, e.Rules)
	}
	add("id %q version %q", canonicalOf(s.ID), canonicalOf(s.Version))
	add("incompatible %s", s.Incompatible)
	add("lateness %d max_future %d max_open %d", s.Lateness, s.MaxFuture, s.MaxOpen)
	for _, r := range s.Expect {
		add("expect %q", r.Expr.Canonical())
	}
	for _, p := range slices.Sorted(maps.Keys(s.History)) {
		add("history %d %d", p, s.History[p])
	}
	if s.HistoryLateness > 0 {
		add("history lateness %d", s.HistoryLateness)
	}
}

// rawField is a field of an .avsc file: what resolution reads besides types.
type rawField struct {
	Name    string          `json:"name"`
	Aliases []string        `json:"aliases"`
	Default json.RawMessage `json:"default"`
}

// rawFields reads the fields of a schema that is known to be sound.
func rawFields(readFile func(string) ([]byte, error), path string) map[string]rawField {
	out := map[string]rawField{}
	var schema struct{ Fields []rawField }
	text, err := readFile(path)
	if err != nil || json.Unmarshal(text, &schema) != nil {
		return out
	}
	for _, f := range schema.Fields {
		out[f.Name] = f
	}
	return out
}

// fieldRules adds what the reader schema says of the top fields of the paths
// besides their types: aliases, and an accepted default.
func (s *Source) fieldRules(add func(string, ...any), paths []string) {
	done := map[string]bool{}
	for _, p := range paths {
		name, _, _ := strings.Cut(avro.Names(p), ".")
		if done[name] {
			continue
		}
		done[name] = true
		f := s.fields[name]
		if len(f.Aliases) > 0 {
			add("aliases %q %q", name, f.Aliases)
		}
		accepted := slices.ContainsFunc(s.AcceptDefaults, func(a string) bool {
			a = avro.Names(a)
			return a == name || strings.HasPrefix(a, name+".")
		})
		if accepted && f.Default != nil {
			add("default %q %s", name, compactJSON(f.Default))
		}
	}
}

// compactJSON writes v without blanks and docs, keys sorted, numbers as written.
func compactJSON(v json.RawMessage) string {
	var x any
	dec := json.NewDecoder(bytes.NewReader(v))
	dec.UseNumber()
	if dec.Decode(&x) != nil {
		return string(v)
	}
	stripDocs(x)
	b, err := json.Marshal(x)
	if err != nil {
		return string(v)
	}
	return string(b)
}

func stripDocs(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "doc")
		for _, x := range v {
			stripDocs(x)
		}
	case []any:
		for _, x := range v {
			stripDocs(x)
		}
	}
}

// featureLines describes the features without their names, sorted. A derived
// one names its inputs by the digests of their lines.
func (v *View) featureLines() []string {
	byName := map[string]string{}
	var lines []string
	for i := range v.Spec.Features {
		f := &v.Spec.Features[i]
		line := v.featureLine(f)
		if f.Derived != nil {
			text, err := expr.Normalize(f.Derived.Canonical(), func(name string) string { return byName[name] })
			if err != nil {
				text = f.Derived.Canonical() // cannot be: it was compiled
			}
			line = fmt.Sprintf("derived %s %s", text, defaultOf(f.Default))
		}
		byName[f.Name] = "f" + digest(line)
		lines = append(lines, "feature "+line)
	}
	sort.Strings(lines)
	return lines
}

func (v *View) featureLine(f *transforms.Feature) string {
	if f.Derived != nil {
		return ""
	}
	input, filter := "*", ""
	if f.Input >= 0 {
		input = v.Spec.Inputs[f.Input].Canonical()
	}
	if f.Filter >= 0 {
		filter = v.Spec.Filters[f.Filter].Canonical()
	}
	w := f.Window
	agg := f.Aggregation.String()
	if p := v.parameterText(f); p != "" {
		agg += " " + p
	}
	return fmt.Sprintf("%s(%q) where %q over %d/%d/%d/%t hop %d %s", agg, input, filter,
		w.Kind, w.Length, w.N, w.ExcludeCurrent, w.Hop, defaultOf(f.Default))
}

func defaultOf(v schemas.Value) string {
	if v.IsNull() {
		return "no default"
	}
	return fmt.Sprintf("default %x", v.Append(nil))
}
