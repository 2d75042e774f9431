// Package dial says in plain words why a server cannot be reached.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Reason leaves out the ways by which a network error came.
func Reason(err error) error {
	var (
		errno syscall.Errno
		dns   *net.DNSError
	)
	switch {
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("there is no host %s", dns.Name)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("no answer in time")
	}
	return err
}
