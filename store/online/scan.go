package online

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/transforms/marker"
)

// Walk lists the states of a (shard, partition) a page at a time, in no order:
// all that are there throughout, some perhaps twice. It begins with an empty
// cursor and is over when the next one is empty. A page may be empty.
func (s *Store) Walk(ctx context.Context, shard int, partition int32, cursor string) (marker.Page, error) {
	var page marker.Page
	p, err := s.page(ctx, shard, partition, cursor, false)
	if err != nil {
		return page, err
	}
	for _, st := range p.States {
		page.Items = append(page.Items, marker.Item{Entity: st.Entity, Served: st.Served})
	}
	page.Mark, page.Next = p.Mark, p.Next
	return page, nil
}

// Holds tells whether there are states of a partition, in whatever shard: false
// only if one walk over all keys, on servers that stayed the same, met none.
func (s *Store) Holds(ctx context.Context, partition int32) (bool, error) {
	var found atomic.Bool
	err := s.c.eachMaster(ctx, func(ctx context.Context, rc *redis.Client) error {
		before, err := runID(ctx, rc)
		if err != nil {
			return err
		}
		for at := uint64(0); !found.Load(); {
			keys, next, err := rc.Scan(ctx, at, "{"+s.view+":"+s.fingerprint+":*}:[eo]:*", s.count).Result()
			if err != nil {
				return s.c.failed(ctx, "look for states", err)
			}
			if holds, err := s.anyOf(ctx, rc, keys, partition); err != nil {
				return err
			} else if holds {
				found.Store(true)
			}
			if at = next; at == 0 {
				break
			}
		}
		if after, err := runID(ctx, rc); err != nil || after == before || found.Load() {
			return err
		}
		return unavailable("look for states", errors.New("another server took over meanwhile"))
	})
	return found.Load(), err
}

// anyOf tells whether one of the keys has a field of the partition.
func (s *Store) anyOf(ctx context.Context, rc *redis.Client, keys []string, partition int32) (bool, error) {
	cmds := make([]*redis.StringSliceCmd, len(keys))
	_, err := rc.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			cmds[i] = p.HKeys(ctx, k)
		}
		return nil
	})
	if err != nil {
		return false, s.c.failed(ctx, "look for states", err)
	}
	of := field(partition)
	return slices.ContainsFunc(cmds, func(c *redis.StringSliceCmd) bool {
		return slices.ContainsFunc(c.Val(), func(f string) bool { return f == of || strings.HasPrefix(f, of+":") })
	}), nil
}

// runID names the process that answers: another one's cursors mean other places.
func runID(ctx context.Context, rc *redis.Client) (string, error) {
	text, err := rc.Info(ctx, "server").Result()
	if _, refused := errors.AsType[redis.Error](err); refused {
		return "", nil // an embedded one, which does not tell
	}
	if err != nil {
		return "", unavailable("ask a server who it is", err)
	}
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", nil
}

// State is a state met by Scan.
type State struct {
	Entity string
	marker.Stored
}

// Page is a part of a Scan.
type Page struct {
	States []State
	Mark   marker.Mark // as read after the states
	Next   string      // the cursor of the next page; "" = none
}

// Scan is Walk with all parts of the states, for reconcile. The states of pages
// with one marker belong to it.
func (s *Store) Scan(ctx context.Context, shard int, partition int32, cursor string) (Page, error) {
	return s.page(ctx, shard, partition, cursor, true)
}

// A cursor is the node's address, a bar and the server's cursor: on another
// node it means nothing, and the walk begins anew there.

