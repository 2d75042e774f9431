// Package dial tells what an address of a server is, and says in plain words why
// a server cannot be reached.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// IsHostPort tells whether an address is host:port, the port a number.
func IsHostPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// Reason leaves out the ways by which a network error came.
func Reason(err error) error {
	var (
		errno syscall.Errno
		dns   *net.DNSError
	)
	if reason, is := tlsReason(err); is {
		return reason
	}
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
