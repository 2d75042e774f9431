package definition

import (
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// Definition is a checked definition file. Its lists are in the file's order.
type Definition struct {
	Sources  []*Source
	Views    []*View
	Services []*Service
}

// Policy says what happens to records of a writer schema that cannot be read
// as the reader schema (S2).
type Policy string

// The policies.
const (
	Stop       Policy = "stop"
	Quarantine Policy = "quarantine"
)

// WritersSpec says where writer schemas come from; exactly one is set.
type WritersSpec struct {
	Registry  string           // URL of a Schema Registry
	Directory string           // of .avsc files
	Files     map[int32]string // schema id → .avsc file
}

// Source is one topic and the rules by which its records become events.
type Source struct {
	Name, Topic    string
	Table          bool     // of each key the newest record counts (K6)
	Key            *KeySpec // of a table
	Reader         *avro.Schema
	ReaderPath     string
	Writers        WritersSpec
	Migrations     []*Migration
	AcceptDefaults []string // reader paths whose Avro default may stand in (S2)
	Incompatible   Policy
	EventTime      EventTimeSpec
	Identity       transforms.Identity
	ID, Version    *expr.Program // over Paths; nil when not declared
	Lateness       schemas.Micros
	MaxFuture      schemas.Micros
	MaxOpen        int
	Expect         []transforms.Rule
	History        map[int32]int64 // partition → first offset beyond the load (K7); nil = none
	// HistoryLateness is the lateness below History, 0 = Lateness.
	HistoryLateness schemas.Micros
	CloseIdle       schemas.Micros // how far behind the wall clock an idle partition closes (K7); 0 = never
	// Paths is the projection: the reader paths that programs of this source and
	// of its views read. A program's slot is an index into it, and so is one of
	// schemas.Event.Fields.
	Paths []string

	types     []avro.FieldType // of Paths
	slots     map[string]int
	fields    map[string]rawField // of the reader schema, by name
	schemaRef string              // the schema file as written
	writers   WritersSpec
}

// Closing returns the clock by which the windows of partition p close at a cut
// where its log clock is clock: the wall clock has a say where the source declares
// close_idle and no load of old events is under way (K7).
func (s *Source) Closing(p int32, cut schemas.PartitionCut, clock schemas.Micros) schemas.Micros {
	if cut.End < s.History[p] {
		return clock
	}
	return cut.Closing(clock, s.CloseIdle)
}

// View is a checked view.
type View struct {
	Name        string
	Description string
	Source      *Source
	Spec        transforms.Spec
	// Snapshots is the distance of the boundaries of the features table, in µs.
	Snapshots schemas.Micros
	// Fingerprint is 32 hex digits that stand for everything that a value
	// depends on besides the records (§3).
	Fingerprint string
	// Canonical is the view and its source as a definition in normal form.
	Canonical string

	declared []*feature
}

// KeyField is one named and typed part of an entity.
type KeyField struct {
	Name string
	Kind schemas.Kind
}

// Key returns the view's key fields.
func (v *View) Key() []KeyField {
	keys := make([]KeyField, len(v.Spec.Key))
	for i, k := range v.Spec.Key {
		keys[i] = KeyField{k.Name, k.Kind}
	}
	return keys
}

// Feature returns the index of a feature in Spec.Features, -1 when there is none.
func (v *View) Feature(name string) int {
	for i := range v.Spec.Features {
		if v.Spec.Features[i].Name == name {
			return i
		}
	}
	return -1
}

// FeatureNames returns the names of the features in order.
func (v *View) FeatureNames() []string {
	names := make([]string, len(v.Spec.Features))
	for i := range names {
		names[i] = v.Spec.Features[i].Name
	}
	return names
}

// ServiceFeature is one feature that a service answers with.
type ServiceFeature struct {
	View    *View
	Feature int // index into View.Spec.Features
}

// Name returns view.feature.
func (f ServiceFeature) Name() string {
	return f.View.Name + "." + f.View.Spec.Features[f.Feature].Name
}

// Service is a list of features of one or more views.
type Service struct {
	Name     string
	Features []ServiceFeature
	Key      []KeyField // of all views, each name once, in the order of first use
}

// Views returns the views that the service reads, in the order of first use.
func (s *Service) Views() []*View {
	var views []*View
	seen := map[*View]bool{}
	for _, f := range s.Features {
		if !seen[f.View] {
			seen[f.View] = true
			views = append(views, f.View)
		}
	}
	return views
}

// View returns the view of that name.
func (d *Definition) View(name string) (*View, error) {
	return lookup(d.Views, "view", name, func(v *View) string { return v.Name })
}

// Source returns the source of that name.
func (d *Definition) Source(name string) (*Source, error) {
	return lookup(d.Sources, "source", name, func(s *Source) string { return s.Name })
}

// Service returns the service of that name.
func (d *Definition) Service(name string) (*Service, error) {
	return lookup(d.Services, "service", name, func(s *Service) string { return s.Name })
}

func lookup[T any](list []*T, what, name string, nameOf func(*T) string) (*T, error) {
	var names []string
	for _, x := range list {
		if nameOf(x) == name {
			return x, nil
		}
		names = append(names, nameOf(x))
	}
	return nil, fmt.Errorf("unknown %s `%s`%s", what, name, hinted(expr.DidYouMean(name, names)))
}

// Load reads and checks a definition file. Schema files are found relative to
// it. Where the file is read but not sound, the error is an *Errors.
func Load(path string) (*Definition, error) {
	text, err := readText(path)
	if err != nil {
		return nil, fmt.Errorf("definition: %w", err)
	}
	return Parse(path, text, readText)
}

// readText reads a definition, or a schema that it names.
func readText(path string) ([]byte, error) { return schemas.ReadFile(path, avro.MaxSchemaBytes) }

// Parse checks a definition. Paths in it are taken relative to the directory of
// name and read by readFile. The error is an *Errors.
func Parse(name string, text []byte, readFile func(string) ([]byte, error)) (*Definition, error) {
	p := &parser{file: name, readFile: readFile, def: &Definition{}}
	p.parse(text)
	if len(p.errs) > 0 {
		return nil, p.sortedErrors()
	}
	for _, v := range p.def.Views { // the projection is whole only now
		v.Spec.Fields = v.Source.Paths
	}
	return p.def, nil
}
