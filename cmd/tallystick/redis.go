package main

import (
	"context"
	"os"
	"strings"

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
	f.StringVar(&r.addrs, "redis", os.Getenv("TALLYSTICK_REDIS"), "Redis address, host:port; several are a Cluster's nodes or Sentinels ($TALLYSTICK_REDIS; password in $TALLYSTICK_REDIS_PASSWORD)")
	f.StringVar(&r.master, "redis-master", "", "name of the master, where --redis are Sentinels")
	f.BoolVar(&r.cluster, "redis-cluster", false, "the single --redis address is a Cluster's")
	f.StringVar(&r.username, "redis-username", "", "ACL user")
}

// quiet keeps go-redis from writing to standard error by itself: what fails is
// told once, by the error that is returned.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(quiet{}) }

// open connects to the online store.
func (r *redisFlags) open(ctx context.Context) (*online.Client, error) {
	if r.addrs == "" {
		return nil, usagef("no Redis address: set --redis or TALLYSTICK_REDIS to host:port")
	}
	o := online.Options{Addrs: strings.Split(r.addrs, ","), Master: r.master, Cluster: r.cluster, Username: r.username,
		Password: os.Getenv("TALLYSTICK_REDIS_PASSWORD")}
	if err := o.Validate(); err != nil {
		return nil, usagef("--redis: %w", err)
	}
	return online.Open(ctx, o)
}
