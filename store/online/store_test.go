package online

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

func open(hour int64, data string) transforms.Open {
	return transforms.Open{Hour: hour, Data: []byte(data)}
}

// O1: the layout, byte for byte.
func TestLayout(t *testing.T) {
	r := newRig(t)
	m := mark(7, 3, 1000)
	r.must(r.s.Commit(r.ctx, 1, 4, marker.Mark{}, m, []marker.Write{
		{Entity: "\x04\x01x", Served: []byte("served"), Open: []transforms.Open{open(-2, "a"), open(5, "b")}},
		{Entity: "gone", Remove: true},
	}))
	v := "{v:" + r.view.Fingerprint + ":1}:"
	want := []string{v + "e:\x04\x01x", v + "m:4", v + "o:\x04\x01x", v + "p"}
	if got := r.redis.Keys(); !slices.Equal(got, want) {
		t.Errorf("keys %q\nwant %q", got, want)
	}
	if got := r.redis.HGet(v+"e:\x04\x01x", "4"); got != "served" {
		t.Errorf("served %q", got)
	}
	if a, b := r.redis.HGet(v+"o:\x04\x01x", "4:-2"), r.redis.HGet(v+"o:\x04\x01x", "4:5"); a != "a" || b != "b" {
		t.Errorf("open %q %q", a, b)
	}
	if got, _ := r.redis.Get(v + "m:4"); got != string(m.Append(nil)) {
		t.Errorf("marker %x", got)
	}
	if got, _ := r.redis.Members(v + "p"); !slices.Equal(got, []string{"4"}) {
		t.Errorf("partitions %q", got)
	}
	ps, err := r.s.Partitions(r.ctx)
	if err != nil || !slices.Equal(ps, []int32{4}) {
		t.Errorf("partitions %v, %v", ps, err)
	}
	for _, k := range r.redis.Keys() { // O3: nothing expires by itself
		if ttl := r.redis.TTL(k); ttl != 0 {
			t.Errorf("%q expires in %v", k, ttl)
		}
	}
}

// O1: a write whose condition does not hold changes nothing.
func TestCommitCompares(t *testing.T) {
	r := newRig(t)
	first := mark(1, 3, 1000)
	r.put(0, 0, first, marker.Write{Entity: "e", Served: []byte("1")})
	stale := first
	stale.Token = 99
	for name, was := range map[string]marker.Mark{"another token": stale, "no marker": {}} {
		err := r.s.Commit(r.ctx, 0, 0, was, mark(2, 4, 1001), []marker.Write{{Entity: "e", Served: []byte("2")}})
		if !errors.Is(err, marker.ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.is("e", first, "1")
	r.must(r.s.Commit(r.ctx, 0, 0, first, mark(2, 4, 1001), []marker.Write{{Entity: "e", Served: []byte("2")}}))
	r.is("e", mark(2, 4, 1001), "2")
}

// is holds shard 0, partition 0 against a marker and one entity's served part.
func (r *rig) is(entity string, want marker.Mark, served string) {
	r.Helper()
	states, marks, err := r.s.Load(r.ctx, 0, []marker.Key{{Shard: 0, Entity: entity}})
	r.must(err)
	if marks[0] != want || string(states[0].Served) != served {
		r.Errorf("marker %+v, served %q; want %+v, %q", marks[0], states[0].Served, want, served)
	}
}

// O1: another client writes between WATCH and EXEC.
func TestCommitWatches(t *testing.T) {
	r := newRig(t)
	first := mark(1, 3, 1000)
	r.put(0, 0, first)
	key := r.s.markKey(0, 0)
	other := mark(5, 9, 1001)
	r.redis.Server().SetPreHook(func(_ *server.Peer, cmd string, _ ...string) bool {
		if strings.EqualFold(cmd, "EXEC") {
			_ = r.redis.Set(key, string(other.Append(nil)))
		}
		return false
	})
	err := r.s.Commit(r.ctx, 0, 0, first, mark(2, 4, 1001), []marker.Write{{Entity: "e", Served: []byte("2")}})
	r.redis.Server().SetPreHook(nil)
	if !errors.Is(err, marker.ErrMoved) {
		t.Fatal(err)
	}
	r.is("e", other, "")
}

// O1: a lost reply is told as such, whether the write was done or not, and is
// not repeated by anyone.
func TestLostReply(t *testing.T) {
	for mode, done := range map[string]bool{"before": false, "after": true} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t)
			first, second := mark(1, 3, 1000), mark(2, 4, 1001)
			r.put(0, 0, first, marker.Write{Entity: "e", Served: []byte("1")})
			p := newProxy(t, r.redis.Addr())
			r.s = r.open(p.Addr().String()).Store(r.view)
			p.arm(mode)
			err := r.s.Commit(r.ctx, 0, 0, first, second, []marker.Write{{Entity: "e", Served: []byte("2")}})
			if !errors.Is(err, marker.ErrUnknown) {
				t.Fatal(err)
			}
			if done {
				r.is("e", second, "2")
			} else {
				r.is("e", first, "1")
			}
		})
	}
}

