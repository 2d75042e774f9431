//go:build real

package servers

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Tests talk to this machine only, whatever the environment says (CONTRIBUTING).
func TestOutsideAddressesAreRefused(t *testing.T) {
	t.Setenv("TALLYSTICK_TEST_SERVERS", "")
	for _, a := range []string{"10.0.0.1:9092", "0.0.0.0:9092", "[::]:9092", "localhost:9092", "kafka.example:9092", "127.0.0.1", ",", "127.0.0.1:1,10.0.0.1:1"} {
		t.Setenv("TALLYSTICK_TEST_BROKERS", a)
		t.Setenv("TALLYSTICK_TEST_REDIS", a)
		_, err := StartKafka(t.Context(), KafkaOptions{})
		if _, missing := errors.AsType[*MissingError](err); err == nil || missing {
			t.Errorf("Kafka at %s: %v", a, err)
		}
		_, err = StartRedis(t.Context(), false)
		if _, missing := errors.AsType[*MissingError](err); err == nil || missing {
			t.Errorf("Redis at %s: %v", a, err)
		}
		if _, err := dialLoopback(t.Context(), "tcp", a); err == nil {
			t.Errorf("%s was dialled", a)
		}
	}
}

// What is missing is told with what to install.
func TestMissing(t *testing.T) {
	t.Setenv("TALLYSTICK_TEST_BROKERS", "")
	t.Setenv("TALLYSTICK_TEST_REDIS", "")
	t.Setenv("TALLYSTICK_TEST_REDIS_SERVER", "")
	t.Setenv("PATH", t.TempDir())
	for place, says := range map[string]string{"environment": "is not set", "processes": "install", "docker": "Docker engine"} {
		t.Setenv("TALLYSTICK_TEST_SERVERS", place)
		if place == "docker" {
			t.Setenv("KAFKA_IMAGE", "tallystick-test/no-such-image:0")
			t.Setenv("REDIS_IMAGE", "tallystick-test/no-such-image:0")
		}
		_, kafka := StartKafka(t.Context(), KafkaOptions{})
		_, redis := StartRedis(t.Context(), false)
		for _, err := range []error{kafka, redis} {
			if _, missing := errors.AsType[*MissingError](err); !missing || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", place, err)
			}
		}
	}
	t.Setenv("TALLYSTICK_TEST_SERVERS", "elsewhere")
	if _, err := StartRedis(t.Context(), false); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("TALLYSTICK_TEST_SERVERS=elsewhere: %v", err)
	}
}

// Servers that others started are used by their addresses, and not stopped.
func TestEnvironment(t *testing.T) {
	k, err := StartKafka(t.Context(), KafkaOptions{Control: true})
	Check(t, err)
	t.Cleanup(k.Close)
	r := process(t)
	t.Setenv("TALLYSTICK_TEST_SERVERS", "")
	t.Setenv("TALLYSTICK_TEST_BROKERS", strings.Join(k.Brokers, ","))
	t.Setenv("TALLYSTICK_TEST_REDIS", r.Addrs[0])
	k2, err := StartKafka(t.Context(), KafkaOptions{})
	Check(t, err)
	r2, err := StartRedis(t.Context(), false)
	Check(t, err)
	if k2.From != "environment" || r2.From != "environment" || k2.Brokers[0] != k.Brokers[0] || r2.Addrs[0] != r.Addrs[0] {
		t.Errorf("Kafka %+v, Redis %+v", k2, r2)
	}
	k2.Close()
	r2.Close()
	if !k.Node(0).running() || !r.Nodes()[0].running() {
		t.Error("a server of others was stopped")
	}
}

func process(t *testing.T) *Redis {
	t.Helper()
	r, err := StartRedis(t.Context(), true)
	Check(t, err)
	t.Cleanup(r.Close)
	return r
}

// A server that is killed is gone, and comes back empty at its old address.
func TestKillAndStart(t *testing.T) {
	r := process(t)
	n := r.Nodes()[0]
	c := Client(n.Addr)
	defer c.Close()
	ctx := t.Context()
	if err := c.Set(ctx, "a", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	n.Kill()
	if err := c.Ping(ctx).Err(); err == nil || n.running() {
		t.Error("it answers after its death")
	}
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if size, err := c.DBSize(ctx).Result(); err != nil || size != 0 {
		t.Errorf("%d keys after the start: %v", size, err)
	}
}

// transact adds one to a key in a transaction that watches it.
func transact(ctx context.Context, c *redis.Client, between func()) error {
	return c.Watch(ctx, func(tx *redis.Tx) error {
		between()
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "n")
			return nil
		})
		return err
	}, "n")
}

// The proxy loses a transaction before it is done, or its reply after that, and
// counts those that the server refuses.
func TestProxy(t *testing.T) {
	r := process(t)
	p, err := NewProxy(r.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, direct := Client(p.Addr), Client(r.Addrs[0])
	defer c.Close()
	defer direct.Close()
	ctx := t.Context()
	nothing := func() {}
	step := func(name string, at func(Point, int64) bool, between func(), fails bool, want int) {
		t.Helper()
		p.At(at)
		if err := transact(ctx, c, between); (err != nil) != fails {
			t.Errorf("%s: %v", name, err)
		}
		if n, _ := direct.Get(ctx, "n").Int(); n != want {
			t.Errorf("%s: n is %d, want %d", name, n, want)
		}
	}
	step("through", nil, nothing, false, 1)
	step("lost before", func(at Point, n int64) bool { return at == Sent && n == 1 }, nothing, true, 1)
	step("reply lost", func(at Point, n int64) bool { return at == Done && n == 1 }, nothing, true, 2)
	step("not this one", func(_ Point, n int64) bool { return n == 2 }, nothing, false, 3)
	step("refused", nil, func() { direct.Set(ctx, "n", 10, 0) }, true, 10)
	if p.Execs.Load() != 4 || p.Refused.Load() != 1 {
		t.Errorf("%d EXECs, %d refused", p.Execs.Load(), p.Refused.Load())
	}
}

// Values of both versions of the protocol are taken whole.
func TestReadValue(t *testing.T) {
	for _, v := range []string{"+OK\r\n", "-ERR x\r\n", ":1\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "$-1\r\n", "$0\r\n\r\n", "$3\r\na\r\n\r\n", "*-1\r\n", "*0\r\n",
		"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "%1\r\n+a\r\n:1\r\n", "~1\r\n:1\r\n", ">2\r\n+m\r\n:1\r\n", "|1\r\n+a\r\n:1\r\n+value\r\n", "=5\r\ntxt:a\r\n", "!3\r\nERR\r\n", "(12345\r\n",
		"$70000\r\n" + strings.Repeat("x", 70000) + "\r\n"} {
		r := bufio.NewReaderSize(strings.NewReader(v+"rest"), 16)
		got, err := readValue(r, nil)
		if err != nil || string(got) != v {
			t.Errorf("%.40q: %.40q, %v", v, got, err)
		}
	}
	for _, v := range []string{"GET a\r\n", "*x\r\n", "?1\r\n", "$5\r\nab", "+OK"} {
		if got, err := readValue(bufio.NewReaderSize(strings.NewReader(v), 16), nil); err == nil {
			t.Errorf("%q was taken for %q", v, got)
		}
	}
}
