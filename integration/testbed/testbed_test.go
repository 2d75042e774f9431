package testbed_test

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
)

// Tests listen on and dial loopback only (CONTRIBUTING).
func TestOutsideAddressesAreRefused(t *testing.T) {
	if err := testbed.RefuseOutside("127.0.0.1:9092", "[::1]:9092"); err != nil {
		t.Error(err)
	}
	for _, a := range []string{"10.0.0.1:9092", "0.0.0.0:9092", "[::]:9092", "kafka.example:9092", "localhost:9092", "localhost", "127.0.0.1", ":9092", ""} {
		if testbed.RefuseOutside("127.0.0.1:1", a) == nil {
			t.Errorf("%q was not refused", a)
		}
	}
}

// A client dials no address outside, even where it is told to: a broker may
// advertise any.
func TestClientsDialLoopbackOnly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := kgo.NewClient(append(testbed.KafkaOptions(), kgo.SeedBrokers("127.0.0.1:1"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dial, ok := c.OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	if !ok {
		t.Fatalf("the dialer is a %T", c.OptValue(kgo.Dialer))
	}
	conn, err := dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := dial(t.Context(), "tcp", "localhost:"+port); err == nil {
		conn.Close()
		t.Error("a name was dialled")
	}
}
