package main

import (
	"context"
	"errors"

	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// prepare refuses what the stream of a view cannot go on from, and creates its
// quarantine last: nothing is written before all is known to be sound. A server
// that is away now is waited for later.
func prepare(ctx context.Context, v *definition.View, client *log.Client, redis *online.Client, worker *stream.Worker, quarantine string) error {
	store := redis.Store(v)
	for _, check := range []func(context.Context) error{
		func(ctx context.Context) error { return client.CheckRead(ctx, v.Source.Topic) },
		worker.Check,
		func(ctx context.Context) error {
			parts, err := store.Partitions(ctx)
			if err != nil || len(parts) > 0 {
				return err
			}
			return store.CheckPrefix(ctx)
		},
	} {
		if err := check(ctx); err != nil && !errors.Is(err, marker.ErrUnavailable) {
			return err
		}
	}
	return client.EnsureTopic(ctx, quarantine, 1, nil)
}
