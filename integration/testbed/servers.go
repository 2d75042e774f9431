package testbed

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// RefuseOutside returns an error where an address, host:port, is not an IP
// address of this machine alone. Names are refused: what they mean is not known
// before they are looked up.
func RefuseOutside(addrs ...string) error {
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

// Inside fails the test where an address is not a loopback one.
func Inside(t testing.TB, addrs ...string) {
	t.Helper()
	if len(addrs) == 0 {
		t.Fatal("there is no address")
	}
	if err := RefuseOutside(addrs...); err != nil {
		t.Fatal(err)
	}
}

// Kafka starts an embedded cluster of one broker, unless an option says
// otherwise, and stops it at the end of the test.
func Kafka(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	quiet := kfake.WithLogger(kfake.BasicLogger(nil, kfake.LogLevelNone))
	k, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), quiet}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	Inside(t, k.ListenAddrs()...)
	return k
}

// KafkaOptions are what the clients of an embedded cluster take: they dial
// loopback only, and ask for metadata often, as retries of producing wait for it.
func KafkaOptions() []kgo.Opt {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if err := RefuseOutside(addr); err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	return []kgo.Opt{kgo.Dialer(dial), kgo.MetadataMinAge(50 * time.Millisecond)}
}

// Producer returns a client whose records name their partition; with an id its
// producing is transactional.
func Producer(t testing.TB, k *kfake.Cluster, transactionalID string) *kgo.Client {
	t.Helper()
	opts := append(KafkaOptions(), kgo.SeedBrokers(k.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if transactionalID != "" {
		opts = append(opts, kgo.TransactionalID(transactionalID))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Redis starts an embedded server and stops it at the end of the test. It tells
// its eviction policy as Redis does, unless the test sets a hook of its own (O3).
func Redis(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.NewMiniRedis()
	return started(t, m, m.StartAddr("127.0.0.1:0"))
}

// RedisTLS is Redis that speaks TLS.
func RedisTLS(t testing.TB, c *tls.Config) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.NewMiniRedis()
	return started(t, m, m.StartTLS(c))
}

func started(t testing.TB, m *miniredis.Miniredis, err error) *miniredis.Miniredis {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	Inside(t, m.Addr())
	m.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if strings.EqualFold(cmd, "INFO") {
			c.WriteBulk("# Server\r\nredis_version:7.2.0\r\n# Memory\r\nused_memory:1\r\nmaxmemory_policy:noeviction\r\n")
			return true
		}
		return false
	})
	return m
}
