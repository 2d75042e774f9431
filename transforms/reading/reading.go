// Package reading turns the Kafka records of a source into events: writer
// schema, decode, migrate, event time, in the order of V6. It is the one way
// into the engine, for stream, replay and train alike.
package reading

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/expr"
)

// Source reads the records of a view's source. What it makes of a record
// depends on the source and on the fields that the view itself reads, never on
// other views (V6). It is safe for concurrent use; each goroutine takes a
// Reader of its own.
type Source struct {
	def     *definition.Source
	writers registry.Resolver
	paths   []string // what the view reads
	slots   []int    // their places in schemas.Event.Fields

	mu       sync.RWMutex
	programs map[int]*program // by writer schema id
	keys     map[int]*program // of a table's keys, likewise
}

// NewSource prepares to read the source of a view, whose writer schemas come
// from writers.
func NewSource(view *definition.View, writers registry.Resolver) *Source {
	s := &Source{def: view.Source, writers: writers, programs: map[int]*program{}, keys: map[int]*program{}}
	s.slots = view.Slots()
	for _, i := range s.slots {
		s.paths = append(s.paths, s.def.Paths[i])
	}
	return s
}

// Writers opens the place that the source's writer schemas come from. override,
// unless empty, is the URL of a Schema Registry to use instead.
func Writers(def *definition.Source, override string, opts ...registry.Option) (registry.Resolver, error) {
	switch w := def.Writers; {
	case override != "":
		return registry.FromRegistry(override, opts...)
	case w.Registry != "":
		return registry.FromRegistry(w.Registry, opts...)
	case w.Files != nil:
		ids := make(map[int]string, len(w.Files))
		for id, path := range w.Files {
			ids[int(id)] = path
		}
		return registry.FromFiles("", ids)
	default:
		return registry.FromDirectory(w.Directory)
	}
}

// IncompatibleError stops a pipeline: records of a writer schema cannot be read
// as the source's schema, and no rule says how (S2).
type IncompatibleError struct {
	Source string
	Key    bool // it is the key that cannot be read
	Writer string
	At     schemas.Position
	Err    error // an *avro.ResolutionError or definition.MigrationErrors
}

func (e *IncompatibleError) Error() string {
	if e.Key {
		return fmt.Sprintf("source %s, %v: its key was written with schema %s, which cannot be read as the source's `key`: %v; correct `key`, or set `incompatible: quarantine`", e.Source, e.At, e.Writer, e.Err)
	}
	return fmt.Sprintf("source %s, %v: written with schema %s, which cannot be read as the source's schema: %v; add a `migrate` rule, or set `incompatible: quarantine`", e.Source, e.At, e.Writer, e.Err)
}

func (e *IncompatibleError) Unwrap() error { return e.Err }

// program reads the bodies of one writer schema.
type program struct {
	fault   *schemas.Fault // not nil: every such record is invalid
	unknown bool           // the id is: it may be registered later, so it is asked for anew
	decoder *avro.Decoder
	// A migration computes fields[i] = rules[i] over what origin reads.
	origin *avro.Decoder
	width  int // values that origin gives
	rules  []rule
}

type rule struct {
	slot int // in schemas.Event.Fields; -1 = nobody reads it, but it is still checked
	name string
	typ  expr.Type
	prog *expr.Program
}

// Reader reads records one after the other. It is not safe for concurrent use.
type Reader struct {
	src    *Source
	lastID int
	last   *program
	fields []schemas.Value // of the view
	values []schemas.Value // of the writer, for migrations

	lastKeyID int // of a table
	lastKey   *program
}

// NewReader returns a Reader.
func (s *Source) NewReader() *Reader {
	return &Reader{src: s, fields: make([]schemas.Value, len(s.paths))}
}

// NewEvent returns an Event for Read.
func (s *Source) NewEvent() *schemas.Event {
	return &schemas.Event{Fields: make([]schemas.Value, len(s.def.Paths)), Key: make([]schemas.Value, keyWidth(s.def))}
}

