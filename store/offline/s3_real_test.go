//go:build real

package offline

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/servers"
)

// s3Rig is a real S3 server.
type s3Rig struct {
	*servers.S3
	n atomic.Int64
}

// root returns one that nobody else uses.
func (x *s3Rig) root(t *testing.T, opt RootOptions) *Root {
	t.Helper()
	return x.at(t, x.name(), opt)
}

func (x *s3Rig) name() string { return fmt.Sprintf("s3://%s/run/%d", x.Bucket, x.n.Add(1)) }

func (x *s3Rig) at(t *testing.T, name string, opt RootOptions) *Root {
	t.Helper()
	r, err := OpenRoot(name, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// TestS3 is all that a directory does, on a real S3 server.
func TestS3(t *testing.T) {
	server, err := servers.StartS3(t.Context())
	servers.Check(t, err)
	t.Cleanup(server.Close)
	server.Setenv(t)
	x := &s3Rig{S3: server}
	t.Run("conforms", func(t *testing.T) {
		conformance(t, func(t *testing.T) Store {
			s, err := x.root(t, RootOptions{Calls: NewCalls(0)}).store("v", "features")
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
	t.Run("gc", func(t *testing.T) { testGC(t, x.root(t, RootOptions{})) })
	t.Run("uploads that nobody ends", x.unfinished)
	t.Run("publishes", x.publishes)
	t.Run("cut off", x.cutOff)
	t.Run("denied", x.denied)
}

// B1: the same files, byte for byte, as in a directory, and they read the same.
func (x *s3Rig) publishes(t *testing.T) {
	v := testView(t, testDefinition)
	dir, url := t.TempDir(), x.name()
	calls := NewCalls(0)
	remote, err := x.at(t, url, RootOptions{Calls: calls, Scratch: t.TempDir()}).Tables(v)
	if err != nil {
		t.Fatal(err)
	}
	local := openTables(t, dir, v)
	for i := range int64(3) {
		r := randomRun(v, uint64(i), 5)
		for _, tables := range []*Tables{local, remote} {
			if _, err := r.publish(t, tables, publishOptions{end: i + 1}); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := readBack(t, local).String(), readBack(t, remote).String(); a != b {
			t.Fatal("B1: what lies on S3 reads otherwise")
		}
	}
	prefix := strings.TrimPrefix(url, "s3://"+x.Bucket+"/")
	keys, err := x.Keys(t.Context(), prefix+"/")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, key := range keys {
		name := strings.TrimPrefix(key, prefix+"/")
		table, rest, _ := strings.Cut(strings.TrimPrefix(name, "v/"), "/")
		got, err := remote.tables[TableName(table)].store.Read(t.Context(), rest)
		want, err2 := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("B1: %s differs from the directory's file: %v, %v", name, err, err2)
		}
		files++
	}
	if n := calls.Counts(); files < 20 || n.Put == 0 || n.Copy == 0 || n.Get == 0 || n.Delete == 0 {
		t.Errorf("%d files, %+v", files, n)
	}
}

// An upload that was killed shows nothing, and GC takes what it left once it is old.
func (x *s3Rig) unfinished(t *testing.T) {
	root := x.root(t, RootOptions{})
	g := newGCRig(t, root)
	last := g.publish(1, 3, 1)
	before := g.files()
	store := g.tables.tables[Tiles].store
	u, err := store.Create(t.Context(), staging+"/killed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, 3*partSize)); err != nil {
		t.Fatal(err)
	}
	if left := listed(t, store, staging); left != "" || !maps.Equal(g.files(), before) || readBack(t, g.tables).String() != last.sorted().String() {
		t.Errorf("half an upload is seen: %q", left)
	}
	for after, want := range map[time.Duration]int64{6 * day: 0, 8 * day: 1} {
		if c := g.gc(after, true)["tiles"]; c.Uploads != want {
			t.Errorf("after %v: %+v", after, c)
		}
	}
	if c := g.gc(8*day, false)["tiles"]; c.Uploads != 1 {
		t.Errorf("%+v", c)
	}
	if c := g.gc(8*day, false)["tiles"]; c.Uploads != 0 {
		t.Errorf("it stays: %+v", c)
	}
	if err := u.Commit(t.Context(), "event_date=x/1"); err == nil {
		t.Error("an upload that was given up is committed")
	}
	u.Abort()
}

// cutProxy forwards a number of requests, and then breaks every connection.
func (x *s3Rig) cutProxy(t *testing.T, left *atomic.Int64) string {
	t.Helper()
	to, err := url.Parse(x.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // which is signed
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left.Add(-1) < 0 {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// B2, B4: a store that goes away at any request ends the run with an error that
// says so; the tables are at one publication, the old or the new, and the rerun
// goes on.
func (x *s3Rig) cutOff(t *testing.T) {
	v := testView(t, testDefinition)
	old, next := randomRun(v, 1, 1), randomRun(v, 2, 2)
	var left atomic.Int64
	proxy := x.cutProxy(t, &left)
	step, failed := int64(7), 0
	if testing.Short() {
		step = 23
	}
	for n := int64(0); ; n += step {
		name := x.name()
		direct, err := x.at(t, name, RootOptions{}).Tables(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := old.publish(t, direct, publishOptions{end: 1}); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_ENDPOINT_URL", proxy)
		through, err := x.at(t, name, RootOptions{attempts: 1}).Tables(v)
		if err != nil {
			t.Fatal(err)
		}
		left.Store(n)
		_, err = next.publish(t, through, publishOptions{end: 2})
		x.Setenv(t)
		got := readBack(t, direct).String()
		var e *StoreError
		switch {
		case err == nil && got == next.sorted().String():
			if failed < 3 {
				t.Errorf("cut off %d times only", failed)
			}
			t.Logf("%d requests", n)
			return
		case !errors.As(err, &e) || e.Fault != Unreachable && e.Fault != Busy: // a proxy that loses its server may say 502
			t.Fatalf("cut off after %d requests: %v", n, err)
		case got != old.sorted().String() && got != next.sorted().String():
			t.Fatalf("B2: cut off after %d requests (%v): the tables are at no publication", n, err)
		}
		failed++
		if _, err := next.publish(t, direct, publishOptions{end: 2}); err != nil {
			t.Fatalf("B4: the rerun after %d requests: %v", n, err)
		}
		if got := readBack(t, direct).String(); got != next.sorted().String() {
			t.Fatalf("B4: the rerun after %d requests reads otherwise", n)
		}
		for _, table := range direct.tables {
			if left := listed(t, table.store, staging); left != "" {
				t.Errorf("cut off after %d requests: %q stays staged", n, left)
			}
		}
	}
}

// A wrong key and a missing bucket are told by a real server as by ours.
func (x *s3Rig) denied(t *testing.T) {
	v := testView(t, testDefinition)
	publish := func(name string) error {
		tables, err := x.at(t, name, RootOptions{}).Tables(v)
		if err != nil {
			t.Fatal(err)
		}
		_, err = randomRun(v, 1, 1).publish(t, tables, publishOptions{end: 1})
		return err
	}
	var e *StoreError
	if err := publish("s3://no-such-bucket/x"); !errors.As(err, &e) || e.Fault != NoBucket {
		t.Errorf("no bucket: %v", err)
	}
	name := x.name()
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
	if err := publish(name); !errors.As(err, &e) || e.Fault != Denied || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("wrong secret: %v", err)
	}
	x.Setenv(t)
	if keys, err := x.Keys(t.Context(), strings.TrimPrefix(name, "s3://"+x.Bucket+"/")); err != nil || len(keys) > 0 {
		t.Errorf("%v is written, %v", keys, err)
	}
}
