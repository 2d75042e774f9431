package online

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Store is the online store of one view and fingerprint. Its methods may be
// called concurrently. It is a stream.Sink.
type Store struct {
	c           *Client
	view        string
	fingerprint string
	shards      int
	ids         bool // states have an open part
	count       int64
	prefixes    []string // of the keys, by shard
}

// scanCount is how many keys the server looks at for one page.
const scanCount = 512

// Store returns the store of a view.
func (c *Client) Store(view *definition.View) *Store {
	s := &Store{c: c, view: view.Name, fingerprint: view.Fingerprint, shards: view.Spec.Shards,
		ids: view.Spec.Identity != transforms.Anonymous, count: scanCount}
	for shard := range s.shards {
		s.prefixes = append(s.prefixes, "{"+s.view+":"+s.fingerprint+":"+strconv.Itoa(shard)+"}:")
	}
	return s
}

func (s *Store) prefix(shard int) string { return s.prefixes[shard] }

func (s *Store) markKey(shard int, partition int32) string {
	return s.prefix(shard) + "m:" + strconv.Itoa(int(partition))
}

func (s *Store) servedKey(shard int, entity string) string { return s.prefix(shard) + "e:" + entity }
func (s *Store) openKey(shard int, entity string) string   { return s.prefix(shard) + "o:" + entity }
func (s *Store) partsKey(shard int) string                 { return s.prefix(shard) + "p" }

func field(partition int32) string { return strconv.Itoa(int(partition)) }

func openField(partition int32, hour int64) string {
	return field(partition) + ":" + strconv.FormatInt(hour, 10)
}

// oldField is that of the old part, beside the served one.
func oldField(partition int32) string { return field(partition) + ":old" }

// parseOpenField reads what openField wrote.
func parseOpenField(f string) (partition int32, hour int64, ok bool) {
	a, b, found := strings.Cut(f, ":")
	p, err1 := strconv.ParseInt(a, 10, 32)
	h, err2 := strconv.ParseInt(b, 10, 64)
	return int32(p), h, found && err1 == nil && err2 == nil && p >= 0
}

// parseMark reads a marker's reply; the zero Mark where there is none.
func parseMark(key string, cmd *redis.StringCmd) (marker.Mark, error) {
	b, err := cmd.Bytes()
	if errors.Is(err, redis.Nil) {
		return marker.Mark{}, nil
	}
	if err != nil {
		return marker.Mark{}, unavailable("read a marker", err)
	}
	m, err := marker.Parse(b)
	if err != nil {
		return marker.Mark{}, &KeyError{key, err}
	}
	return m, nil
}

// Partitions lists the partitions that have had a marker, ascending.
func (s *Store) Partitions(ctx context.Context) ([]int32, error) {
	seen := map[int32]bool{}
	for shard := range s.shards {
		members, err := s.c.rc.SMembers(ctx, s.partsKey(shard)).Result()
		if err != nil {
			return nil, s.c.failed(ctx, "list partitions", err)
		}
		for _, m := range members {
			p, err := parsePartition(s.partsKey(shard), m)
			if err != nil {
				return nil, err
			}
			seen[p] = true
		}
	}
	list := make([]int32, 0, len(seen))
	for p := range seen {
		list = append(list, p)
	}
	slices.Sort(list)
	return list, nil
}

func parsePartition(key, text string) (int32, error) {
	p, err := strconv.ParseUint(text, 10, 32)
	if err != nil || p > math.MaxInt32 {
		return 0, &KeyError{key, fmt.Errorf("%q is not a partition", text)}
	}
	return int32(p), nil
}

// Marks reads the markers of all shards of a partition, by shard.
func (s *Store) Marks(ctx context.Context, partition int32) ([]marker.Mark, error) {
	cmds := make([]*redis.StringCmd, s.shards)
	_, err := s.c.rc.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range cmds {
			cmds[i] = p.Get(ctx, s.markKey(i, partition))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, s.c.failed(ctx, "read markers", err)
	}
	marks := make([]marker.Mark, s.shards)
	for i, c := range cmds {
		if marks[i], err = parseMark(s.markKey(i, partition), c); err != nil {
			return nil, err
		}
	}
	return marks, nil
}

