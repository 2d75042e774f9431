package avro

import (
	"fmt"
	"strings"

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
}

// Name returns the name given to Parse.
func (s *Schema) Name() string { return s.name }

// FullName returns the full name of the top record.
func (s *Schema) FullName() string { return s.top.name }

// FieldType is what a scalar path of a schema yields.
type FieldType struct {
	// Kind of the Values: boolean → Bool; int, long → Int; float, double →
	// Double (NaN and infinities as written); string, enum, uuid → String;
	// bytes, fixed → Bytes; timestamp-*, local-timestamp-*, date → Timestamp
	// (µs; nanos rounded down, a date its midnight in UTC); time-millis,
	// time-micros → Int in their own Unit.
	Kind     schemas.Kind
	Nullable bool   // the field, or a record around it, may be null
	Avro     string // the Avro type, "long"
	Logical  string // the Avro logical type, "" = none
	// Local marks a local-timestamp-*: the Timestamp is a wall clock read as if
	// it were UTC, to be given to schemas.LocalParser.FromWallClock.
	Local bool
	// Unit is "ms" or "µs" (of the day) for time-millis and time-micros, else "".
	Unit string
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
		} else if _, problem := scalar(f.typ); problem == "" {
			*out = append(*out, prefix+f.name)
		}
	}
}

// Lookup returns the type of a path such as "a.b.c" through nested records and
// unions of null and a record. The error is a *PathError.
func (s *Schema) Lookup(path string) (FieldType, error) {
	n, nullable := s.top, false
	rest := path
	for {
		name, tail, more := strings.Cut(rest, ".")
		f := n.field(name)
		if f == nil {
			walked := strings.TrimSuffix(strings.TrimSuffix(path, rest), ".")
			problem := "there is no such field"
			if walked != "" {
				problem = fmt.Sprintf("record `%s` (%s) has no field `%s`", walked, n.name, name)
			}
			return FieldType{}, s.pathError(path, problem, true)
		}
		inner, null := f.typ.deref()
		nullable = nullable || null
		if !more {
			t, problem := scalar(f.typ)
			if problem != "" {
				return FieldType{}, s.pathError(path, problem, inner.kind == kRecord)
			}
			t.Nullable = nullable
			return t, nil
		}
		if inner.kind != kRecord {
			return FieldType{}, s.pathError(path, fmt.Sprintf("`%s` is a field of type %s and has no fields within", strings.TrimSuffix(path, "."+tail), inner), false)
		}
		n, rest = inner, tail
	}
}

// Symbols returns the symbols of an enum's path, nil where it is none. They must
// not be changed.
func (s *Schema) Symbols(path string) []string {
	n := s.top
	for name := range strings.SplitSeq(path, ".") {
		f := n.field(name)
		if f == nil {
			return nil
		}
		n, _ = f.typ.deref()
	}
	return n.symbols
}

func (s *Schema) pathError(path, problem string, near bool) *PathError {
	e := &PathError{Schema: s.name, Path: path, Problem: problem}
	if near {
		e.Nearest = schemas.Similar(path, s.Paths())
	}
	return e
}

// scalar returns what a type yields as a Value, or why it does not.
func scalar(typ *node) (t FieldType, problem string) {
	n, nullable := typ.deref()
	t = FieldType{Nullable: nullable, Avro: kindNames[n.kind], Logical: n.logical}
	switch n.kind {
	case kNull:
		return t, "its type is null: it never holds a value"
	case kRecord:
		return t, "it is a record; name one of its fields"
	case kArray, kMap:
		return t, fmt.Sprintf("it is %s; arrays and maps cannot be used in expressions", n)
	case kUnion:
		return t, fmt.Sprintf("it is %s; only a union of null and one type can be used in expressions", n)
	case kBoolean:
		t.Kind = schemas.Bool
	case kInt, kLong:
		t.Kind = schemas.Int
	case kFloat, kDouble:
		t.Kind = schemas.Double
	case kString, kEnum:
		t.Kind = schemas.String
	case kBytes, kFixed:
		t.Kind = schemas.Bytes
	}
	switch n.logical {
	case "decimal":
		return t, "decimal fields cannot be used in expressions yet; let the producer send a long in the smallest unit, or a string"
	case "time-millis":
		t.Unit = "ms"
	case "time-micros":
		t.Unit = "µs"
	case "date", "timestamp-millis", "timestamp-micros", "timestamp-nanos":
		t.Kind = schemas.Timestamp
	case "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos":
		t.Kind, t.Local = schemas.Timestamp, true
	}
	return t, ""
}
