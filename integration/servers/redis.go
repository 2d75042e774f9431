//go:build real

package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Redis is one server, one with Sentinels, or a Cluster.
type Redis struct {
	From    string   // where it comes from: environment, docker or processes
	Addrs   []string // as --redis takes them: a server, the Sentinels or the Cluster's nodes
	Master  string   // the name that the Sentinels know it by
	Cluster bool
	nodes   []*RedisNode // without the Sentinels
	close   []func()
}

// RedisNode is one server.
type RedisNode struct {
	*Process
	Addr string
}

// Flags are those by which the program reaches it.
func (r *Redis) Flags() []string {
	flags := []string{"--redis", strings.Join(r.Addrs, ",")}
	if r.Master != "" {
		flags = append(flags, "--redis-master", r.Master)
	}
	if r.Cluster && len(r.Addrs) == 1 {
		flags = append(flags, "--redis-cluster")
	}
	return flags
}

// Close ends what was started.
func (r *Redis) Close() {
	for _, f := range r.close {
		f()
	}
}

// Nodes returns the servers of processes, those that began as masters first.
func (r *Redis) Nodes() []*RedisNode { return r.nodes }

// Client returns a client of one server. A Cluster's redirections are told, not
// followed.
func Client(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, Dialer: dialLoopback, MaxRetries: -1, DisableIdentity: true})
}

// Start starts the server, again where it has ended, and waits until it answers.
// It begins empty.
func (n *RedisNode) Start(ctx context.Context) error {
	if err := n.start(); err != nil {
		return err
	}
	c := Client(n.Addr)
	defer c.Close()
	return n.ready(ctx, func(ctx context.Context) error { return c.Ping(ctx).Err() })
}

// StartRedis returns one server, which may hold keys of others where it comes from
// the environment. control: the test kills, pauses, starts or configures it.
func StartRedis(ctx context.Context, control bool) (*Redis, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var r *Redis
	err := choose("Redis", control, map[string]func() error{
		"environment": func() (err error) { r, err = redisFromEnvironment(); return err },
		"docker":      func() (err error) { r, err = redisInDocker(ctx); return err },
		"processes":   func() (err error) { r, err = redisProcess(ctx); return err },
	})
	if err != nil {
		return nil, err
	}
	if err := loopback(r.Addrs...); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func redisFromEnvironment() (*Redis, error) {
	text := os.Getenv("TALLYSTICK_TEST_REDIS")
	if text == "" {
		return nil, &MissingError{"Redis", errors.New("TALLYSTICK_TEST_REDIS is not set")}
	}
	addrs, err := split(text)
	return &Redis{From: "environment", Addrs: addrs}, err
}

func redisProcess(ctx context.Context) (*Redis, error) {
	r, err := newRedis()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err == nil {
		_, err = r.add(ctx, ports[0])
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	r.Addrs = []string{r.nodes[0].Addr}
	return r.Redis, nil
}

// builder is a Redis being built, with the directory of its files.
type builder struct {
	*Redis
	dir    string
	binary string
}

func newRedis() (*builder, error) {
	binary, err := exec.LookPath(cmp.Or(os.Getenv("TALLYSTICK_TEST_REDIS_SERVER"), "redis-server"))
	if err != nil {
		return nil, &MissingError{"Redis", fmt.Errorf("%w: install redis-server, or name one in TALLYSTICK_TEST_REDIS_SERVER", err)}
	}
	dir, err := os.MkdirTemp("", "tallystick-redis-")
	if err != nil {
		return nil, err
	}
	return &builder{&Redis{From: "processes", close: []func(){func() { os.RemoveAll(dir) }}}, dir, binary}, nil
}

// add starts a server on a port, with further directives as arguments.
func (b *builder) add(ctx context.Context, port int, directives ...string) (*RedisNode, error) {
	home := filepath.Join(b.dir, strconv.Itoa(port))
	if err := os.Mkdir(home, 0o755); err != nil {
		return nil, err
	}
	argv := append([]string{b.binary, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", home, "--save", "", "--appendonly", "no",
		"--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0"}, directives...)
	n := &RedisNode{newProcess(b.dir, "redis"+strconv.Itoa(port), argv...), local(port)}
	b.nodes, b.close = append(b.nodes, n), append([]func(){n.Kill}, b.close...)
	return n, n.Start(ctx)
}
