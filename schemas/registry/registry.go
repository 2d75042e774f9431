// Package registry resolves schema ids to the Avro schemas that records were
// written with: from files, or from a Schema Registry over HTTP (DESIGN S1).
package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/tallystick/tallystick/schemas/avro"
)

// Writer is a schema that records were written with.
type Writer struct {
	ID int
	// Name is what rules and messages call it: the file's base name without
	// .avsc; from a Schema Registry "subject@version", the first in order where
	// there are several, the record's full name where there is none.
	Name   string
	Schema *avro.Schema
}

// Resolver finds writer schemas. Its errors are of three sorts: definitive ones,
// errors.Is ErrUnknownID or ErrUnusable, which a retry does not change; ErrDenied,
// which an operator has to change; and all others, which the caller retries. It may be used by several goroutines at once.
type Resolver interface {
	Writer(ctx context.Context, id int) (*Writer, error)
}

// The definitive errors: there is no schema of that id; there is one, but
// records written with it cannot be read (not Avro, a faulty text).
var (
	ErrUnknownID = errors.New("unknown schema id")
	ErrUnusable  = errors.New("unusable schema id")
)

// ErrDenied says that a registry does not let this user in.
var ErrDenied = errors.New("access denied")

// IDError is a definitive error about one schema id.
type IDError struct {
	ID    int
	Where string // directory or URL asked, empty where single files were named
	Kind  error  // ErrUnknownID or ErrUnusable
	Cause error  // nil = the Kind says it all
	Hint  string
}

func (e *IDError) Error() string {
	msg := fmt.Sprintf("%v %d", e.Kind, e.ID)
	if e.Where != "" {
		msg += " in " + e.Where
	}
	if e.Cause != nil {
		msg += ": " + e.Cause.Error()
	}
	if e.Hint != "" {
		msg += "; " + e.Hint
	}
	return msg
}

// Unwrap gives the Kind and the Cause.
func (e *IDError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}
