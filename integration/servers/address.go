//go:build real

package servers

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/tallystick/tallystick/integration/testbed"
)

// loopback returns an error where an address is not of this machine alone.
func loopback(addrs ...string) error {
	if len(addrs) == 0 {
		return errors.New("there is no address")
	}
	return testbed.RefuseOutside(addrs...)
}

// split reads addresses with commas between them.
func split(text string) ([]string, error) {
	list := strings.Split(text, ",")
	return list, loopback(list...)
}

// freePorts returns n ports that nobody listens on. All are held until all are
// known, so that they differ.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