// A write that never got as far as EXEC may be tried again.
func TestUnavailable(t *testing.T) {
	r := newRig(t)
	r.redis.Close()
	if err := r.s.Commit(r.ctx, 0, 0, marker.Mark{}, mark(1, 0, 0), nil); !errors.Is(err, marker.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := r.s.Marks(r.ctx, 0); !errors.Is(err, marker.ErrUnavailable) {
		t.Error(err)
	}
	if _, _, err := r.s.Load(r.ctx, 0, []marker.Key{{}}); !errors.Is(err, marker.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := r.s.Walk(r.ctx, 0, 0, ""); !errors.Is(err, marker.ErrUnavailable) {
		t.Error(err)
	}
}

// O3: out of memory is back-pressure, and nothing was written.
func TestOutOfMemory(t *testing.T) {
	r := newRig(t)
	first := mark(1, 3, 1000)
	r.put(0, 0, first, marker.Write{Entity: "e", Served: []byte("1")})
	r.redis.Server().SetPreHook(func(p *server.Peer, cmd string, _ ...string) bool {
		switch strings.ToUpper(cmd) {
		case "HSET":
			p.WriteError("OOM command not allowed when used memory > 'maxmemory'.")
			return true
		case "EXEC":
			p.WriteError("EXECABORT Transaction discarded because of previous errors.")
			return true
		}
		return false
	})
	err := r.s.Commit(r.ctx, 0, 0, first, mark(2, 4, 1001), []marker.Write{{Entity: "e", Served: []byte("2")}})
	r.redis.Server().SetPreHook(nil)
	if !errors.Is(err, marker.ErrFull) {
		t.Fatal(err)
	}
	r.is("e", first, "1")
}

func TestOutcomes(t *testing.T) {
	for reply, want := range map[string]error{
		"EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.": marker.ErrFull,
		"READONLY You can't write against a read only replica.":                                               marker.ErrUnavailable,
		"LOADING Redis is loading the dataset in memory":                                                      marker.ErrUnavailable,
	} {
		if err := outcome(nil, redisError(reply)); !errors.Is(err, want) {
			t.Errorf("%s: %v", reply, err)
		}
	}
	err := outcome(nil, redisError("NOPERM this user has no permissions"))
	for _, soft := range []error{marker.ErrFull, marker.ErrUnavailable, marker.ErrUnknown, marker.ErrMoved} {
		if err == nil || errors.Is(err, soft) {
			t.Errorf("NOPERM: %v", err)
		}
	}
}

// Messages that nothing but an operator heals say what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	const acl, drop = "its ACL must allow", "`tallystick drop`"
	for _, c := range []struct {
		err  error
		want string
	}{
		{outcome(nil, redisError("EXECABORT Transaction discarded because of previous errors. (NOPERM this user has no permissions to run the 'hset' command)")), acl},
		{unavailable("set the live fingerprint", redisError("NOPERM this user has no permissions to run the 'set' command")), acl},
		{unavailable("read markers", redisError("WRONGTYPE Operation against a key holding the wrong kind of value")), drop},
		{unavailable("watch a marker", redisError("NOAUTH Authentication required.")), "check --redis-username"},
		{&KeyError{"k", errors.New("corrupt marker")}, drop},
		{&KeyError{"k", ErrForeign}, "or give the view another name"},
		{&UnreachableError{Addr: "a:1", Err: redisError("NOAUTH Authentication required.")}, "Authentication required; check --redis-username"},
		{&UnreachableError{Addr: "a:1", TLS: true, Err: os.ErrDeadlineExceeded}, "no answer in time; check --redis, and whether it speaks TLS there"},
		{&UnreachableError{Addr: "a:1", Err: os.ErrDeadlineExceeded}, "no answer in time; check --redis"},
	} {
		if text := c.err.Error(); !strings.Contains(text, c.want) || strings.Count(text, c.want) != 1 {
			t.Errorf("%s\n\twant %q", text, c.want)
		}
	}
}

type redisError string

func (e redisError) Error() string { return string(e) }
func (e redisError) RedisError()   {}

// Each field has one writer: partitions do not touch each other's.
func TestWritesAndRemovals(t *testing.T) {
	r := newRig(t)
	one := []marker.Write{{Entity: "e", Served: []byte("p0"), Open: []transforms.Open{open(1, "a"), open(2, "b")}}}
	r.put(0, 0, mark(1, 1, 1), one...)
	r.put(0, 10, mark(2, 1, 1), marker.Write{Entity: "e", Served: []byte("p10"), Open: []transforms.Open{open(1, "x")}})
	r.put(0, 0, mark(3, 2, 1), marker.Write{Entity: "e", Served: []byte("p0b"), Open: []transforms.Open{open(1, ""), open(3, "c")}})
	r.holds(0, "p0b", open(2, "b"), open(3, "c"))
	r.holds(10, "p10", open(1, "x"))
	r.put(0, 0, mark(4, 2, 1), marker.Write{Entity: "e", Remove: true, Served: []byte("anew"), Open: []transforms.Open{open(9, "z")}})
	r.holds(0, "anew", open(9, "z"))
	r.put(0, 0, mark(5, 2, 1), marker.Write{Entity: "e", Remove: true})
	r.holds(0, "")
	r.holds(10, "p10", open(1, "x"))
}

// The old part stays where a write does not name it, and goes with its state. It is
// no partition, and nobody else's.
func TestOldPart(t *testing.T) {
	r := newRig(t)
	old := func(partition int32, want string) {
		t.Helper()
		states, _, err := r.s.Load(r.ctx, partition, []marker.Key{{Shard: 0, Entity: "e"}})
		r.must(err)
		if got := string(states[0].Old); got != want {
			t.Errorf("partition %d: the old part is %q, want %q", partition, got, want)
		}
	}
	r.put(0, 0, mark(1, 1, 1), marker.Write{Entity: "e", Served: []byte("s"), Old: []byte("first")})
	r.put(0, 10, mark(2, 1, 1), marker.Write{Entity: "e", Served: []byte("s"), Old: []byte("ten")})
	r.put(0, 0, mark(3, 2, 1), marker.Write{Entity: "e", Served: []byte("t")})
	old(0, "first")
	page, err := r.s.Scan(r.ctx, 0, 0, "")
	if err != nil || len(page.States) != 1 || string(page.States[0].Served) != "t" || string(page.States[0].Old) != "first" {
		t.Errorf("scanned %+v, %v", page.States, err)
	}
	r.put(0, 0, mark(4, 3, 1), marker.Write{Entity: "e", Served: []byte("u"), Old: []byte("second")})
	old(0, "second")
	r.put(0, 0, mark(5, 4, 1), marker.Write{Entity: "e", Served: []byte("v"), Old: []byte{}})
	old(0, "")
	for _, then := range [][]byte{nil, []byte("anew")} {
		r.put(0, 0, mark(6, 4, 1), marker.Write{Entity: "e", Served: []byte("v"), Old: []byte("third")})
		r.put(0, 0, mark(7, 4, 1), marker.Write{Entity: "e", Remove: true, Served: then})
		old(0, "")
	}
	r.redis.HDel(r.s.servedKey(0, "e"), "0")
	r.redis.HDel(r.s.servedKey(0, "e"), "10")
	if holds, err := r.s.Holds(r.ctx, 10); err != nil || !holds {
		t.Errorf("an old part alone: holds %v, %v", holds, err)
	}
	if page, err := r.s.Walk(r.ctx, 0, 10, ""); err != nil || len(page.Items) != 1 {
		t.Errorf("an old part alone: %+v, %v", page, err)
	}
	old(10, "ten")
}

func (r *rig) holds(partition int32, served string, want ...transforms.Open) {
	r.Helper()
	states, _, err := r.s.Load(r.ctx, partition, []marker.Key{{Shard: 0, Entity: "e"}})
	r.must(err)
	if string(states[0].Served) != served || !reflect.DeepEqual(states[0].Open, want) {
		r.Errorf("partition %d: %q %v, want %q %v", partition, states[0].Served, states[0].Open, served, want)
	}
}

// Walk and Scan list one (shard, partition), also what only has an open part.
func TestWalk(t *testing.T) {
	r := newRig(t)
	var ws []marker.Write
	for i := range 30 {
		ws = append(ws, marker.Write{Entity: fmt.Sprintf("e%02d", i), Served: []byte("s"), Open: []transforms.Open{open(1, "a")}})
	}
	m := mark(3, 1, 1)
	r.put(0, 0, m, ws...)
	r.put(0, 1, mark(1, 1, 1), marker.Write{Entity: "other", Served: []byte("s")})
	r.put(1, 0, mark(1, 1, 1), marker.Write{Entity: "shard1", Served: []byte("s")})
	r.redis.HDel(r.s.servedKey(0, "e07"), "0")
	got := map[string]string{}
	for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
		page, err := r.s.Scan(r.ctx, 0, 0, cursor)
		r.must(err)
		if page.Mark != m {
			t.Errorf("marker %+v", page.Mark)
		}
		for _, st := range page.States {
			got[st.Entity] = fmt.Sprintf("%s %v", st.Served, st.Open)
		}
		cursor = page.Next
	}
	if len(got) != 30 || got["e07"] != " [{1 [97]}]" || got["e08"] != "s [{1 [97]}]" {
		t.Errorf("%v", got)
	}
	page, err := r.s.Walk(r.ctx, 1, 0, "elsewhere:1|77") // a cursor of another node
	if err != nil || len(page.Items) != 1 || page.Items[0].Entity != "shard1" {
		t.Errorf("%+v, %v", page, err)
	}
}

