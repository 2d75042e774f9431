package online

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testView(t testing.TB, shards int) *definition.View {
	t.Helper()
	text := strings.Replace(testbed.EventDefinition, "shards: 3", fmt.Sprint("shards: ", shards), 1)
	for _, line := range []string{"    where: amt < 9.0\n", "      l: {last: amt, over: lifetime}\n"} {
		text = strings.Replace(text, line, "", 1)
	}
	return testbed.View(t, text, testbed.EventSchema)
}

// rig is an embedded Redis with a client and a store of two shards.
type rig struct {
	*testing.T
	ctx   context.Context
	redis *miniredis.Miniredis
	c     *Client
	view  *definition.View
	s     *Store
}

func newRig(t *testing.T) *rig {
	t.Helper()
	m := testbed.Redis(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	r := &rig{T: t, ctx: ctx, redis: m, view: testView(t, 2)}
	r.c = r.open(m.Addr())
	r.s = r.c.Store(r.view)
	return r
}

func (r *rig) open(addr string) *Client {
	r.Helper()
	testbed.Inside(r.T, addr)
	c, err := Open(r.ctx, Options{Addrs: []string{addr}})
	r.must(err)
	r.Cleanup(c.Close)
	return c
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func mark(token uint64, next int64, clock schemas.Micros) marker.Mark {
	return marker.Mark{Phase: marker.Live, TopicID: "t", Next: next, Clock: clock, Newest: clock - 5, ValidFrom: schemas.Never, Token: token}
}

// put commits over whatever marker there is.
func (r *rig) put(shard int, partition int32, now marker.Mark, ws ...marker.Write) {
	r.Helper()
	marks, err := r.s.Marks(r.ctx, partition)
	r.must(err)
	r.must(r.s.Commit(r.ctx, shard, partition, marks[shard], now, ws))
}

// entity returns an entity of that name and its shard.
func entity(name string) (string, int) {
	e := transforms.EncodeEntity(nil, schemas.StringValue(name))
	return string(e), transforms.EntityShard(e, 2)
}

// state folds events of one entity: event time in minutes and amount, one a minute.
func (r *rig) state(partition int32, name string, amounts ...float64) (*transforms.View, *transforms.State) {
	r.Helper()
	engine, err := transforms.NewView(r.view.Spec)
	r.must(err)
	s, in := engine.NewState(partition), engine.NewInput()
	for i, amt := range amounts {
		at := base + schemas.Micros(i)*schemas.Minute
		e := &schemas.Event{Partition: partition, Offset: int64(i), Timestamp: at, Clock: at, EventTime: at}
		for _, p := range r.view.Source.Paths {
			e.Fields = append(e.Fields, map[string]schemas.Value{"ent": schemas.StringValue(name), "id": schemas.StringValue(fmt.Sprint(i)),
				"ver": schemas.IntValue(1), "et": schemas.TimestampValue(at), "amt": schemas.DoubleValue(amt)}[p])
		}
		engine.Prepare(in, e)
		if v := engine.Step(s, in); v.Outcome != transforms.Applied {
			r.Fatalf("%+v", v)
		}
	}
	return engine, s
}

const base = 1_772_000_000 * schemas.Second / 60 * 60

func write(engine *transforms.View, entity string, s *transforms.State) marker.Write {
	st := engine.Encode(s)
	return marker.Write{Entity: entity, Served: st.Served, Old: st.Old, Open: st.Open}
}

// proxy stands between client and server. At the next EXEC it breaks the
// connection: before the server sees it, or before the client hears of it.
type proxy struct {
	net.Listener
	to   string
	mu   sync.Mutex
	mode string // "", "before" or "after"
	wg   sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); p.wg.Wait() })
	return p
}

func (p *proxy) arm(mode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
}

func (p *proxy) take(b []byte) string {
	if !bytes.Contains(bytes.ToLower(b), []byte("$4\r\nexec")) {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	mode := p.mode
	p.mode = ""
	return mode
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	var mu sync.Mutex
	deaf := false
	p.wg.Go(func() { // replies
		defer client.Close()
		buf := make([]byte, 1<<16)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			gone := deaf
			mu.Unlock()
			if gone {
				return // the server has answered
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		switch p.take(buf[:n]) {
		case "before":
			return
		case "after":
			mu.Lock()
			deaf = true
			mu.Unlock()
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}
