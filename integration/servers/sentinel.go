//go:build real

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// sentinelMaster is the name that Sentinels know the master by.
const sentinelMaster = "tally"

// StartSentinel returns a master, its replica and three Sentinels, which fail over
// where the master is silent for two seconds.
func StartSentinel(ctx context.Context) (*Redis, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	b, err := newRedis()
	if err != nil {
		return nil, err
	}
	b.Master = sentinelMaster
	if err := b.sentinels(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b.Redis, loopback(b.Addrs...)
}

func (b *builder) sentinels(ctx context.Context) error {
	ports, err := freePorts(5)
	if err != nil {
		return err
	}
	if _, err := b.add(ctx, ports[0]); err != nil {
		return err
	}
	replica, err := b.add(ctx, ports[1], "--replicaof", "127.0.0.1", strconv.Itoa(ports[0]))
	if err != nil {
		return err
	}
	if err := linked(ctx, replica); err != nil {
		return err
	}
	for _, port := range ports[2:] {
		if err := b.sentinel(ctx, port, ports[0]); err != nil {
			return err
		}
	}
	for _, addr := range b.Addrs {
		if err := agreed(ctx, addr); err != nil {
			return err
		}
	}
	return nil
}

// linked waits until a replica follows its master.
func linked(ctx context.Context, n *RedisNode) error {
	c := Client(n.Addr)
	defer c.Close()
	return n.ready(ctx, func(ctx context.Context) error {
		text, err := c.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(text, "master_link_status:up") {
			err = errors.New("it does not follow its master")
		}
		return err
	})
}

// sentinel starts one Sentinel: the server in another mode, with a file that it
// writes to.
func (b *builder) sentinel(ctx context.Context, port, master int) error {
	home := filepath.Join(b.dir, strconv.Itoa(port))
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	file := filepath.Join(home, "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %[3]s 127.0.0.1 %[4]d 2\nsentinel down-after-milliseconds %[3]s 2000\n"+
		"sentinel failover-timeout %[3]s 10000\nsentinel parallel-syncs %[3]s 1\n", port, home, sentinelMaster, master)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	n := &RedisNode{newProcess(b.dir, "sentinel"+strconv.Itoa(port), b.binary, file, "--sentinel"), local(port)}
	b.Addrs, b.close = append(b.Addrs, n.Addr), append([]func(){n.Kill}, b.close...)
	return n.Start(ctx)
}

// agreed waits until a Sentinel knows of the replica and of enough others.
func agreed(ctx context.Context, addr string) error {
	c := redis.NewSentinelClient(&redis.Options{Addr: addr, Dialer: dialLoopback})
	defer c.Close()
	return wait(ctx, func() error {
		if text, err := c.CkQuorum(ctx, sentinelMaster).Result(); err != nil || !strings.HasPrefix(text, "OK 3 usable") {
			return fmt.Errorf("sentinel %s: %s: %w", addr, text, errors.Join(errors.New("no quorum"), err))
		}
		rs, err := c.Replicas(ctx, sentinelMaster).Result()
		if err == nil && len(rs) != 1 {
			err = fmt.Errorf("sentinel %s knows %d replicas", addr, len(rs))
		}
		return err
	})
}