// O5: readers switch by one key; the old fingerprint is dropped by command.
func TestLiveAndDrop(t *testing.T) {
	r := newRig(t)
	r.put(0, 0, mark(1, 1, 1), marker.Write{Entity: "e", Served: []byte("s"), Open: []transforms.Open{open(1, "a")}})
	if fp, err := r.c.Live(r.ctx, "v"); fp != "" || err != nil {
		t.Errorf("%q, %v", fp, err)
	}
	for i, want := range []bool{true, false} {
		done, err := r.c.SetLive(r.ctx, "v", fmt.Sprint("fp", i), true)
		if done != want || err != nil {
			t.Errorf("%d: %v, %v", i, done, err)
		}
	}
	_, err := r.c.SetLive(r.ctx, "v", r.view.Fingerprint, false)
	r.must(err)
	if got, _ := r.redis.Get("{v}:live"); got != r.view.Fingerprint {
		t.Errorf("live %q", got)
	}
	var keys atomic.Int64
	if err := r.s.Drop(r.ctx, &keys); err == nil {
		t.Error("the live fingerprint was dropped")
	} else if _, ok := errors.AsType[*LiveError](err); !ok {
		t.Error(err)
	}
	_, err = r.c.SetLive(r.ctx, "v", "another", false)
	r.must(err)
	if err := r.s.Drop(r.ctx, &keys); keys.Load() != 4 || err != nil {
		t.Errorf("%d, %v", keys.Load(), err)
	}
	if got := r.redis.Keys(); !slices.Equal(got, []string{"{v}:live"}) {
		t.Errorf("keys %q", got)
	}
}

