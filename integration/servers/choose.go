//go:build real

package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// choose gets a server from the first place that has it, or from the one that
// TALLYSTICK_TEST_SERVERS names. Servers under control of the test are processes.
func choose(what string, control bool, from map[string]func() error) error {
	if control {
		return from["processes"]()
	}
	places := []string{"environment", "docker", "processes"}
	if only := os.Getenv("TALLYSTICK_TEST_SERVERS"); only != "" {
		if from[only] == nil {
			return fmt.Errorf("TALLYSTICK_TEST_SERVERS is %q: name environment, docker or processes", only)
		}
		places = []string{only}
	}
	var reasons []error
	for _, place := range places {
		err := from[place]()
		missing, ok := errors.AsType[*MissingError](err)
		if !ok {
			return err // it is there, or it should be and is broken
		}
		reasons = append(reasons, missing.Why)
	}
	return &MissingError{what, errors.Join(reasons...)}
}

// dialLoopback dials loopback alone, whatever address a server advertises.
func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := loopback(addr); err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}