// Read turns rec into e, but for its clock. What is wrong with the record stands
// in e.Fault. An error stops the pipeline: an *IncompatibleError, or one of the
// resolver that may pass.
func (r *Reader) Read(ctx context.Context, rec *schemas.Record, e *schemas.Event) error {
	e.Partition, e.Offset, e.Timestamp = rec.Partition, rec.Offset, rec.Timestamp
	e.Clock, e.EventTime, e.Fault, e.Tombstone = schemas.Never, schemas.Never, nil, false
	if r.src.def.Table {
		return r.readTable(ctx, rec, e)
	}
	return r.readValue(ctx, rec, e)
}

// readTable reads a record of a table: its value, or that there is none from its
// timestamp on, then its key (K6).
func (r *Reader) readTable(ctx context.Context, rec *schemas.Record, e *schemas.Event) error {
	if rec.Value == nil {
		e.Tombstone, e.EventTime = true, rec.Timestamp
	} else if err := r.readValue(ctx, rec, e); err != nil || e.Fault != nil {
		return err
	}
	return r.readKey(ctx, rec, e)
}

func (r *Reader) readValue(ctx context.Context, rec *schemas.Record, e *schemas.Event) error {
	if rec.Value == nil {
		e.Fault = &schemas.Fault{Stage: schemas.StageDecode, Reason: "the value is null and there is no tick header"}
		return nil
	}
	id, body, err := avro.Frame(rec.Value)
	if err != nil {
		e.Fault = &schemas.Fault{Stage: schemas.StageDecode, Reason: err.Error()}
		return nil
	}
	if r.last == nil || id != r.lastID || r.last.unknown {
		p, err := r.src.program(ctx, id, rec)
		if err != nil {
			return err
		}
		r.last, r.lastID = p, id
	}
	if e.Fault = r.last.fault; e.Fault != nil {
		return nil
	}
	if e.Fault = r.decode(body, e.Fields); e.Fault == nil {
		t, fault := r.src.eventTime(e.Fields)
		if e.Fault = fault; fault == nil {
			e.EventTime = t
		}
	}
	return nil
}

func (r *Reader) decode(body []byte, fields []schemas.Value) *schemas.Fault {
	p := r.last
	if err := p.decoder.Decode(r.fields, body); err != nil {
		return &schemas.Fault{Stage: schemas.StageDecode, Reason: err.Error()}
	}
	for i, slot := range r.src.slots {
		fields[slot] = r.fields[i]
	}
	if p.origin == nil {
		return nil
	}
	if cap(r.values) < p.width {
		r.values = make([]schemas.Value, p.width)
	}
	values := r.values[:p.width]
	if err := p.origin.Decode(values, body); err != nil {
		return &schemas.Fault{Stage: schemas.StageDecode, Reason: err.Error()}
	}
	for i := range p.rules {
		m := &p.rules[i]
		x, err := m.prog.Eval(values)
		switch {
		case err != nil:
			return &schemas.Fault{Stage: schemas.StageMigrate, Reason: m.name + ": " + err.Error()}
		case x.IsNull() && !m.typ.Nullable:
			return &schemas.Fault{Stage: schemas.StageMigrate, Reason: m.name + " is null, which the source's schema does not allow"}
		}
		if m.slot >= 0 {
			fields[m.slot] = x
		}
	}
	return nil
}

func (s *Source) eventTime(fields []schemas.Value) (schemas.Micros, *schemas.Fault) {
	spec := &s.def.EventTime
	x := fields[spec.Slot]
	if x.IsNull() {
		return 0, timeFault(spec.Field + " is null")
	}
	var t schemas.Micros
	var err error
	switch spec.Kind {
	case definition.TimeInstant:
		t = x.Micros()
	case definition.TimeLocal:
		t, err = spec.Parser.FromWallClock(x.Micros())
	case definition.TimeRFC3339:
		t, err = schemas.ParseInstant(x.Text())
	case definition.TimeText:
		t, err = spec.Parser.Parse(x.Text())
	default:
		t = schemas.Micros(x.Int()) * spec.Unit
		if t/spec.Unit != schemas.Micros(x.Int()) {
			return 0, timeFault(fmt.Sprintf("%s: %d is out of range", spec.Field, x.Int()))
		}
	}
	if err != nil {
		return 0, timeFault(spec.Field + ": " + err.Error())
	}
	return t, nil
}

func timeFault(reason string) *schemas.Fault {
	return &schemas.Fault{Stage: schemas.StageEventTime, Reason: reason}
}

