package offline

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// s3Env makes an endpoint the one that S3 URLs of this test go to.
func s3Env(t *testing.T, endpoint string) {
	t.Helper()
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_S3": "", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_SESSION_TOKEN": "",
		"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": "", "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"), "AWS_PROFILE": ""} {
		t.Setenv(k, v)
	}
}

// answers is a server that answers every request alike.
func answers(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	s3Env(t, s.URL)
}

func refuses(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
			Message string
		}{Code: code, Message: "says the server"})
	}
}

func testS3(t *testing.T, opt RootOptions) Store {
	t.Helper()
	opt.attempts = cmp.Or(opt.attempts, 2)
	r, err := OpenRoot("s3://tables/p", opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	s, err := r.store("v", "features")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// everyCall calls all methods of a store and returns their errors.
func everyCall(t *testing.T, s Store) map[string]error {
	t.Helper()
	ctx, out := t.Context(), map[string]error{}
	_, out["Read"] = s.Read(ctx, "a")
	out["PutIfAbsent"] = s.PutIfAbsent(ctx, "a", []byte("x"))
	b, err := s.Open(ctx, "a")
	if out["Open"] = err; err != nil && b != nil {
		t.Error("Open: a file comes with an error, and is closed twice")
	}
	_, out["Stat"] = s.Stat(ctx, "a")
	_, out["List"] = s.List(ctx, "a")
	out["Move"] = s.Move(ctx, "a", "b")
	out["Touch"] = s.Touch(ctx, "a")
	out["Remove"] = s.Remove(ctx, "a")
	out["RemoveAll"] = s.RemoveAll(ctx, "a")
	for _, size := range []int{1, partSize + 1} {
		u, err := s.Create(ctx, "_staging/run")
		if err == nil {
			if _, err = u.Write(make([]byte, size)); err == nil {
				err = u.Commit(ctx, "a")
			}
			u.Abort()
		}
		out[fmt.Sprint("upload of ", size)] = err
	}
	return out
}

// What a store refuses is told by its kind, in one sentence, with what to do, and
// without a secret (README: errors).
func TestS3Faults(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	for name, c := range map[string]struct {
		begin func(*testing.T)
		fault Fault
		says  string
		anon  bool
	}{
		"unreachable": {func(t *testing.T) { s3Env(t, "http://"+dead.Addr().String()) }, Unreachable, "connection refused): check AWS_ENDPOINT_URL", false},
		"denied":      {func(t *testing.T) { answers(t, refuses(403, "AccessDenied")) }, Denied, "check AWS_ACCESS_KEY_ID", false},
		"wrong key":   {func(t *testing.T) { answers(t, refuses(403, "SignatureDoesNotMatch")) }, Denied, "check AWS_ACCESS_KEY_ID", false},
		"expired":     {func(t *testing.T) { answers(t, refuses(400, "ExpiredToken")) }, Denied, "check AWS_ACCESS_KEY_ID", false},
		"unknown key": {func(t *testing.T) { answers(t, refuses(404, "InvalidAccessKeyId")) }, Denied, "check AWS_ACCESS_KEY_ID", false},
		"no credentials": {func(t *testing.T) {
			answers(t, refuses(403, "AccessDenied"))
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		}, Denied, "no credentials were found", true},
		"no bucket": {func(t *testing.T) { answers(t, refuses(404, "NoSuchBucket")) }, NoBucket, "create the bucket", false},
		"busy":      {func(t *testing.T) { answers(t, refuses(503, "SlowDown")) }, Busy, "--store-rate", false},
		"broken":    {func(t *testing.T) { answers(t, refuses(500, "InternalError")) }, Busy, "later", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.begin(t)
			for call, err := range everyCall(t, testS3(t, RootOptions{attempts: 1})) {
				var e *StoreError
				if (name == "no bucket" || name == "expired" || name == "unknown key") && call == "Stat" { // the answer to a HEAD has no body that says so
					continue
				}
				if !errors.As(err, &e) || e.Fault != c.fault || e.Anonymous != c.anon || !strings.Contains(err.Error(), c.says) ||
					strings.Contains(err.Error(), "testsecret") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

// B2: a store that overwrites in spite of If-None-Match is refused before a commit.
func TestS3Unconditional(t *testing.T) {
	var puts atomic.Int64
	answers(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && !strings.Contains(r.URL.Path, "probe-") {
			puts.Add(1)
		}
		w.WriteHeader(map[string]int{http.MethodPut: 200, http.MethodDelete: 204}[r.Method])
	})
	var e *StoreError
	if err := testS3(t, RootOptions{}).PutIfAbsent(t.Context(), logName(0), []byte("x")); !errors.As(err, &e) || e.Fault != Unconditional || puts.Load() != 0 {
		t.Errorf("B2: %v, %d commits", err, puts.Load())
	}
}

// A commit whose answer is lost is put again, is then found, and is ours: success.
func TestS3LostAnswer(t *testing.T) {
	objects := map[string][]byte{}
	var mu sync.Mutex
	lost := false
	answers(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		old, there := objects[r.URL.Path]
		switch {
		case r.Method == http.MethodDelete:
			delete(objects, r.URL.Path)
			w.WriteHeader(204)
		case r.Method == http.MethodGet && there:
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			w.Write(old)
		case r.Method == http.MethodGet:
			refuses(404, "NoSuchKey")(w, r)
		case there:
			refuses(412, "PreconditionFailed")(w, r)
		default:
			text := chunked(r)
			objects[r.URL.Path] = text
			if strings.Contains(r.URL.Path, "_delta_log") && !lost {
				lost = true
				panic(http.ErrAbortHandler) // the connection ends
			}
		}
	})
	table := NewTable(testS3(t, RootOptions{}), "t")
	base := &Snapshot{Version: -1}
	if v, err := table.Commit(t.Context(), base, Change{Info: "a", Metadata: testMetadata(t)}); v != 0 || err != nil || !lost {
		t.Errorf("B2: version %d, %v, lost %v", v, err, lost)
	}
	if _, err := table.Commit(t.Context(), base, Change{Info: "b", Metadata: testMetadata(t)}); !errors.Is(err, ErrConflict) {
		t.Errorf("B2: %v", err)
	}
}

// chunked reads a body that is signed chunk by chunk: SIZE;chunk-signature=…\r\nDATA\r\n.
func chunked(r *http.Request) []byte {
	b, _ := io.ReadAll(r.Body)
	var out []byte
	for text := string(b); ; {
		head, rest, ok := strings.Cut(text, "\r\n")
		var n int
		if _, err := fmt.Sscanf(head, "%x;", &n); !ok || err != nil {
			return b
		} else if n == 0 {
			return out
		}
		out = append(out, rest[:n]...)
		text = rest[n+2:]
	}
}

// A read whose connection breaks goes on where it was, and asks for the same object.
func TestS3BrokenRead(t *testing.T) {
	want := strings.Repeat("0123456789", 50_000)
	var ranges []string
	answers(t, func(w http.ResponseWriter, r *http.Request) {
		at := 0
		if h := r.Header.Get("Range"); h != "" {
			fmt.Sscanf(h, "bytes=%d-", &at)
			ranges = append(ranges, h+" "+r.Header.Get("If-Match"))
		}
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", fmt.Sprint(len(want)-at))
		if at > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(want)-1, len(want)))
			w.WriteHeader(206)
		}
		io.WriteString(w, want[at:min(len(want), at+200_000)])
	})
	scratch := t.TempDir()
	b, err := testS3(t, RootOptions{Scratch: scratch}).Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || string(got) != want || len(ranges) != 2 || !strings.HasSuffix(ranges[0], `"e"`) {
		t.Errorf("%d bytes, %v, ranges %q", len(got), err, ranges)
	}
	if left, _ := os.ReadDir(scratch); len(left) > 0 {
		t.Errorf("%d files stay in the scratch directory", len(left))
	}
}

// A server that says nothing more is given up, not waited for.
func TestS3Stall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		begin := time.Now()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/b/k", nil)
		_, err := (&watchedTransport{silent, NewCalls(0), s3Stall}).RoundTrip(req)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != s3Stall {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = (&watchedTransport{silent, NewCalls(0), s3Stall}).RoundTrip(req.WithContext(ctx))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's own end is told as %v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// B3: --store-rate holds: in no span of time are there more calls than it allows
// and one, whoever calls, a directory or a server's requests.
func TestStoreRateHolds(t *testing.T) {
	for _, rate := range []float64{0.5, 7, 100} {
		synctest.Test(t, func(t *testing.T) {
			calls := NewCalls(rate)
			var mu sync.Mutex
			var at []time.Time
			note := func() {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Now())
			}
			server := &watchedTransport{roundTrip(func(*http.Request) (*http.Response, error) {
				note()
				return &http.Response{Body: http.NoBody}, nil
			}), calls, s3Stall}
			dir := &counted{noted{note}, calls}
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					for range 20 {
						if res, err := server.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/b/k", nil)); err != nil {
							t.Error(err)
						} else {
							res.Body.Close()
						}
						if _, err := dir.Stat(t.Context(), "a"); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			for i := range at {
				for j := i; j < len(at); j++ {
					if span := at[j].Sub(at[i]).Seconds(); float64(j-i) > span*rate+1e-6 {
						t.Fatalf("B3: %d calls within %v s at %v a second", j-i+1, span, rate)
					}
				}
			}
			if n := calls.Counts(); len(at) != 200 || n.Get != 100 || n.Head != 100 || n.Total() != 200 {
				t.Errorf("%d calls, counted %+v", len(at), n)
			}
			if least, most := 199/rate, 199/rate*1.01+0.01; at[199].Sub(at[0]).Seconds() < least-1e-3 || at[199].Sub(at[0]).Seconds() > most {
				t.Errorf("200 calls took %v, want %v s", at[199].Sub(at[0]), least)
			}
		})
	}
	calls := NewCalls(0.001)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(calls.take(t.Context(), callGet), calls.take(ctx, callGet)); !errors.Is(err, context.Canceled) || calls.Counts().Total() != 1 {
		t.Errorf("a call that nobody waits for: %v, %+v", err, calls.Counts())
	}
}

// noted is a store that answers at once.
type noted struct{ note func() }

func (n noted) Stat(context.Context, string) (Entry, error)       { n.note(); return Entry{}, nil }
func (n noted) Read(context.Context, string) ([]byte, error)      { return nil, nil }
func (n noted) PutIfAbsent(context.Context, string, []byte) error { return nil }
func (n noted) Create(context.Context, string) (Upload, error)    { return nil, nil }
func (n noted) Move(context.Context, string, string) error        { return nil }
func (n noted) Touch(context.Context, string) error               { return nil }
func (n noted) Sync(context.Context, []string) error              { return nil }
func (n noted) Open(context.Context, string) (Blob, error)        { return nil, nil }
func (n noted) List(context.Context, string) ([]Entry, error)     { return nil, nil }
func (n noted) Remove(context.Context, string) error              { return nil }
func (n noted) RemoveAll(context.Context, string) error           { return nil }

// A root that is no place for tables is refused in one sentence.
func TestRoots(t *testing.T) {
	s3Env(t, "http://127.0.0.1:1")
	for root, says := range map[string]string{"s3://": "names no bucket", "s3:///x": "names no bucket", "gs://b/x": "s3://BUCKET/PREFIX", "s3:/b/x": "s3://BUCKET/PREFIX", "s3:b": "s3://BUCKET/PREFIX", "s3://b": "no name of a bucket", "s3://tables/a//b": "empty part",
		"s3://tables/a/../b": "..", "s3://key:secret@tables/x": "no @", "s3://tables/x?y=1": "key=value", "s3://tables/x?y": "no @, ? and #", "s3://tables/x%20y": "%", "s3://tables/ü": "ASCII", "s3://UP/x": "no name of a bucket"} {
		if _, err := OpenRoot(root, RootOptions{}); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", root, err)
		}
	}
	for _, root := range []string{"s3://tables", "s3://tables/", "s3://tables/a/b/"} {
		if _, err := OpenRoot(root, RootOptions{}); err != nil {
			t.Errorf("%s: %v", root, err)
		}
	}
	for _, endpoint := range []string{"127.0.0.1:9000", "ftp://127.0.0.1", "http://user:secret@127.0.0.1", "http://127.0.0.1/path", "http://"} {
		s3Env(t, endpoint)
		if _, err := OpenRoot("s3://tables/x", RootOptions{}); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	s3Env(t, "http://127.0.0.1:1")
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(t.TempDir(), "none"))
	if _, err := OpenRoot("s3://tables/x", RootOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
