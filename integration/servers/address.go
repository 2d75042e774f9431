//go:build real

package servers

import (
	"fmt"
	"net"
	"strings"
)

// loopback returns an error where an address, host:port, is not an IP address of
// this machine alone. Names are refused: what they mean is not known before they
// are looked up.
func loopback(addrs ...string) error {
	if len(addrs) == 0 {
		return fmt.Errorf("there is no address")
	}
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("%s is not a loopback address: tests talk to this machine only", a)
		}
	}
	return nil
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
