package main

import (
	"context"

	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/definition"
)

// prepare refuses what the stream of a view cannot go on from, and creates its
// quarantine last: nothing is written before all is known to be sound. member is
// nil where no group is to be joined.
func prepare(ctx context.Context, v *definition.View, client *log.Client, redis *online.Client, worker *stream.Worker, member *wire.Membership, quarantine string) error {
	store := redis.Store(v)
	for _, check := range []func(context.Context) error{
		func(ctx context.Context) error { return client.CheckRead(ctx, v.Source.Topic) },
		worker.Check,
		store.CheckRights,
		func(ctx context.Context) error {
			parts, err := store.Partitions(ctx)
			if err != nil || len(parts) > 0 {
				return err
			}
			return store.CheckPrefix(ctx)
		},
		func(ctx context.Context) error {
			if member == nil {
				return nil
			}
			return member.Check(ctx)
		},
	} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return client.EnsureTopic(ctx, quarantine, 1, nil)
}
