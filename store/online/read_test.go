package online

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

func (r *rig) reader() *Reader {
	r.Helper()
	rd, err := r.c.Reader(r.view)
	r.must(err)
	return rd
}

func (r *rig) read(rd *Reader, name string, q schemas.Micros) *Answer {
	r.Helper()
	e, _ := entity(name)
	a, err := rd.Read(r.ctx, []byte(e), q)
	r.must(err)
	return a
}

func show(rs []transforms.Result) string {
	var parts []string
	for _, x := range rs {
		parts = append(parts, fmt.Sprintf("%v %v", x.Value, x.Status))
	}
	return strings.Join(parts, ", ")
}

// V4, V9, O4: partitions are merged, as of just after the clock at least.
func TestRead(t *testing.T) {
	r := newRig(t)
	rd := r.reader()
	e, shard := entity("x")
	if _, err := rd.Read(r.ctx, []byte(e), base); err == nil {
		t.Error("an empty store answered")
	} else if _, ok := errors.AsType[*NotServedError](err); !ok {
		t.Error(err)
	}
	engine, a := r.state(0, "x", 1, 2)
	_, b := r.state(1, "x", 40)
	last := base + schemas.Minute
	r.put(shard, 0, mark(1, 2, last), write(engine, e, a))
	r.put(shard, 1, mark(2, 1, base+3*schemas.Minute), write(engine, e, b))

	got := r.read(rd, "x", base+10*schemas.Minute)
	if s := show(got.Results); got.AsOf != base+10*schemas.Minute || s != "3 PRESENT, 3 PRESENT, 43 PRESENT" {
		t.Errorf("as of %v: %s", got.AsOf, s)
	}
	if newest, clock := got.Freshness(); newest != base+3*schemas.Minute-5 || clock != last {
		t.Errorf("freshness %v %v", newest, clock)
	}
	if len(got.Positions) != 2 || got.Positions[0].Next != 2 || got.Positions[1].Clock != base+3*schemas.Minute {
		t.Errorf("positions %+v", got.Positions)
	}
	if got = r.read(rd, "x", base-schemas.Day); got.AsOf != base+3*schemas.Minute+1 { // V4: the clock is ahead of q
		t.Errorf("as of %v", got.AsOf)
	}
	for name, q := range map[string]schemas.Micros{"x": base + 3*schemas.Day, "nobody": base} {
		if name == "nobody" {
			if _, s := entity(name); s != shard {
				continue
			}
		}
		if s := show(r.read(rd, name, q).Results); s != "null ABSENT, null ABSENT, null ABSENT" {
			t.Errorf("%s: %s", name, s)
		}
	}
}

// K8: windows that reach back before the fold's start are INCOMPLETE; all are
// while a partition is being bootstrapped (O2).
func TestReadIncomplete(t *testing.T) {
	r := newRig(t)
	rd := r.reader()
	e, shard := entity("x")
	engine, a := r.state(0, "x", 1, 2)
	m := mark(1, 2, base+schemas.Minute)
	m.ValidFrom = base - schemas.Hour
	r.put(shard, 0, m, write(engine, e, a))
	if s := show(r.read(rd, "x", base+2*schemas.Minute).Results); s != "2 PRESENT, 2 INCOMPLETE, 3 INCOMPLETE" {
		t.Error(s)
	}
	r.put(shard, 1, marker.Mark{Phase: marker.Bootstrapping, TopicID: "t", Token: 3})
	got := r.read(rd, "x", base+2*schemas.Minute)
	if s := show(got.Results); s != "2 INCOMPLETE, 2 INCOMPLETE, 3 INCOMPLETE" || !got.Positions[1].Bootstrapping {
		t.Errorf("%s %+v", s, got.Positions)
	}
}

// O4: a field newer than the marker that was read moves the answer on.
func TestReadFieldBeyondMarker(t *testing.T) {
	r := newRig(t)
	e, shard := entity("x")
	engine, a := r.state(0, "x", 1, 2, 3)
	r.put(shard, 0, mark(1, 1, base), write(engine, e, a))
	if got := r.read(r.reader(), "x", base); got.AsOf != base+2*schemas.Minute+1 || got.Positions[0].Next != 1 {
		t.Errorf("%+v", got)
	}
}

