package online

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/store/dial"
)

// Options say how to reach Redis. Zero values mean the defaults.
type Options struct {
	// Addrs are host:port. Several are nodes of a Cluster or, with Master,
	// Sentinels.
	Addrs  []string
	Master string // the name that Sentinels know the master by
	// Cluster says that a single address is a Cluster's.
	Cluster            bool
	Username, Password string
	// SentinelUsername and SentinelPassword are for the Sentinels, whose users are
	// not the server's.
	SentinelUsername, SentinelPassword string
	// TLS is spoken where it is not nil, to Sentinels too. The server's name is
	// that of its address.
	TLS *tls.Config
	DB  int // not in a Cluster
	// Timeout bounds one reply: 5 s.
	Timeout time.Duration
	// AllowUnknownPolicy accepts a server that does not tell its
	// maxmemory-policy, such as one embedded in a test or a demo.
	AllowUnknownPolicy bool
}

// Validate reports every fault of the options at once.
func (o Options) Validate() error {
	var errs []error
	if len(o.Addrs) == 0 {
		errs = append(errs, errors.New("no Redis address given; set --redis host:port"))
	}
	for _, a := range o.Addrs {
		if !dial.IsHostPort(a) {
			errs = append(errs, fmt.Errorf("redis address %q is not host:port", a))
		}
	}
	if o.Master != "" && o.Cluster {
		errs = append(errs, errors.New("a Redis Cluster has no Sentinel master"))
	}
	if o.Master == "" && (o.SentinelUsername != "" || o.SentinelPassword != "") {
		errs = append(errs, errors.New("a Sentinel's user or password is given, but no Sentinel master"))
	}
	if o.DB != 0 && (o.Cluster || len(o.Addrs) > 1 && o.Master == "") {
		errs = append(errs, errors.New("a Redis Cluster has database 0 only"))
	}
	if o.DB < 0 || o.Timeout < 0 {
		errs = append(errs, errors.New("the Redis database or timeout is negative"))
	}
	return errors.Join(errs...)
}

// Client speaks to one Redis. Its methods may be called concurrently.
type Client struct {
	rc redis.UniversalClient
}

// Open connects to Redis and refuses one that may evict keys (O3): a
// *PolicyError.
func Open(ctx context.Context, o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	c := &Client{rc: redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: o.Addrs, MasterName: o.Master, IsClusterMode: o.Cluster, DB: o.DB,
		Username: o.Username, Password: o.Password, TLSConfig: o.TLS,
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, ContextTimeoutEnabled: true,
		DisableIdentity: true,
		// Callers try again by themselves; a second attempt makes up for a pooled
		// connection that has gone stale.
		MaxRetries: 1, DialerRetries: 1,
	})}
	if err := c.check(ctx, o.AllowUnknownPolicy); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close drops all connections.
func (c *Client) Close() { _ = c.rc.Close() }

// check asks every master for its maxmemory-policy.
func (c *Client) check(ctx context.Context, allowUnknown bool) error {
	var mu sync.Mutex // ForEachMaster calls concurrently
	var errs []error
	one := func(ctx context.Context, rc *redis.Client) error {
		err := checkPolicy(ctx, rc, allowUnknown)
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		return nil
	}
	if err := c.eachMaster(ctx, one); err != nil {
		return fmt.Errorf("cannot reach the Redis Cluster: %w; check --redis", err)
	}
	return errors.Join(errs...)
}

func checkPolicy(ctx context.Context, rc *redis.Client, allowUnknown bool) error {
	addr := rc.Options().Addr
	if err := rc.Ping(ctx).Err(); err != nil {
		return &UnreachableError{Addr: addr, TLS: rc.Options().TLSConfig != nil, Err: err}
	}
	policy := ""
	if info, err := rc.Info(ctx, "memory").Result(); err == nil {
		for line := range strings.Lines(info) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
				policy = v
			}
		}
	}
	if policy == "" {
		if m, err := rc.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil {
			policy = m["maxmemory-policy"]
		}
	}
	if policy == "noeviction" || policy == "" && allowUnknown {
		return nil
	}
	return &PolicyError{Addr: addr, Policy: policy}
}

// node returns the client of the one server that holds a key.
func (c *Client) node(ctx context.Context, key string) (*redis.Client, error) {
	if cc, ok := c.rc.(*redis.ClusterClient); ok {
		rc, err := cc.MasterForKey(ctx, key)
		if err != nil {
			return nil, unavailable("find the node of a shard", err)
		}
		return rc, nil
	}
	rc, ok := c.rc.(*redis.Client)
	if !ok {
		return nil, fmt.Errorf("online: a Redis client of type %T is not supported", c.rc)
	}
	return rc, nil
}

// failed is unavailable for what a node did not do. A Cluster's client follows no
// redirection where it asks a node directly, and would ask the same node, or one
// that has died, until it reads, once a minute, which node serves what: it is told
// to do so now.
func (c *Client) failed(ctx context.Context, what string, err error) error {
	c.relearn(ctx)
	return unavailable(what, err)
}

// relearn has a Cluster's client read, in the background, which node serves what.
func (c *Client) relearn(ctx context.Context) {
	if cc, ok := c.rc.(*redis.ClusterClient); ok {
		cc.ReloadState(ctx)
	}
}

func liveKey(view string) string { return "{" + view + "}:live" }

// Live returns the fingerprint that readers of a view use, "" for none (O5).
func (c *Client) Live(ctx context.Context, view string) (string, error) {
	fp, err := c.rc.Get(ctx, liveKey(view)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", unavailable("read the live fingerprint", err)
	}
	return fp, nil
}

// SetLive makes readers of a view use a fingerprint. With first it does so only
// where they use none yet, and tells whether it did. "" makes them use none.
func (c *Client) SetLive(ctx context.Context, view, fingerprint string, first bool) (bool, error) {
	if fingerprint == "" {
		if err := c.rc.Del(ctx, liveKey(view)).Err(); err != nil {
			return false, unavailable("clear the live fingerprint", err)
		}
		return true, nil
	}
	args := redis.SetArgs{}
	if first {
		args.Mode = "NX"
	}
	err := c.rc.SetArgs(ctx, liveKey(view), fingerprint, args).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("set the live fingerprint", err)
	}
	return true, nil
}