// loading is a pipeline to one node.
type loading struct {
	keys   []int // indexes into the keys asked for
	shards []int
	served []*redis.SliceCmd // with the old part
	open   []*redis.MapStringStringCmd
	marks  []*redis.StringCmd
}

// Load reads states and, after them, the markers of their shards, over one
// connection for each node.
func (s *Store) Load(ctx context.Context, partition int32, keys []marker.Key) ([]marker.Stored, map[int]marker.Mark, error) {
	byShard := map[int]*redis.Client{}
	byNode := map[*redis.Client]*loading{}
	var order []*redis.Client
	for i, k := range keys {
		rc := byShard[k.Shard]
		if rc == nil {
			var err error
			if rc, err = s.c.node(ctx, s.markKey(k.Shard, partition)); err != nil {
				return nil, nil, err
			}
			if byShard[k.Shard] = rc; byNode[rc] == nil {
				byNode[rc] = &loading{}
				order = append(order, rc)
			}
			byNode[rc].shards = append(byNode[rc].shards, k.Shard)
		}
		byNode[rc].keys = append(byNode[rc].keys, i)
	}
	states, marks := make([]marker.Stored, len(keys)), map[int]marker.Mark{}
	for _, rc := range order {
		if err := s.load(ctx, rc, byNode[rc], partition, keys, states, marks); err != nil {
			return nil, nil, err
		}
	}
	return states, marks, nil
}

func (s *Store) load(ctx context.Context, rc *redis.Client, l *loading, partition int32, keys []marker.Key, states []marker.Stored, marks map[int]marker.Mark) error {
	_, err := rc.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, i := range l.keys {
			if s.ids {
				l.open = append(l.open, p.HGetAll(ctx, s.openKey(keys[i].Shard, keys[i].Entity)))
			}
			l.served = append(l.served, p.HMGet(ctx, s.servedKey(keys[i].Shard, keys[i].Entity), field(partition), oldField(partition)))
		}
		for _, shard := range l.shards {
			l.marks = append(l.marks, p.Get(ctx, s.markKey(shard, partition)))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return s.c.failed(ctx, "load states", err)
	}
	for n, i := range l.keys {
		var open map[string]string
		if s.ids {
			if open, err = l.open[n].Result(); err != nil {
				return unavailable("load states", err)
			}
		}
		if states[i], err = s.stored(keys[i], partition, l.served[n], open); err != nil {
			return err
		}
	}
	for n, shard := range l.shards {
		if marks[shard], err = parseMark(s.markKey(shard, partition), l.marks[n]); err != nil {
			return err
		}
	}
	return nil
}

// stored puts the parts of a state together.
func (s *Store) stored(k marker.Key, partition int32, served *redis.SliceCmd, open map[string]string) (st marker.Stored, err error) {
	fields, err := served.Result()
	if err != nil {
		return st, unavailable("load states", err)
	}
	for i, part := range []*[]byte{&st.Served, &st.Old} {
		if text, ok := fields[i].(string); ok {
			*part = []byte(text)
		}
	}
	for f, data := range open {
		p, hour, ok := parseOpenField(f)
		if !ok {
			return st, &KeyError{s.openKey(k.Shard, k.Entity), fmt.Errorf("field %q is not partition:hour", f)}
		}
		if p == partition {
			st.Open = append(st.Open, transforms.Open{Hour: hour, Data: []byte(data)})
		}
	}
	slices.SortFunc(st.Open, func(a, b transforms.Open) int {
		if a.Hour < b.Hour {
			return -1
		}
		return 1
	})
	return st, nil
}