func TestReadCorrupt(t *testing.T) {
	r := newRig(t)
	e, shard := entity("x")
	r.put(shard, 0, mark(1, 1, base), marker.Write{Entity: e, Served: []byte("nonsense")})
	_, err := r.reader().Read(r.ctx, []byte(e), base)
	if _, ok := errors.AsType[*KeyError](err); !ok {
		t.Error(err)
	}
	if _, ok := errors.AsType[*transforms.CorruptError](err); !ok {
		t.Error(err)
	}
}

// O4: a read needs the old part too, and that of another time is noticed.
func TestReadOldPart(t *testing.T) {
	r := newRig(t)
	e, shard := entity("x")
	r.view.Spec.Identity, r.view.Spec.NewestTiles = transforms.Anonymous, 1
	engine, s := r.state(0, "x", make([]float64, 100)...)
	w := write(engine, e, s)
	if len(w.Old) == 0 {
		t.Fatal("nothing is old")
	}
	r.put(shard, 0, mark(1, 1, base), w)
	q := base + 200*schemas.Minute
	want, err := engine.Value(nil, q, s)
	r.must(err)
	if got := r.read(r.reader(), "x", q); !reflect.DeepEqual(got.Results, want) {
		t.Errorf("read %v, the state has %v", got.Results, want)
	}
	r.redis.HSet(r.s.servedKey(shard, e), "0:old", string(w.Old[:len(w.Old)-1]))
	if _, err := r.reader().Read(r.ctx, []byte(e), q); !errors.As(err, new(*transforms.CorruptError)) {
		t.Errorf("a torn old part: %v", err)
	}
	r.redis.HDel(r.s.servedKey(shard, e), "0:old")
	if _, err := r.reader().Read(r.ctx, []byte(e), q); !errors.As(err, new(*transforms.CorruptError)) {
		t.Errorf("no old part: %v", err)
	}
}

// O3: a server that may evict, or does not tell, is refused.
func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		info, config string
		allow        bool
		want         string // policy in the error; "ok" = none
	}{
		{info: "noeviction", want: "ok"},
		{info: "allkeys-lru", want: "allkeys-lru"},
		{info: "allkeys-lru", allow: true, want: "allkeys-lru"},
		{config: "noeviction", want: "ok"},
		{config: "volatile-ttl", allow: true, want: "volatile-ttl"},
		{want: ""},
		{allow: true, want: "ok"},
	} {
		err := openFake(t, c.info, c.config, c.allow)
		pe, refused := errors.AsType[*PolicyError](err)
		if err == nil != (c.want == "ok") || err != nil && (!refused || pe.Policy != c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// openFake opens a server that says no more of itself than its policy.
func openFake(t *testing.T, info, config string, allow bool) error {
	srv, err := server.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	reply := func(cmd string, f server.Cmd) {
		if err := srv.Register(cmd, f); err != nil {
			t.Fatal(err)
		}
	}
	reply("PING", func(c *server.Peer, _ string, _ []string) { c.WriteInline("PONG") })
	reply("INFO", func(c *server.Peer, _ string, _ []string) {
		if info == "" {
			c.WriteError("ERR not supported")
			return
		}
		c.WriteBulk("# Memory\r\nused_memory:1\r\nmaxmemory_policy:" + info + "\r\n")
	})
	reply("CONFIG", func(c *server.Peer, _ string, _ []string) {
		if config == "" {
			c.WriteError("NOPERM")
			return
		}
		c.WriteStrings([]string{"maxmemory-policy", config})
	})
	testbed.Inside(t, srv.Addr().String())
	c, err := Open(t.Context(), Options{Addrs: []string{srv.Addr().String()}, AllowUnknownPolicy: allow})
	if err == nil {
		c.Close()
	}
	return err
}

func TestOptions(t *testing.T) {
	err := Options{Addrs: []string{"nowhere"}, Cluster: true, Master: "m", DB: -1}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") < 3 {
		t.Errorf("not every fault is told: %v", err)
	}
}
