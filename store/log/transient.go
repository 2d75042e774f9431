package log

import (
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Transient tells whether what failed may succeed when it is tried again: a
// connection broke, or a broker says so.
func Transient(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.ErrUnexpectedEOF) || kerr.IsRetriable(err)
}