// Foreign bytes are named, never taken for a missing marker or state.
func TestForeignBytes(t *testing.T) {
	r := newRig(t)
	r.put(0, 0, mark(1, 1, 1), marker.Write{Entity: "e", Served: []byte("s")})
	r.redis.HSet(r.s.openKey(0, "e"), "nonsense", "x")
	_, _, err := r.s.Load(r.ctx, 0, []marker.Key{{Shard: 0, Entity: "e"}})
	if _, ok := errors.AsType[*KeyError](err); !ok {
		t.Errorf("field: %v", err)
	}
	r.must(r.redis.Set(r.s.markKey(0, 0), "x"))
	_, err = r.s.Marks(r.ctx, 0)
	if _, ok := errors.AsType[*KeyError](err); !ok {
		t.Errorf("marker: %v", err)
	}
	err = r.s.Commit(r.ctx, 0, 0, marker.Mark{}, mark(1, 1, 1), nil)
	if _, ok := errors.AsType[*KeyError](err); !ok {
		t.Errorf("commit: %v", err)
	}
}

// R5: a repair is guarded like any write, and moves the token on.
func TestRewrite(t *testing.T) {
	r := newRig(t)
	was := mark(1, 5, 1)
	r.put(0, 0, was, marker.Write{Entity: "e", Served: []byte("bad"), Open: []transforms.Open{open(1, "a"), open(2, "b")}})
	now, err := r.s.Rewrite(r.ctx, 0, 0, was, "e", marker.Stored{Served: []byte("good"), Open: []transforms.Open{open(2, "c")}})
	r.must(err)
	if now.Token == was.Token || now.Next != was.Next {
		t.Errorf("%+v", now)
	}
	r.holds(0, "good", open(2, "c"))
	if _, err := r.s.Rewrite(r.ctx, 0, 0, was, "e", marker.Stored{}); !errors.Is(err, marker.ErrMoved) {
		t.Error(err)
	}
	_, err = r.s.Rewrite(r.ctx, 0, 0, now, "e", marker.Stored{})
	r.must(err)
	r.holds(0, "")
}

