//go:build real

package servers

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// MissingError says which server is not to be had, and what would change that.
type MissingError struct {
	What string // "Kafka" or "Redis"
	Why  error
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("there is no %s for this test: %v", e.What, e.Why)
}

func (e *MissingError) Unwrap() error { return e.Why }

// Check ends a test that cannot have its servers: it skips it with the reason
// where they are missing, unless TALLYSTICK_REAL=required says that no test may be
// skipped, and fails it for any other error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if _, missing := errors.AsType[*MissingError](err); missing && os.Getenv("TALLYSTICK_REAL") != "required" {
		t.Skip(err)
	}
	t.Fatal(err)
}
