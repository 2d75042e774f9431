package definition

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// Defaults of a source.
const (
	defaultLateness  = 72 * schemas.Hour
	defaultMaxFuture = 5 * schemas.Minute
	defaultMaxOpen   = 65_536
)

func (p *parser) parse(text []byte) {
	root := p.root(text)
	if root == nil {
		return
	}
	top := p.object(root, "the definition", definitionKeys)
	if root.Kind != yaml.MappingNode {
		return
	}
	if n := top.get("sources"); n != nil {
		for _, e := range p.mapping(n, "`sources`") {
			p.name(e.at, "source")
			p.def.Sources = append(p.def.Sources, p.source(e))
		}
	}
	if len(p.def.Sources) == 0 {
		p.fail(root, "declare at least one under `sources:`", "the definition has no sources")
	}
	if n := top.get("views"); n != nil {
		for _, e := range p.mapping(n, "`views`") {
			p.name(e.at, "view")
			p.def.Views = append(p.def.Views, p.view(e))
		}
	}
	if n := top.get("services"); n != nil {
		for _, e := range p.mapping(n, "`services`") {
			p.name(e.at, "service")
			p.def.Services = append(p.def.Services, p.service(e))
		}
	}
	if len(p.def.Views) == 0 && len(p.errs) == 0 { // and no key that was to be `views`
		p.fail(root, "declare at least one under `views:`", "the definition has no views")
	}
	if len(p.errs) > 0 {
		return
	}
	for _, v := range p.def.Views {
		v.Canonical = v.canonical()
		v.Fingerprint = v.fingerprint()
	}
}

func (p *parser) source(e entry) *Source {
	s := &Source{Name: e.key, Topic: e.key, Incompatible: Stop, Lateness: defaultLateness, MaxFuture: defaultMaxFuture,
		MaxOpen: defaultMaxOpen, slots: map[string]int{}}
	o := p.object(e.value, "source "+e.key, sourceKeys)
	p.sourceScalars(s, o)
	p.kind(s, e, o)
	p.schema(s, e, o)
	p.writers(s, o)
	// The order of what follows is the order of the projection.
	p.eventTime(s, e, o.get("event_time"))
	p.identity(s, o)
	if n := o.get("expect"); n != nil {
		for _, x := range p.list(n) {
			if prog := p.condition(x, s, "expect"); prog != nil {
				s.Expect = append(s.Expect, transforms.Rule{Text: x.Value, Expr: prog})
			}
		}
	}
	if n := o.get("migrate"); n != nil {
		p.migrations(s, n)
	}
	if n := o.get("accept_defaults"); n != nil {
		p.acceptDefaults(s, n)
	}
	return s
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// TopicName tells whether Kafka accepts a name for a topic.
func TopicName(name string) bool {
	return topicName.MatchString(name) && name != "." && name != ".."
}

func (p *parser) sourceScalars(s *Source, o object) {
	if n := o.get("topic"); n != nil {
		if t, ok := p.text(n, "topic"); ok {
			s.Topic = t
			if !TopicName(t) {
				p.fail(n, "use letters, digits, . _ and -, at most 249 of them", "`%s` cannot name a Kafka topic", t)
			}
		}
	}
	if n := o.get("incompatible"); n != nil {
		if w, ok := p.oneOf(n, "incompatible", string(Stop), string(Quarantine)); ok {
			s.Incompatible = Policy(w)
		}
	}
	for _, d := range []struct {
		key string
		to  *schemas.Micros
	}{{"lateness", &s.Lateness}, {"max_future", &s.MaxFuture}, {"history_lateness", &s.HistoryLateness}, {"close_idle", &s.CloseIdle}} {
		if n := o.get(d.key); n != nil {
			if v, ok := p.duration(n, d.key, schemas.Second); ok {
				*d.to = v
			}
		}
	}
	if n := o.get("max_open"); n != nil {
		if v, ok := p.integer(n, "max_open", 1); ok {
			s.MaxOpen = int(min(v, 1<<30))
		}
	}
	if n := o.get("history"); n != nil {
		p.history(s, n)
	}
	table := o.get("kind") // has no history_lateness at all, as p.kind says
	if n := o.get("history_lateness"); n != nil && s.HistoryLateness > 0 && (table == nil || table.Value != "table") {
		switch {
		case len(s.History) == 0:
			p.fail(n, "add `history: {PARTITION: OFFSET}`, or write lateness", "history_lateness goes with history")
		case s.HistoryLateness < s.Lateness:
			p.fail(n, "write a longer one, or leave it out", "history_lateness is below lateness (%s)", expr.FormatDuration(s.Lateness))
		}
	}
}

func (p *parser) history(s *Source, n *yaml.Node) {
	s.History = map[int32]int64{}
	for _, e := range p.numbered(n, "history", "partition") {
		if off, ok := p.integer(e.value, "the offset at which the load of old events ends", 0); ok {
			s.History[e.number] = off
		}
	}
}

// resolve makes a path of the file one that readFile takes.
func (p *parser) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(p.file), path)
}

// readSchema reads and parses a schema file named by n.
func (p *parser) readSchema(n *yaml.Node, ref string) *avro.Schema {
	return p.parseSchema(n, ref, avro.Parse)
}

