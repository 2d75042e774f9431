//go:build real

package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	real "github.com/tallystick/tallystick/integration/servers"
)

// R1, B2: tables on a real S3 server by their URL: replay writes them and counts
// its calls, reconcile finds them equal, a lost file is written again and a damaged one put
// back, gc has nothing to remove; where the store is not there, or refuses, each says so.
func TestTablesOnS3(t *testing.T) {
	server, err := real.StartS3(t.Context())
	real.Check(t, err)
	t.Cleanup(server.Close)
	server.Setenv(t)
	x := newReconcileRig(t)
	x.fill()
	url := "s3://" + server.Bucket + "/features"
	log := []string{"-f", filepath.Join(x.dir, "v.yaml"), "--brokers", x.common().brokers}
	redis := []string{"--redis", x.redis.Addr()}
	with := func(args ...[]string) (all []string) {
		for _, a := range args {
			all = append(all, a...)
		}
		return all
	}
	tally(t, exitOK, with([]string{"stream", "--until", "end"}, log, redis)...)
	replay := with([]string{"replay", "--out", url}, log)
	_, text := tally(t, exitFailed, with([]string{"reconcile", "--out", url}, log, redis)...)
	if !strings.Contains(text, "nothing has been published in "+url) {
		t.Errorf("%s", text)
	}

	text, _ = tally(t, exitOK, with(replay, []string{"--json"})...)
	var out replayOutput
	if err := json.Unmarshal([]byte(text), &out); err != nil || out.Calls == nil || out.Calls.Put == 0 || out.Calls.Copy == 0 || out.Calls.Get == 0 || out.Root != url {
		t.Errorf("%v: %+v", err, out.Calls)
	}
	text, _ = tally(t, exitOK, with(replay, []string{"--store-rate", "1000"})...)
	if !strings.Contains(text, "tables in "+url+"; ") || !strings.Contains(text, " calls to their store: ") {
		t.Errorf("%s", text)
	}
	text, _ = tally(t, exitOK, with([]string{"reconcile", "--out", url}, log, redis)...)
	if !strings.Contains(text, "equal, to the bit: ") {
		t.Errorf("%s", text)
	}
	keys, err := server.Keys(t.Context(), "features/")
	real.Check(t, err)
	i := slices.IndexFunc(keys, func(k string) bool { return strings.Contains(k, "/tiles/event_date=2026-03-02/") })
	real.Check(t, server.Remove(t.Context(), keys[i]))
	tally(t, exitFailed, with([]string{"reconcile", "--out", url}, log, redis)...)
	tally(t, exitOK, with(replay, []string{"--from-date", "2026-03-02", "--to-date", "2026-03-02"})...)
	healed, err := server.Keys(t.Context(), "features/")
	if err != nil || !slices.Contains(healed, keys[i]) {
		t.Errorf("%s is not there again: %v", keys[i], err)
	}
	text, _ = tally(t, exitOK, with([]string{"reconcile", "--out", url}, log, redis)...)
	if !strings.Contains(text, "equal, to the bit: ") {
		t.Errorf("%s", text)
	}
	for _, table := range []string{"/open/", "/tiles/", "/features/"} { // damaged, but as long as it was: the newest of each
		last := ""
		for _, k := range keys {
			if strings.Contains(k, table+"event_date=") {
				last = max(last, k)
			}
		}
		was, err := server.Get(t.Context(), last)
		real.Check(t, err)
		damaged := bytes.Clone(was)
		damaged[len(was)/2] ^= 1
		real.Check(t, server.Put(t.Context(), last, damaged))
		tally(t, exitOK, replay...)
		if is, err := server.Get(t.Context(), last); err != nil || !bytes.Equal(is, was) {
			t.Errorf("%s was damaged, and is not put back: %v", last, err)
		}
	}
	text, _ = tally(t, exitOK, with(replay, []string{"--json"})...)
	if err := json.Unmarshal([]byte(text), &out); err != nil || out.Calls.Copy != 0 {
		t.Errorf("what stands there is copied again: %v, %+v", err, out.Calls)
	}
	text, _ = tally(t, exitOK, "gc", "--out", url, "--store-rate", "10000")
	if strings.Count(text, "removed: 0 files (0 bytes), 0 killed runs, 0 uploads") != 4 {
		t.Errorf("%s", text)
	}

	t.Setenv("AWS_SECRET_ACCESS_KEY", "no-such-secret")
	_, text = tally(t, exitFailed, replay...)
	if !strings.Contains(text, "denies access") || strings.Contains(text, "no-such-secret") || strings.Count(text, "\n") != 1 {
		t.Errorf("%s", text)
	}
	server.Kill()
	_, text = tally(t, exitFailed, replay...)
	if !strings.Contains(text, "cannot be reached (connection refused): check AWS_ENDPOINT_URL") {
		t.Errorf("%s", text)
	}
}
