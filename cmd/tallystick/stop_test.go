package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
)

// sluice stands between clients and a server. Closed, it takes what clients send
// and passes nothing on: the server is there and does not answer.
type sluice struct {
	net.Listener
	to string

	mu    sync.Mutex
	cond  *sync.Cond
	shut  bool
	slow  time.Duration // by which each answer is late
	held  bytes.Buffer  // what clients sent while it was closed
	conns []net.Conn
	over  chan struct{} // closed at the end of the test
}

func newSluice(t *testing.T, to string) *sluice {
	t.Helper()
	testbed.Inside(t, to)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &sluice{Listener: l, to: to, over: make(chan struct{})}
	g.cond = sync.NewCond(&g.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			g.mu.Lock()
			g.conns = append(g.conns, client, server)
			g.mu.Unlock()
			wg.Go(func() { g.pass(client, server, true) })
			wg.Go(func() { g.pass(server, client, false) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(g.over)
		g.set(false)
		g.mu.Lock()
		for _, c := range g.conns {
			c.Close()
		}
		g.mu.Unlock()
		wg.Wait()
	})
	return g
}

func (g *sluice) pass(from, to net.Conn, client bool) {
	defer to.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		g.mu.Lock()
		if g.shut && client {
			g.held.Write(buf[:n])
		}
		for g.shut {
			g.cond.Wait()
		}
		slow := g.slow
		g.mu.Unlock()
		if !client && slow > 0 {
			select { // it is what is tested: a slow server
			case <-time.After(slow):
			case <-g.over:
				return
			}
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (g *sluice) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.cond.Broadcast()
}

func (g *sluice) asked(word string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return bytes.Contains(bytes.ToLower(g.held.Bytes()), []byte(word))
}

// A signal ends the stream: what it holds is written, its lag is told, and the
// exit code is 0. Where Redis is there and does not answer, it ends all the same,
// within 10 s, and says what that means; the next start makes it good.
func TestStops(t *testing.T) {
	log, producer := filled(t)
	redis := testbed.Redis(t)
	g := newSluice(t, redis.Addr())
	args := slices.Concat([]string{"stream", "--redis", g.Addr().String()}, log)
	d := runs(t, args...)
	d.caughtUp(300)
	again(t, producer, "orders", 50)
	d.until("more is read", func() bool { n, _ := d.sum("tallystick_stream_records", `view="customers"`); return n == 350 })
	if code, took := d.ends(); code != exitOK || took > 5*time.Second || !strings.Contains(d.out.String(), "view customers (fingerprint ") {
		t.Errorf("exit %d after %v: %s%s", code, took, d.errs.String(), d.out.String())
	}

	d = runs(t, args...)
	d.caughtUp(350)
	g.set(true)
	again(t, producer, "orders", 50)
	// The sluice sees what a connection is asked first, which need not be the write.
	d.until("a write is under way", func() bool {
		return g.asked("watch") || strings.Contains(d.errs.String(), "cannot be written")
	})
	code, took := d.ends()
	if code != exitFailed || took > 10*time.Second {
		t.Errorf("exit %d after %v", code, took)
	}
	if text := d.errs.String(); !strings.Contains(text, "the next start reads again what it lacks") && !strings.Contains(text, errGivenUp.Error()) {
		t.Errorf("nothing is said of what was not written: %s", text)
	}
	t.Logf("with a Redis that does not answer it ended after %v", took)

	g.set(false)
	d = runs(t, args...)
	d.caughtUp(400)
	d.ends()
}

// again appends copies of the first record of a topic.
func again(t *testing.T, producer *kgo.Client, topic string, n int) {
	t.Helper()
	reader, err := kgo.NewClient(append(testbed.KafkaOptions(), kgo.SeedBrokers(producer.OptValue(kgo.SeedBrokers).([]string)...), kgo.ConsumeTopics(topic))...)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	first := reader.PollRecords(t.Context(), 1).Records()
	if len(first) != 1 {
		t.Fatal("the topic is empty")
	}
	for range n {
		r := &kgo.Record{Topic: topic, Partition: first[0].Partition, Key: first[0].Key, Value: first[0].Value}
		if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// What follows upon a signal ends within its time, each step at its longest: the
// last write, the lag, the group left, the source closed, the report.
func TestStopTimes(t *testing.T) {
	const closing = time.Second // franz-go's bound
	if all := drainTime + partingTime + partingTime + closing + partingTime; all > stopTime || stopTime >= 10*time.Second {
		t.Errorf("%v, of %v", all, stopTime)
	}
}

func TestWithin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	want := errors.New("its own")
	if err := within(ctx, time.Hour, func() error { return want }); err != want {
		t.Error(err)
	}
	cancel()
	if err := within(ctx, time.Hour, func() error { return want }); err != want {
		t.Errorf("what ends in time: %v", err)
	}
	hang := make(chan struct{})
	defer close(hang)
	if err := within(ctx, time.Millisecond, func() error { <-hang; return nil }); err != errGivenUp {
		t.Errorf("what hangs: %v", err)
	}
}

// late makes every answer come that much later.
func (g *sluice) late(by time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slow = by
}