// maxPrograms bounds what garbage with made-up schema ids can make us remember.
const maxPrograms = 10_000

// program returns how to read bodies written with a schema id.
func (s *Source) program(ctx context.Context, id int, rec *schemas.Record) (*program, error) {
	return s.cached(ctx, s.programs, id, rec, schemas.StageDecode, func(w *registry.Writer) (*program, error) { return s.compile(id, w) })
}

// cached returns the program of a schema id from known, or makes it. stage is
// where a record of an unknown one fails.
func (s *Source) cached(ctx context.Context, known map[int]*program, id int, rec *schemas.Record, stage schemas.Stage,
	compile func(*registry.Writer) (*program, error)) (*program, error) {
	s.mu.RLock()
	p := known[id]
	s.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	w, err := s.writers.Writer(ctx, id)
	switch {
	case errors.Is(err, registry.ErrUnknownID):
		return &program{unknown: true, fault: &schemas.Fault{Stage: stage, Reason: err.Error(), Unknown: &id}}, nil
	case err != nil && !errors.Is(err, registry.ErrUnusable):
		return nil, fmt.Errorf("source %s: %w", s.def.Name, err)
	default:
		if err == nil {
			p, err = compile(w)
		}
		if err != nil {
			if s.def.Incompatible == definition.Stop {
				return nil, &IncompatibleError{Source: s.def.Name, Key: stage == schemas.StageKey, Writer: writerName(w, id), Err: err,
					At: schemas.Position{Partition: rec.Partition, Offset: rec.Offset}}
			}
			if stage == schemas.StageDecode {
				stage = schemas.StageMigrate
			}
			p = &program{fault: &schemas.Fault{Stage: stage, Reason: err.Error()}}
		}
	}
	s.mu.Lock()
	if len(known) < maxPrograms {
		known[id] = p
	}
	s.mu.Unlock()
	return p, nil
}

// Known tells whether there is a writer schema of an id. It asks no broker.
func (s *Source) Known(ctx context.Context, id int) (bool, error) {
	_, err := s.writers.Writer(ctx, id)
	switch {
	case errors.Is(err, registry.ErrUnknownID):
		return false, nil
	case err == nil || errors.Is(err, registry.ErrUnusable):
		return true, nil
	}
	return false, fmt.Errorf("source %s: %w", s.def.Name, err)
}

// CheckWriter tells why records of a schema id cannot be read (S2), nil when they
// can. It asks no broker.
func (s *Source) CheckWriter(ctx context.Context, id int) error {
	w, err := s.writers.Writer(ctx, id)
	if err != nil {
		return err
	}
	if _, err = s.compile(id, w); err != nil && s.def.Table && s.def.Key.Reader != nil {
		if _, e := avro.Compile(w.Schema, s.def.Key.Reader, s.def.Key.Paths, avro.Options{}); e == nil {
			return nil // it is one of keys
		}
	}
	return err
}

func writerName(w *registry.Writer, id int) string {
	if w == nil {
		return fmt.Sprintf("id %d", id)
	}
	return fmt.Sprintf("%s (id %d)", w.Name, id)
}

// compile resolves a writer schema with the source's, by the migration that is
// meant for it if there is one.
func (s *Source) compile(id int, w *registry.Writer) (*program, error) {
	p := &program{}
	opt := avro.Options{AcceptDefault: map[string]bool{}, Supplied: map[string]bool{}}
	for _, path := range s.def.AcceptDefaults {
		opt.AcceptDefault[path] = true
	}
	for _, m := range s.def.Migrations {
		if !m.Matches(int32(id), w.Name, w.Schema.FullName()) {
			continue
		}
		bound, err := m.Bind(w.Schema)
		if err != nil {
			return nil, err
		}
		if p.origin, err = avro.Compile(w.Schema, w.Schema, bound.Paths, avro.Options{}); err != nil {
			return nil, err
		}
		p.width = len(bound.Paths)
		for i, f := range bound.Fields {
			opt.Supplied[f] = true
			p.rules = append(p.rules, rule{slices.Index(s.def.Paths, f), f, bound.Types[i], bound.Rules[i]})
		}
		break
	}
	var err error
	p.decoder, err = avro.Compile(w.Schema, s.def.Reader, s.paths, opt)
	return p, err
}
