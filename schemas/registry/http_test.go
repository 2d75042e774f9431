package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake mimics the Confluent API: answers by path, and how often each was asked.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string][]answer // the last one stays
	asked   map[string]int
	auth    string
	hold    chan struct{} // if set, requests wait for it
}

type answer struct {
	status int
	body   string
}

func ok(fields map[string]any) []answer {
	b, _ := json.Marshal(fields)
	return []answer{{200, string(b)}}
}

func newFake(t *testing.T, answers map[string][]answer) *fake {
	f := &fake{answers: answers, asked: map[string]int{}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.hold != nil {
			select {
			case <-f.hold:
			case <-r.Context().Done():
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		path := r.URL.Path
		f.asked[path]++
		f.auth = r.Header.Get("Authorization")
		list, known := f.answers[path]
		if !known {
			list = []answer{{404, `{"error_code":40403,"message":"Schema not found"}`}}
		}
		if len(list) > 1 {
			f.answers[path] = list[1:]
		}
		w.WriteHeader(list[0].status)
		fmt.Fprint(w, list[0].body)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) resolver(t *testing.T, address string) *Registry {
	t.Helper()
	r, err := FromRegistry(address, WithHTTPClient(f.Client()), WithRetries(3, time.Microsecond))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// S1: by id, named after its subject, asked for once.
func TestRegistryByID(t *testing.T) {
	f := newFake(t, map[string][]answer{
		"/schemas/ids/7":          ok(map[string]any{"schema": trip}),
		"/schemas/ids/7/versions": {{200, `[{"subject":"trips-value","version":3},{"subject":"b","version":1},{"subject":"b","version":0}]`}},
		"/schemas/ids/8":          ok(map[string]any{"schema": trip, "schemaType": "AVRO"}),
	})
	r := f.resolver(t, f.URL)
	for range 3 {
		if w, err := r.Writer(context.Background(), 7); err != nil || w.ID != 7 || w.Name != "b@0" || w.Schema.FullName() != "x.Trip" {
			t.Fatalf("Writer gives %+v, %v", w, err)
		}
	}
	if w, err := r.Writer(context.Background(), 8); err != nil || w.Name != "x.Trip" {
		t.Errorf("without versions: %+v, %v", w, err)
	}
	if f.asked["/schemas/ids/7"] != 1 {
		t.Errorf("asked %d times", f.asked["/schemas/ids/7"])
	}
}

// Definitive errors are not retried; a 404 that no registry wrote is not one.
func TestRegistryErrors(t *testing.T) {
	f := newFake(t, map[string][]answer{
		"/schemas/ids/2": {{404, `<html>nothing here</html>`}},
		"/schemas/ids/3": {{401, `{"error_code":401,"message":"Unauthorized"}`}},
		"/schemas/ids/4": {{500, strings.Repeat("x", 1000)}},
		"/schemas/ids/5": ok(map[string]any{"schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF"}),
		"/schemas/ids/6": ok(map[string]any{"schema": `"integer"`}),
		"/schemas/ids/9": {{503, ""}, {500, ""}, {200, ok(map[string]any{"schema": trip})[0].body}},
	})
	r := f.resolver(t, f.URL)
	cases := []struct {
		id    int
		kind  error
		says  string
		asked int
	}{{1, ErrUnknownID, "another Schema Registry", 1}, {2, nil, "is this the URL", 1}, {3, nil, "user and password", 1}, {4, nil, "status 500", 3},
		{5, ErrUnusable, "PROTOBUF", 1}, {6, ErrUnusable, "unknown type", 1}}
	for _, c := range cases {
		_, err := r.Writer(context.Background(), c.id)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), f.URL) || len(err.Error()) > 600 {
			t.Fatalf("id %d: error is %v, want one with %q", c.id, err, c.says)
		}
		for _, kind := range []error{ErrUnknownID, ErrUnusable} {
			if errors.Is(err, kind) != (kind == c.kind) {
				t.Errorf("id %d: is %v: %v", c.id, kind, err)
			}
		}
		if n := f.asked[fmt.Sprintf("/schemas/ids/%d", c.id)]; n != c.asked {
			t.Errorf("id %d: asked %d times, want %d", c.id, n, c.asked)
		}
	}
	if _, err := r.Writer(context.Background(), 3); !errors.Is(err, ErrDenied) {
		t.Errorf("status 401: %v, want ErrDenied", err)
	}
	if _, err := r.Writer(context.Background(), 9); err != nil {
		t.Errorf("after two failures: %v", err)
	}
	// An id unknown now may be registered later.
	f.mu.Lock()
	f.answers["/schemas/ids/1"] = ok(map[string]any{"schema": trip})
	f.mu.Unlock()
	if _, err := r.Writer(context.Background(), 1); err != nil {
		t.Errorf("registered meanwhile: %v", err)
	}
}

// Of a registry that is not there the address is said once, and what to look at.
func TestRegistryIsAway(t *testing.T) {
	f := newFake(t, nil)
	r := f.resolver(t, f.URL)
	f.Close()
	_, err := r.Writer(context.Background(), 1)
	if err == nil || strings.Count(err.Error(), f.URL) != 1 || !strings.HasSuffix(err.Error(), "; is the registry there, and this its address?") {
		t.Errorf("%v", err)
	}
}

// A name decides which rules apply: it is not made up when asking for it fails.
func TestRegistryNameIsNotGuessed(t *testing.T) {
	f := newFake(t, map[string][]answer{
		"/schemas/ids/7":          ok(map[string]any{"schema": trip}),
		"/schemas/ids/7/versions": {{500, ""}},
	})
	if w, err := f.resolver(t, f.URL).Writer(context.Background(), 7); err == nil || errors.Is(err, ErrUnknownID) || errors.Is(err, ErrUnusable) {
		t.Errorf("Writer gives %+v, %v", w, err)
	}
}

// S1: references are fetched, innermost first, each once.
func TestRegistryReferences(t *testing.T) {
	ref := func(name, subject string, version int) map[string]any {
		return map[string]any{"name": name, "subject": subject, "version": version}
	}
	tier := `{"type":"enum","name":"x.Tier","symbols":["A"]}`
	rider := `{"type":"record","name":"x.Rider","fields":[{"name":"tier","type":"Tier"}]}`
	ride := `{"type":"record","name":"x.Ride","fields":[{"name":"rider","type":"Rider"},{"name":"tier","type":"x.Tier"}]}`
	f := newFake(t, map[string][]answer{
		"/schemas/ids/7":             ok(map[string]any{"schema": ride, "references": []any{ref("x.Rider", "rider", 1), ref("x.Tier", "tier", 2)}}),
		"/subjects/rider/versions/1": ok(map[string]any{"schema": rider, "references": []any{ref("x.Tier", "tier", 2)}}),
		"/subjects/tier/versions/2":  ok(map[string]any{"schema": tier}),
		"/schemas/ids/8":             ok(map[string]any{"schema": ride, "references": []any{ref("x.Rider", "none", 1)}}),
		"/schemas/ids/9":             ok(map[string]any{"schema": ride, "references": []any{ref("a", "loop", 1)}}),
		"/subjects/loop/versions/1":  ok(map[string]any{"schema": rider, "references": []any{ref("a", "loop", 1)}}),
	})
	r := f.resolver(t, f.URL)
	w, err := r.Writer(context.Background(), 7)
	if err != nil || strings.Join(w.Schema.Paths(), " ") != "rider.tier tier" {
		t.Fatalf("Writer gives %+v, %v", w, err)
	}
	if n := f.asked["/subjects/tier/versions/2"]; n != 1 {
		t.Errorf("the tier was asked for %d times", n)
	}
	for id, says := range map[int]string{8: "none@1", 9: "circle"} {
		if _, err := r.Writer(context.Background(), id); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), says) {
			t.Errorf("id %d: error is %v, want one with %q", id, err, says)
		}
	}
}

