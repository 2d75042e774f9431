package avro

import (
	"fmt"
	"strings"
)

// ParseError says why a text is not a usable Avro schema.
type ParseError struct {
	Schema  string // the name given to Parse
	At      string // where in the JSON, "$" is the top
	Problem string
	Hint    string // what to do
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("avro schema %s, at %s: %s%s", e.Schema, e.At, e.Problem, hinted(e.Hint))
}

// PathError says why a path names no usable scalar of a schema.
type PathError struct {
	Schema  string
	Path    string
	Problem string
	Nearest []string // similar paths that exist, best first
}

func (e *PathError) Error() string {
	msg := fmt.Sprintf("`%s` in avro schema %s: %s", e.Path, e.Schema, e.Problem)
	if len(e.Nearest) > 0 {
		msg += ": did you mean `" + strings.Join(e.Nearest, "` or `") + "`?"
	}
	return msg
}

// Mismatch is one reader path that a writer schema cannot supply.
type Mismatch struct {
	Path    string // reader path; "" = the record itself
	Writer  string // the writer's type, "absent" when it has none
	Reader  string
	Problem string
	Hint    string
}

func (m Mismatch) String() string {
	where := "the record"
	if m.Path != "" {
		where = "`" + m.Path + "`"
	}
	return fmt.Sprintf("%s: %s (writer: %s, reader: %s)%s", where, m.Problem, m.Writer, m.Reader, hinted(m.Hint))
}

// ResolutionError lists everything that keeps records of a writer schema from
// being read with a reader schema (S2). It concerns the schema, not a record:
// retrying does not help.
type ResolutionError struct {
	Writer, Reader string // the names given to Parse
	Mismatches     []Mismatch
}

func (e *ResolutionError) Error() string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "records written with avro schema %s cannot be read with %s:", e.Writer, e.Reader)
	for _, m := range e.Mismatches {
		sb.WriteString("\n  ")
		sb.WriteString(m.String())
	}
	return sb.String()
}

// DecodeError says why a body is not a valid record of its writer schema.
type DecodeError struct {
	Offset int    // byte of the body at which it was noticed
	Field  string // writer field, "" = the record itself
	Reason string
}

func (e *DecodeError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("avro body, byte %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("avro body, byte %d, field %s: %s", e.Offset, e.Field, e.Reason)
}

// FrameError says why a record's value is not in the Confluent wire format.
type FrameError struct {
	Len    int // bytes in the value
	Reason string
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("confluent wire format, value of %d bytes: %s", e.Len, e.Reason)
}

func hinted(hint string) string {
	if hint == "" {
		return ""
	}
	return "; " + hint
}
