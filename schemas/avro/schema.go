package avro

import (
	"fmt"

	"github.com/tallystick/tallystick/schemas"
)

// maxPaths bounds what Paths returns: named types that refer to one another can
// spell out more paths than any text has bytes.
const maxPaths = 10_000

// Schema is a parsed Avro schema whose top is a record. It does not change and
// may be used by several goroutines at once.
type Schema struct {
	name string
	top  *node
	bare bool // see Types.ParseAny
}

// BareField is the field of a schema whose top is no record.
const BareField = "value"

// Bare tells whether the top of the schema's text is no record: the schema is
// then a record of that type as its only field, BareField, which Avro encodes
// alike.
func (s *Schema) Bare() bool { return s.bare }

// Name returns the name given to Parse.
func (s *Schema) Name() string { return s.name }

// FullName returns the full name of the top record.
func (s *Schema) FullName() string { return s.top.name }

// FieldType is what a path of a schema yields.
type FieldType struct {
	// Kind of the Values: boolean → Bool; int, long → Int; float, double →
	// Double (NaN and infinities as written); string, enum, uuid → String;
	// bytes, fixed → Bytes; timestamp-*, local-timestamp-*, date → Timestamp
	// (µs; nanos rounded down, a date its midnight in UTC); time-millis,
	// time-micros → Int in their own Unit; decimal → Bytes. A union of several
	// types has the one kind that holds them all exactly, see merged.
	Kind     schemas.Kind
	Nullable bool   // the field, or anything around it, may be null or missing
	Avro     string // the Avro type, "long"
	Logical  string // the Avro logical type, "" = none
	// Local marks a local-timestamp-*: the Timestamp is a wall clock read as if
	// it were UTC, to be given to schemas.LocalParser.FromWallClock.
	Local bool
	// Unit is "ms" or "µs" (of the day) for time-millis and time-micros, else "".
	Unit string
	// Decimal marks Bytes that are a decimal's digits: an integer in two's
	// complement, big-endian, in units of 10^-Scale.
	Decimal bool
	Scale   int
}

// Fields returns the names of the top record's fields, in order.
func (s *Schema) Fields() []string {
	names := make([]string, len(s.top.fields))
	for i, f := range s.top.fields {
		names[i] = f.name
	}
	return names
}

// Paths returns the paths of all usable scalars, in schema order, the first
// 10,000 of them. A record within itself is not followed.
func (s *Schema) Paths() []string {
	var out []string
	appendPaths(&out, s.top, "", map[*node]bool{s.top: true}, new(int))
	return out
}

// appendPaths counts its visits in work: records without scalars cost time too.
func appendPaths(out *[]string, rec *node, prefix string, open map[*node]bool, work *int) {
	for _, f := range rec.fields {
		if *work++; *work > 10*maxPaths || len(*out) == maxPaths {
			return
		}
		inner, _ := f.typ.deref()
		if inner.kind == kRecord {
			if !open[inner] {
				open[inner] = true
				appendPaths(out, inner, prefix+f.name+".", open, work)
				delete(open, inner)
			}
		} else if _, problem := scalar(f.typ, f.name); problem == "" {
			*out = append(*out, prefix+f.name)
		}
	}
}

// Lookup returns the type of what a path reads, see path.go: "a.b.c" through
// nested records, and more. The error is a *PathError.
func (s *Schema) Lookup(path string) (FieldType, error) {
	t, problem := parsePath(path)
	if problem != "" {
		return FieldType{}, s.pathError(path, problem, false)
	}
	typ, nullable, err := s.walk(path, t)
	if err != nil {
		return FieldType{}, err
	}
	n, null := typ.deref()
	out := FieldType{Nullable: nullable || null}
	switch t.reads {
	case readPresent:
		out.Kind, out.Avro, out.Nullable = schemas.Bool, kindNames[kBoolean], true
		return out, nil
	case readSize:
		out.Kind, out.Avro = schemas.Int, kindNames[kLong]
		if n.kind != kArray && n.kind != kMap {
			problem = fmt.Sprintf("`%s` is %s; size() takes an array or a map", t.inner, n)
		}
	case readIn:
		out.Kind, out.Avro = schemas.Bool, kindNames[kBoolean]
		_, problem = contained(n, t)
	default:
		out, problem = scalar(typ, t.inner)
		out.Nullable = out.Nullable || nullable
	}
	if problem != "" {
		return FieldType{}, s.pathError(path, problem, t.reads == readValue && n.kind == kRecord)
	}
	return out, nil
}

// Symbols returns the symbols of the enum that a path reads, nil where it is
// none. They must not be changed.
func (s *Schema) Symbols(path string) []string {
	t, problem := parsePath(path)
	if problem != "" || t.reads != readValue {
		return nil
	}
	typ, _, err := s.walk(path, t)
	if err != nil {
		return nil
	}
	n, _ := typ.deref()
	return n.symbols
}

func (s *Schema) pathError(path, problem string, near bool) *PathError {
	e := &PathError{Schema: s.name, Path: path, Problem: problem}
	if near {
		e.Nearest = schemas.Similar(path, s.Paths())
	}
	return e
}