// User and password are sent and never shown.
func TestRegistryKeepsSecrets(t *testing.T) {
	f := newFake(t, map[string][]answer{"/schemas/ids/7": {{500, ""}}})
	r := f.resolver(t, strings.Replace(f.URL, "http://", "http://ann:s3cret@", 1))
	_, err := r.Writer(context.Background(), 7)
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error is %v", err)
	}
	if f.auth == "" {
		t.Error("no authorization was sent")
	}
	f.Close()
	if _, err := r.Writer(context.Background(), 7); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error is %v", err)
	}
	for _, address := range []string{"", "localhost:8081", "ftp://x", "http://ann:s3cret@[::1", "http://ann:s3cret@h:p", "http://h/?key=s3cret", "http://ann:s3c\x7fret@h"} {
		if _, err := FromRegistry(address); err == nil || strings.Contains(err.Error(), "s3c") {
			t.Errorf("%q: error is %v", address, err)
		}
	}
}

// Many callers share one request; one that gives up does not fail the others.
func TestRegistrySingleFlight(t *testing.T) {
	f := newFake(t, map[string][]answer{"/schemas/ids/7": ok(map[string]any{"schema": trip})})
	f.hold = make(chan struct{})
	r := f.resolver(t, f.URL)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Writer(gone, 7); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	var wg sync.WaitGroup
	var started, failed atomic.Int32
	for range 8 {
		wg.Go(func() {
			if started.Add(1) == 8 {
				close(f.hold)
			}
			if _, err := r.Writer(context.Background(), 7); err != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 || f.asked["/schemas/ids/7"] != 1 {
		t.Errorf("%d failed, asked %d times", failed.Load(), f.asked["/schemas/ids/7"])
	}
}

// A caller waiting for another's request takes over when that one gives up.
func TestRegistryTakesOver(t *testing.T) {
	f := newFake(t, map[string][]answer{"/schemas/ids/7": ok(map[string]any{"schema": trip})})
	f.hold = make(chan struct{})
	r := f.resolver(t, f.URL)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Writer(ctx, 7) })
	for leading := false; !leading; {
		r.mu.Lock()
		leading = r.byID[7] != nil
		r.mu.Unlock()
	}
	wg.Go(func() {
		if _, err := r.Writer(context.Background(), 7); err != nil {
			t.Error(err)
		}
	})
	cancel()
	close(f.hold)
	wg.Wait()
}
