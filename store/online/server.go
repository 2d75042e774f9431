package online

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Server is what one master tells of itself. Numbers that it does not tell are -1.
type Server struct {
	Addr        string
	Policy      string // maxmemory-policy; "" = not told
	EvictedKeys int64  // since it began; above 0 features have been thrown away (O3)
	UsedBytes   int64
	MaxBytes    int64 // 0 = unlimited
}

// Servers asks every master what it tells of itself, in the order of addresses.
// Those that answer are returned beside an error.
func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	var mu sync.Mutex // ForEachMaster calls concurrently
	var list []Server
	one := func(ctx context.Context, rc *redis.Client) error {
		text, err := rc.Info(ctx).Result()
		if err != nil {
			return unavailable("ask "+rc.Options().Addr+" for INFO", err)
		}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, parseInfo(rc.Options().Addr, text))
		return nil
	}
	err := c.eachMaster(ctx, one)
	slices.SortFunc(list, func(a, b Server) int { return strings.Compare(a.Addr, b.Addr) })
	return list, err
}

// eachMaster calls fn for every master, of a Cluster for several at once.
func (c *Client) eachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	switch rc := c.rc.(type) {
	case *redis.ClusterClient:
		return rc.ForEachMaster(ctx, fn)
	case *redis.Client:
		return fn(ctx, rc)
	}
	return fmt.Errorf("online: a Redis client of type %T is not supported", c.rc)
}

func parseInfo(addr, text string) Server {
	s := Server{Addr: addr, EvictedKeys: -1, UsedBytes: -1, MaxBytes: -1}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		to := map[string]*int64{"evicted_keys": &s.EvictedKeys, "used_memory": &s.UsedBytes, "maxmemory": &s.MaxBytes}[name]
		if n, err := strconv.ParseInt(value, 10, 64); to != nil && err == nil {
			*to = n
		}
		if name == "maxmemory_policy" {
			s.Policy = value
		}
	}
	return s
}

// ErrForeign is why a *KeyError says that a key is none of ours.
var ErrForeign = errors.New("it is another program's, and stands where the view's states go: remove it, or give the view another name")

// CheckPrefix refuses, with a *KeyError, keys under the store's prefix that no
// Tallystick writes. It walks over all keys of the servers, so it is for a view
// of which nothing is there yet: what it writes beside foreign keys could not be
// told from them.
func (s *Store) CheckPrefix(ctx context.Context) error {
	return s.c.eachMaster(ctx, func(ctx context.Context, rc *redis.Client) error {
		for at := uint64(0); ; {
			keys, next, err := rc.Scan(ctx, at, "{"+s.view+":"+s.fingerprint+":*", s.count).Result()
			if err != nil {
				return unavailable("look for keys of others", err)
			}
			for _, k := range keys {
				kind, err := rc.Type(ctx, k).Result()
				if err != nil {
					return unavailable("look for keys of others", err)
				}
				if want := s.kind(k); kind != "none" && kind != want {
					return &KeyError{k, ErrForeign}
				}
			}
			if at = next; at == 0 {
				return nil
			}
		}
	})
}

// kind returns the type that a key of that name has, "" for none of ours.
func (s *Store) kind(key string) string {
	for shard := range s.shards {
		rest, ok := strings.CutPrefix(key, s.prefix(shard))
		if !ok {
			continue
		}
		switch name, of, found := strings.Cut(rest, ":"); {
		case name == "p" && !found:
			return "set"
		case name == "m" && found:
			if _, err := parsePartition(key, of); err == nil {
				return "string"
			}
		case name == "held" && !found:
			return "string"
		case (name == "e" || name == "o") && found:
			return "hash"
		}
	}
	return ""
}