// O2: states are found by their partition, in both of their parts.
func TestHolds(t *testing.T) {
	r := newRig(t)
	holds := func(partition int32, want bool) {
		t.Helper()
		if got, err := r.s.Holds(r.ctx, partition); err != nil || got != want {
			t.Errorf("states of partition %d: %v %v", partition, got, err)
		}
	}
	holds(1, false)
	r.put(0, 1, mark(1, 1, 1)) // a marker is no state
	holds(1, false)
	r.put(1, 10, mark(1, 1, 1), marker.Write{Entity: "e", Served: []byte("s")})
	holds(1, false)
	holds(10, true)
	r.put(0, 1, mark(2, 1, 1), marker.Write{Entity: "e", Open: []transforms.Open{open(5, "a")}})
	holds(1, true)
}

// What others have under the view's prefix is refused by name; what is ours is not.
func TestCheckPrefix(t *testing.T) {
	r := newRig(t)
	e, shard := entity("a")
	engine, s := r.state(0, "a", 1, 2)
	r.put(shard, 0, mark(1, 2, base), write(engine, e, s))
	r.must(r.redis.Set("{v:other:0}:x", "another view's"))
	r.must(r.s.CheckPrefix(r.ctx))
	prefix := "{v:" + r.view.Fingerprint + ":"
	for _, key := range []string{prefix + "0}:x", prefix + "9}:m:0", prefix + "0}:m:x", prefix + "0}:m:7:8", prefix + "0}", prefix + "1}:e:a", prefix + "1}:p", prefix + "0}:o:"} {
		if key == prefix+"1}:p" {
			r.redis.Del(key)
		}
		r.must(r.redis.Set(key, "theirs"))
		var bad *KeyError
		if err := r.s.CheckPrefix(r.ctx); !errors.As(err, &bad) || bad.Key != key {
			t.Errorf("%s: %v", key, err)
		}
		r.redis.Del(key)
	}
}

// O3: what a server tells of itself; what it does not tell is -1.
func TestServers(t *testing.T) {
	r := newRig(t)
	addr := r.redis.Addr()
	got, err := r.c.Servers(r.ctx)
	r.must(err)
	if want := (Server{addr, "noeviction", -1, 1, -1}); len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
	want := Server{"a:1", "allkeys-lru", 7, 5_000_000_000, 0}
	if got := parseInfo("a:1", "# Memory\r\nused_memory:5000000000\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n# Stats\r\nevicted_keys:7\r\n"); got != want {
		t.Errorf("%+v", got)
	}
	r.redis.SetError("NOPERM this user has no permissions")
	if _, err := r.c.Servers(r.ctx); err == nil {
		t.Error("no error")
	}
}