// Commit writes states and the marker now in one atomic unit, if the stored
// marker is was (O1).
func (s *Store) Commit(ctx context.Context, shard int, partition int32, was, now marker.Mark, writes []marker.Write) error {
	key, sent := s.markKey(shard, partition), false
	err := s.c.rc.Watch(ctx, func(tx *redis.Tx) error {
		stored, err := parseMark(key, tx.Get(ctx, key))
		if err != nil {
			return err
		}
		if stored != was {
			return marker.ErrMoved
		}
		gone, err := s.openFields(ctx, tx, shard, partition, writes)
		if err != nil {
			return err
		}
		sent = true
		return outcome(tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for i := range writes {
				s.write(ctx, p, shard, partition, &writes[i], gone[writes[i].Entity])
			}
			if was.Phase == marker.Missing {
				p.SAdd(ctx, s.partsKey(shard), field(partition))
			}
			p.Set(ctx, key, now.Append(nil), 0)
			return nil
		}))
	}, key)
	if err == nil || errors.Is(err, marker.ErrMoved) {
		return err
	}
	if s.c.relearn(ctx); sent {
		return err
	}
	if _, final := errors.AsType[*KeyError](err); final || errors.Is(err, marker.ErrUnavailable) {
		return err
	}
	return unavailable("watch a marker", err)
}

// Rewrite puts a state in the place of what a (shard, partition) holds of one
// entity, or removes it when served is nil, if the stored marker is was: for
// repair (R5). The position stays; the new token makes the stream read the state
// again. It returns the new marker. Errors as of Commit.
func (s *Store) Rewrite(ctx context.Context, shard int, partition int32, was marker.Mark, entity string, st marker.Stored) (marker.Mark, error) {
	now := was
	for now.Token == was.Token {
		var b [8]byte
		_, _ = rand.Read(b[:]) // it never fails: crypto/rand ends the process instead
		now.Token = binary.LittleEndian.Uint64(b[:])
	}
	w := marker.Write{Entity: entity, Remove: true, Served: st.Served, Old: st.Old, Open: st.Open}
	if err := s.Commit(ctx, shard, partition, was, now, []marker.Write{w}); err != nil {
		return was, err
	}
	return now, nil
}

// openFields returns, by entity, the fields of the open parts that are to be
// removed whole. Nobody changes them meanwhile without changing the marker,
// which is being watched.
func (s *Store) openFields(ctx context.Context, tx *redis.Tx, shard int, partition int32, writes []marker.Write) (map[string][]string, error) {
	cmds := map[string]*redis.StringSliceCmd{}
	_, err := tx.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range writes {
			if e := writes[i].Entity; writes[i].Remove {
				cmds[e] = p.HKeys(ctx, s.openKey(shard, e))
			}
		}
		return nil
	})
	if err != nil {
		return nil, unavailable("list fields", err)
	}
	gone := map[string][]string{}
	for e, c := range cmds {
		for _, f := range c.Val() {
			if p, _, ok := parseOpenField(f); ok && p == partition {
				gone[e] = append(gone[e], f)
			}
		}
		slices.Sort(gone[e])
	}
	return gone, nil
}

// write queues one state's changes; gone are the fields that go first.
func (s *Store) write(ctx context.Context, p redis.Pipeliner, shard int, partition int32, w *marker.Write, gone []string) {
	open, served := s.openKey(shard, w.Entity), s.servedKey(shard, w.Entity)
	var out []string
	if w.Remove && w.Served == nil {
		out = append(out, field(partition))
	}
	if len(w.Old) == 0 && (w.Remove || w.Old != nil) {
		out = append(out, oldField(partition))
	}
	if len(out) > 0 {
		p.HDel(ctx, served, out...)
	}
	var in []any
	if w.Served != nil {
		in = append(in, field(partition), w.Served)
	}
	if len(w.Old) > 0 {
		in = append(in, oldField(partition), w.Old)
	}
	if len(in) > 0 {
		p.HSet(ctx, served, in...)
	}
	var set []any
	for _, o := range w.Open {
		if f := openField(partition, o.Hour); len(o.Data) == 0 {
			gone = append(gone, f)
		} else {
			set = append(set, f, o.Data)
		}
	}
	if len(gone) > 0 {
		p.HDel(ctx, open, gone...)
	}
	if len(set) > 0 {
		p.HSet(ctx, open, set...)
	}
}