// page reads one page. The server's SCAN walks over all keys that it has; those
// of one shard and its two hashes are what the pattern lets through.
func (s *Store) page(ctx context.Context, shard int, partition int32, cursor string, full bool) (Page, error) {
	var page Page
	rc, err := s.c.node(ctx, s.markKey(shard, partition))
	if err != nil {
		return page, err
	}
	addr := rc.Options().Addr
	var at uint64
	if c, ok := strings.CutPrefix(cursor, addr+"|"); ok {
		at, _ = strconv.ParseUint(c, 10, 64) // else from the start
	}
	keys, next, err := rc.Scan(ctx, at, s.prefix(shard)+"[eo]:*", s.count).Result()
	if err != nil {
		return page, s.c.failed(ctx, "scan a shard", err)
	}
	if next != 0 {
		page.Next = addr + "|" + strconv.FormatUint(next, 10)
	}
	page.States, page.Mark, err = s.states(ctx, rc, shard, partition, s.entities(shard, keys), full)
	return page, err
}

// entities returns the entities that keys belong to, each once.
func (s *Store) entities(shard int, keys []string) []string {
	n := len(s.prefix(shard)) + len("e:")
	seen := map[string]bool{}
	var list []string
	for _, k := range keys {
		if e := k[n:]; !seen[e] {
			seen[e] = true
			list = append(list, e)
		}
	}
	return list
}

// states reads the states of entities and then the marker. Of the open parts it
// returns the contents only if full; a state without any part is left out.
func (s *Store) states(ctx context.Context, rc *redis.Client, shard int, partition int32, entities []string, full bool) ([]State, marker.Mark, error) {
	served := make([]*redis.SliceCmd, len(entities))
	open := make([]*redis.MapStringStringCmd, len(entities))
	names := make([]*redis.StringSliceCmd, len(entities))
	var mark *redis.StringCmd
	_, err := rc.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, e := range entities {
			if full {
				open[i] = p.HGetAll(ctx, s.openKey(shard, e))
			} else {
				names[i] = p.HKeys(ctx, s.openKey(shard, e))
			}
			served[i] = p.HMGet(ctx, s.servedKey(shard, e), field(partition), oldField(partition))
		}
		mark = p.Get(ctx, s.markKey(shard, partition))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, marker.Mark{}, s.c.failed(ctx, "scan a shard", err)
	}
	var list []State
	for i, e := range entities {
		fields := map[string]string{}
		if full {
			fields, err = open[i].Result()
		} else {
			var ns []string
			ns, err = names[i].Result()
			for _, n := range ns {
				fields[n] = ""
			}
		}
		if err != nil {
			return nil, marker.Mark{}, s.c.failed(ctx, "scan a shard", err)
		}
		st, err := s.stored(marker.Key{Shard: shard, Entity: e}, partition, served[i], fields)
		if err != nil {
			return nil, marker.Mark{}, err
		}
		if st.Served != nil || st.Old != nil || len(st.Open) > 0 {
			list = append(list, State{e, st})
		}
	}
	m, err := parseMark(s.markKey(shard, partition), mark)
	return list, m, err
}

// Drop removes everything of the store's view and fingerprint (O5). It refuses,
// with a *LiveError, while readers use that fingerprint. A stream that still
// writes it finds its markers gone. keys counts what is gone.
func (s *Store) Drop(ctx context.Context, keys *atomic.Int64) error {
	live, err := s.c.Live(ctx, s.view)
	if err != nil {
		return err
	}
	if live == s.fingerprint {
		return &LiveError{s.view, s.fingerprint}
	}
	for shard := range s.shards {
		if err := s.dropShard(ctx, shard, keys); err != nil {
			return err
		}
	}
	return nil
}

// dropShard walks until a walk finds nothing.
func (s *Store) dropShard(ctx context.Context, shard int, total *atomic.Int64) error {
	rc, err := s.c.node(ctx, s.prefix(shard))
	if err != nil {
		return err
	}
	for found := true; found; {
		found = false
		for at := uint64(0); ; {
			keys, next, err := rc.Scan(ctx, at, s.prefix(shard)+"*", s.count).Result()
			if err != nil {
				return s.c.failed(ctx, "scan a shard", err)
			}
			if len(keys) > 0 {
				n, err := rc.Unlink(ctx, keys...).Result()
				if err != nil {
					return s.c.failed(ctx, "drop keys", err)
				}
				total.Add(n)
				found = true
			}
			if at = next; at == 0 {
				break
			}
		}
	}
	return nil
}