func (p *parser) parseSchema(n *yaml.Node, ref string, parse func(name string, text []byte) (*avro.Schema, error)) *avro.Schema {
	text, err := p.readFile(p.resolve(ref))
	if errors.Is(err, fs.ErrNotExist) {
		p.fail(n, "paths are relative to the definition file", "there is no schema file `%s`", ref)
		return nil
	}
	if err != nil {
		// The system's text names the path once more: keep the cause only.
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		p.fail(n, "", "schema file `%s` cannot be read: %v", ref, err)
		return nil
	}
	schema, err := parse(ref, text)
	if err != nil {
		p.fail(n, "", "%v", err)
		return nil
	}
	return schema
}

func (p *parser) schema(s *Source, e entry, o object) {
	n := o.get("schema")
	if n == nil {
		p.fail(e.at, "add `schema: path/to/reader.avsc`", "source %s has no schema", s.Name)
		return
	}
	ref, ok := p.text(n, "schema")
	if !ok {
		return
	}
	s.schemaRef, s.ReaderPath = ref, p.resolve(ref)
	if s.Reader = p.readSchema(n, ref); s.Reader != nil {
		s.fields = rawFields(p.readFile, s.ReaderPath)
	}
}

func (p *parser) writers(s *Source, o object) {
	s.writers = WritersSpec{Directory: filepath.ToSlash(filepath.Dir(s.schemaRef))}
	n := o.get("writers")
	if n != nil {
		w := p.object(n, "writers", writersKeys)
		if len(w.entries) != 1 {
			p.fail(n, "write one of registry, directory, files", "writers must name one place that schemas come from")
			return
		}
		s.writers = WritersSpec{}
		switch e := w.entries[0]; e.key {
		case "registry":
			url, ok := p.text(e.value, "registry")
			switch {
			case !ok:
			case strings.Contains(url, "@"): // it is not shown; `check` would show it
				p.fail(e.value, "leave them out here, and see --registry-user", "the URL of the Schema Registry has a user or password in it")
			case !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://"):
				p.fail(e.value, "begin with http:// or https://", "`%s` is not the URL of a Schema Registry", url)
			}
			s.writers.Registry = url
		case "directory":
			s.writers.Directory, _ = p.text(e.value, "directory")
		case "files":
			p.writerFiles(s, e.value)
		}
	}
	s.Writers = s.writers
	if s.writers.Directory != "" {
		s.Writers.Directory = p.resolve(s.writers.Directory)
	}
	if s.writers.Files != nil {
		s.Writers.Files = map[int32]string{}
		for id, f := range s.writers.Files {
			s.Writers.Files[id] = p.resolve(f)
		}
	}
}

func (p *parser) writerFiles(s *Source, n *yaml.Node) {
	s.writers.Files = map[int32]string{}
	for _, e := range p.numbered(n, "files", "schema id") {
		ref, ok := p.text(e.value, "the schema file")
		parse := avro.Parse
		if s.Table { // the schemas of keys are among them
			parse = avro.ParseAny
		}
		if ok && p.parseSchema(e.value, ref, parse) != nil {
			s.writers.Files[e.number] = ref
		}
	}
	if len(n.Content) == 0 {
		p.fail(n, "write `1: schemas/x.v1.avsc` below it", "files names no schema")
	}
}

func (p *parser) identity(s *Source, o object) {
	id, version := o.get("id"), o.get("version")
	if id != nil {
		s.Identity = transforms.ByID
		if s.ID = p.expression(id, s, "id"); s.ID != nil {
			if k := s.ID.Type().Kind; k == schemas.Double || k == schemas.Bool {
				p.fail(id, "name a string, int, bytes or timestamp field", "an id cannot be %s", expr.Article(k))
			}
		}
	}
	if version == nil {
		return
	}
	if id == nil && !s.Table {
		p.fail(version, "add `id:`", "version without id means nothing")
		return
	}
	if !s.Table {
		s.Identity = transforms.ByVersion
	}
	if s.Version = p.expression(version, s, "version"); s.Version != nil {
		if k := s.Version.Type().Kind; k != schemas.Int && k != schemas.String {
			p.fail(version, "name an int or long field, or a string holding a PostgreSQL LSN", "a version cannot be %s", expr.Article(k))
		}
	}
}

func (p *parser) acceptDefaults(s *Source, n *yaml.Node) {
	for _, x := range p.list(n) {
		text, ok := p.text(x, "a field of accept_defaults")
		if !ok || s.Reader == nil {
			continue
		}
		path, plain := plainPath(text)
		if !plain {
			p.fail(x, "name the field itself", "`%s` is no field", text)
			continue
		}
		if slices.Contains(s.AcceptDefaults, path) {
			p.fail(x, "remove one of them", "`%s` is listed twice", path)
			continue
		}
		if !s.hasPath(path) {
			p.exprErrors(x, expr.Errors{s.unknown(path)})
			continue
		}
		s.AcceptDefaults = append(s.AcceptDefaults, path)
	}
	slices.Sort(s.AcceptDefaults)
}

// hasPath tells whether path names a field, of whatever type, or an item or a
// value of one.
func (s *Source) hasPath(path string) bool {
	_, err := s.Reader.Lookup("present(" + path + ")")
	return err == nil
}
