package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
)

// A daemon goes on after a round that failed and tells it; interrupted, its
// outcome is that of the last whole round, of which a first one that was cut short
// is none; wrong input ends it.
func TestRounds(t *testing.T) {
	e := everyFlag{every: time.Millisecond}
	away, differ := errors.New("away"), &exitError{exitDiffers, errors.New("differ")}
	for name, c := range map[string]struct {
		rounds  []error // the last one is interrupted
		want    error
		notices int
	}{
		"goes on":     {[]error{nil, away, nil, context.Canceled}, nil, 1},
		"last fails":  {[]error{nil, away, differ, context.Canceled}, differ, 2},
		"wrong input": {[]error{nil, usagef("bad"), nil}, usagef("bad"), 0},
		"at once":     {[]error{context.Canceled}, context.Canceled, 0},
		"failed":      {[]error{away, context.Canceled}, away, 1},
		"a verdict":   {[]error{nil, differ}, differ, 1},
		"in time":     {[]error{differ, nil}, nil, 1},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var notices strings.Builder
		n := 0
		err := e.rounds(ctx, &notices, func(context.Context) error {
			n++
			if n == len(c.rounds) {
				cancel()
			}
			return c.rounds[n-1]
		})
		cancel()
		if (err == nil) != (c.want == nil) || err != nil && err.Error() != c.want.Error() {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if got := strings.Count(notices.String(), "\n"); got != c.notices {
			t.Errorf("%s: %d notices, want %d: %s", name, got, c.notices, notices.String())
		}
	}
}

// The services of docker-compose.yml, in one process: samples are filled in,
// stream follows the log, replay and reconcile begin anew until interrupted.
func TestDaemons(t *testing.T) {
	file := initialised(t)
	kafka, redis := testbed.Kafka(t), testbed.Redis(t)
	log := []string{"-f", file, "--brokers", strings.Join(kafka.ListenAddrs(), ",")}
	out := filepath.Join(t.TempDir(), "tables")
	if text, _ := tally(t, exitOK, append([]string{"fill", "--events", "3000", "--json"}, log...)...); !strings.Contains(text, `"orders": 3000`) {
		t.Errorf("fill: %s", text)
	}
	if text, _ := tally(t, exitOK, append([]string{"fill"}, log...)...); !strings.Contains(text, "nothing was appended") {
		t.Errorf("a second fill: %s", text)
	}
	cut := filepath.Join(t.TempDir(), "cut.json")
	tally(t, exitOK, append([]string{"cut", "-o", cut}, log...)...)
	tally(t, exitOK, append([]string{"stream", "--redis", redis.Addr(), "--until", cut}, log...)...)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	page := filepath.Join(t.TempDir(), "report.html")
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	var replayed, compared, notices strings.Builder
	codes := make(chan int, 2)
	go func() {
		codes <- run(ctx, append([]string{"replay", "--out", out, "--every", "1s"}, log...), &replayed, &notices)
	}()
	go func() {
		args := append([]string{"reconcile", "--out", out, "--every", "1s", "--html", page, "--redis", redis.Addr()}, log...)
		codes <- run(ctx, args, &compared, new(strings.Builder))
	}()
	for { // both have had a round that found what the other wrote
		b, _ := os.ReadFile(page)
		if strings.Count(string(b), "Equal, to the bit") == 2 {
			break
		}
		select {
		case code := <-codes:
			t.Fatalf("a daemon ended with %d: %s", code, notices.String())
		case <-ctx.Done():
			t.Fatalf("no verdict: %s", notices.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	cancel()
	for range 2 {
		if code := <-codes; code != exitOK {
			t.Errorf("interrupted, a daemon ends with %d: %s", code, notices.String())
		}
	}
}
