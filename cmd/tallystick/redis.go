package main

import (
	"context"
	"os"

	goredis "github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/online"
)

// redisFlags say how to reach the online store. The password comes from the
// environment alone, so that no list of processes shows it.
type redisFlags struct {
	addrs    string
	master   string
	cluster  bool
	username string
}

func (r *redisFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.addrs, "redis", os.Getenv("TALLYSTICK_REDIS"), "Redis address, `HOST:PORT`; several are a Cluster's nodes or Sentinels ($TALLYSTICK_REDIS; password in $TALLYSTICK_REDIS_PASSWORD)")
	f.StringVar(&r.master, "redis-master", "", "`NAME` of the master, where --redis are Sentinels")
	f.BoolVar(&r.cluster, "redis-cluster", false, "the single --redis address is a Cluster's")
	f.StringVar(&r.username, "redis-username", "", "`NAME` of the ACL user")
}

// quiet keeps go-redis from writing to standard error by itself: what fails is
// told once, by the error that is returned.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(quiet{}) }

// options says how the online store is reached.
func (r *redisFlags) options() (online.Options, error) {
	o := online.Options{Master: r.master, Cluster: r.cluster, Username: r.username, Password: os.Getenv("TALLYSTICK_REDIS_PASSWORD")}
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
	if err := o.Validate(); err != nil {
		return o, usagef("--redis: %w", err)
	}
	return o, nil
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
