package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// flightsLog starts an embedded Kafka with the example's year.
func flightsLog(t *testing.T) *embeddedLog {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := startEmbeddedLog(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	for _, b := range e.brokers {
		if !strings.HasPrefix(b, "127.0.0.1:") {
			t.Fatalf("the embedded Kafka listens at %s, not on loopback", b)
		}
	}
	if _, err := e.fill(ctx, func(int) {}); err != nil {
		t.Fatal(err)
	}
	return e
}

// tally runs the program and returns its output.
func tally(t *testing.T, wantCode int, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, args, &out, &errs); code != wantCode {
		t.Fatalf("tallystick %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, wantCode, &out, &errs)
	}
	return out.String(), errs.String()
}

func TestTrainFlights(t *testing.T) {
	e := flightsLog(t)
	dir := t.TempDir()
	labels := filepath.Join(dir, "labels.csv")
	if err := os.WriteFile(labels, []byte("dest,tailnum,origin,ts,y\nMIA,N619AA,JFK,2013-02-09T12:00:00Z,1\nXXX,N0,LGA,2013-05-01T00:00:00Z,0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"complete", "arrival"} {
		out, _ := tally(t, exitOK, "train", "-f", "../../examples/flights/tallystick.yaml", "--brokers", strings.Join(e.brokers, ","),
			"--service", "departure_model", "--labels", labels, "-o", filepath.Join(dir, "out.parquet"), "--knowledge", k)
		t.Log(out)
	}
}
