package log

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Transient tells whether what failed may succeed when it is tried again: a
// connection broke, or a broker says so.
func Transient(err error) bool {
	var n net.Error
	network := errors.As(err, &n)
	if _, bare := n.(syscall.Errno); bare { // of a file: a network's comes in an error of its own
		network = false
	}
	return network || errors.Is(err, io.ErrUnexpectedEOF) || kerr.IsRetriable(err)
}
