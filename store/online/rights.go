package online

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

// CheckRights refuses a user who may not do all that writing a view takes, before
// anything is written. It has each command queued in a transaction that never
// runs: a server looks at rights when it queues.
func (s *Store) CheckRights(ctx context.Context) error {
	asked := map[*redis.Client]bool{}
	for shard := range s.shards {
		rc, err := s.c.node(ctx, s.markKey(shard, 0))
		if err != nil {
			return err
		}
		if asked[rc] {
			continue
		}
		asked[rc] = true
		if err := s.checkRights(ctx, rc, shard); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkRights(ctx context.Context, rc *redis.Client, shard int) error {
	o := *rc.Options()
	o.PoolSize, o.MinIdleConns = 1, 0
	own := redis.NewClient(&o)
	defer own.Close() // the transaction ends with its connection
	conn := own.Conn()
	defer conn.Close()
	const what = "prepare to write the view"
	mark, served, open, parts := s.markKey(shard, 0), s.servedKey(shard, ""), s.openKey(shard, ""), s.partsKey(shard)
	for _, c := range [][]any{{"watch", mark}, {"unwatch"}, {"multi"}} {
		if err := conn.Do(ctx, c...).Err(); err != nil {
			return unavailable(what, err)
		}
	}
	cmds, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, c := range [][]any{
			{"get", mark}, {"set", mark, ""}, {"hmget", served, "0", "0:old"}, {"hset", served, "0", ""}, {"hdel", served, "0"}, {"hkeys", open},
			{"hgetall", open}, {"hset", open, "0:0", ""}, {"hdel", open, "0:0"}, {"sadd", parts, "0"}, {"smembers", parts},
		} {
			p.Do(ctx, c...)
		}
		return nil
	})
	for _, c := range cmds {
		if err := c.Err(); err != nil && strings.Contains(err.Error(), "NOPERM") {
			return unavailable(what, err)
		}
	}
	if code(err) == "" && err != nil {
		return unavailable(what, err)
	}
	return nil // what else it replies, such as that its memory is full, may pass
}
