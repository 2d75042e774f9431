package main

import (
	"context"
	"os"

	goredis "github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/online"
)

// redisFlags say how to reach the online store. Passwords come from files or the
// environment, so that no list of processes shows them.
type redisFlags struct {
	addrs    string
	master   string
	cluster  bool
	username string
	password secretFile
	sentinel secretFile // of the Sentinels
	tls      tlsFlags
}

func (r *redisFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.addrs, "redis", os.Getenv("TALLYSTICK_REDIS"), "Redis address, `HOST:PORT`; several are a Cluster's nodes or Sentinels ($TALLYSTICK_REDIS)")
	f.StringVar(&r.master, "redis-master", "", "`NAME` of the master, where --redis are Sentinels")
	f.BoolVar(&r.cluster, "redis-cluster", false, "the single --redis address is a Cluster's")
	f.StringVar(&r.username, "redis-username", os.Getenv("TALLYSTICK_REDIS_USERNAME"), "`NAME` of the ACL user ($TALLYSTICK_REDIS_USERNAME)")
	f.StringVar(&r.password.path, "redis-password-file", "", "`FILE` that holds its password, in the place of $TALLYSTICK_REDIS_PASSWORD")
	f.StringVar(&r.sentinel.path, "redis-sentinel-password-file", "", "`FILE` that holds the Sentinels' password, in the place of $TALLYSTICK_SENTINEL_PASSWORD")
	r.tls.add(cmd, "redis", "Redis")
}

// quiet keeps go-redis from writing to standard error by itself: what fails is
// told once, by the error that is returned.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(quiet{}) }

// options says how the online store is reached.
func (r *redisFlags) options() (online.Options, error) {
	o := online.Options{Master: r.master, Cluster: r.cluster, Username: r.username}
	switch {
	case r.addrs == "":
		return o, usagef("--redis: no Redis address: set it, or TALLYSTICK_REDIS, to host:port")
	case r.master != "" && r.cluster:
		return o, usagef("--redis-master: a Cluster has no Sentinels: leave out it or --redis-cluster")
	}
	var err error
	if o.Addrs, err = addresses("--redis", r.addrs); err != nil {
		return o, err
	}
	if err := r.secure(&o); err != nil {
		return o, err
	}
	if err := o.Validate(); err != nil {
		return o, usagef("--redis: %w", err)
	}
	return o, nil
}

// secure adds passwords and TLS.
func (r *redisFlags) secure(o *online.Options) (err error) {
	if o.Password, err = r.password.or("TALLYSTICK_REDIS_PASSWORD", "--redis-password-file"); err != nil {
		return err
	}
	if o.Username != "" && o.Password == "" {
		return usagef("--redis-username: it needs a password: set TALLYSTICK_REDIS_PASSWORD, or name a file with --redis-password-file")
	}
	if r.master != "" {
		o.SentinelPassword, err = r.sentinel.or("TALLYSTICK_SENTINEL_PASSWORD", "--redis-sentinel-password-file")
	} else if r.sentinel.path != "" {
		err = usagef("--redis-sentinel-password-file: it goes with --redis-master: add that, or leave this out")
	}
	if err != nil {
		return err
	}
	o.TLS, err = r.tls.config()
	return err
}

// check refuses addresses that are none, before anything is connected.
func (r *redisFlags) check() error {
	_, err := r.options()
	return err
}

// open connects to the online store.
func (r *redisFlags) open(ctx context.Context) (*online.Client, error) {
	o, err := r.options()
	if err != nil {
		return nil, err
	}
	return online.Open(ctx, o)
}
