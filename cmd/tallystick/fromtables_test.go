package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
)

// restoreRig is a reconcileRig that uses commands as they are typed.
type restoreRig struct {
	*reconcileRig
	admin *kadm.Client
	now   time.Time
	sent  int
}

func newRestoreRig(t *testing.T) *restoreRig {
	t.Helper()
	x := &restoreRig{reconcileRig: newReconcileRig(t), now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	x.admin = kadm.NewClient(testbed.Producer(t, x.kafka, ""))
	client := x.client()
	x.must(client.EnsureTopic(x.ctx, "ev", 2, map[string]string{"message.timestamp.after.max.ms": "3600000", "message.timestamp.before.max.ms": "3600000"}))
	return x
}

func (x *restoreRig) client() *log.Client {
	x.Helper()
	client, err := log.Open(x.ctx, log.Options{Brokers: x.kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
	x.must(err)
	x.Cleanup(client.Close)
	return client
}

// more appends n events, about half an hour apart.
func (x *restoreRig) more(n int) {
	x.Helper()
	client := x.client()
	for range n {
		x.now = x.now.Add(29 * time.Minute)
		e := testbed.Event{Ent: "e" + string(rune('0'+x.sent%4)), ID: "i" + x.now.Format(time.RFC3339), Ver: 1, ET: x.now.UnixMicro(), Amt: float64(x.sent)}
		_, err := client.Produce(x.ctx, "ev", int32(x.sent%2), log.Message{Value: e.Bytes(), Timestamp: x.now})
		x.must(err)
		x.sent++
	}
}

// truncate removes what the log has now.
func (x *restoreRig) truncate() (start int64) {
	x.Helper()
	cut, err := x.client().Cut(x.ctx, "ev")
	x.must(err)
	var gone kadm.Offsets
	for p, pc := range cut.Topics["ev"].Partitions {
		gone.AddOffset("ev", p, pc.End, -1)
		start = pc.End
	}
	_, err = x.admin.DeleteRecords(x.ctx, gone)
	x.must(err)
	return start
}

// file writes a definition with some text replaced.
func (x *restoreRig) file(name, old, new string) string {
	x.Helper()
	path := filepath.Join(x.dir, name)
	text := strings.Replace(reconcileDefinition, old, new, 1)
	if text == reconcileDefinition {
		x.Fatalf("the definition does not say %q", old)
	}
	x.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// does runs a command on a definition, "" = v.yaml, which must end with the code.
func (x *restoreRig) does(code int, file string, args ...string) (string, string) {
	x.Helper()
	if file == "" {
		file = filepath.Join(x.dir, "v.yaml")
	}
	args = append(slices.Clone(args), "-f", file)
	if args[0] != "get" && args[0] != "drop" {
		args = append(args, "--brokers", strings.Join(x.kafka.ListenAddrs(), ","))
	}
	if args[0] != "replay" {
		args = append(args, "--redis", x.redis.Addr())
	}
	if args[0] == "get" {
		args = slices.DeleteFunc(args, func(a string) bool { return a == "--brokers" })
	}
	return tally(x.T, code, args...)
}

func (x *restoreRig) path(name string) string { return filepath.Join(x.dir, name) }

// refused runs a stream that must end with code 1 and these words, and write nothing.
func (x *restoreRig) refused(says string, args ...string) {
	x.Helper()
	before := x.redis.Dump()
	_, errs := x.does(exitFailed, "", append([]string{"stream", "--until", "end"}, args...)...)
	if !strings.Contains(errs, says) || strings.Count(strings.TrimSpace(lastLine(errs)), "\n") > 0 {
		x.Errorf("it says\n%s\nwant %q", errs, says)
	}
	if after := x.redis.Dump(); after != before {
		x.Errorf("%q was refused, and Redis has changed", says)
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// equal: reconcile compares the tables with Redis and finds no difference.
func (x *restoreRig) equal(file, tables string) {
	x.Helper()
	if out, _ := x.does(exitOK, file, "reconcile", "--out", tables); !strings.Contains(out, "equal, to the bit: ") {
		x.Errorf("%s", out)
	}
}

// O2, K3: a Redis that is empty, or has lost markers, is restored from tables where
// the log no longer reaches back; without them it is refused, and the message names
// what heals.
func TestRestoredFromTables(t *testing.T) {
	x := newRestoreRig(t)
	tables := x.path("tables")
	x.more(150)
	x.does(exitOK, "", "replay", "--out", tables)
	x.more(10)
	x.does(exitOK, "", "stream", "--until", "end")
	want, _ := x.does(exitOK, "", "get", "v", "ent=e1")
	x.truncateTo(75)
	x.redis.FlushAll()

	x.refused("has no marker, and the log starts at offset 75: offsets 0 to 74 are lost to the online store; restore the states from the tables of `tallystick replay --out DIR` with `tallystick stream --from-tables DIR`")
	out, errs := x.does(exitOK, "", "stream", "--until", "end", "--from-tables", tables)
	if !strings.Contains(errs, "bootstrapped 3 shards, from offset 75, where the tables in "+tables+" end") {
		t.Errorf("%s%s", out, errs)
	}
	x.equal("", tables)
	if got, _ := x.does(exitOK, "", "get", "v", "ent=e1"); valuesOf(got) != valuesOf(want) {
		t.Errorf("restored:\n%s\nbefore:\n%s", got, want)
	} else if strings.Contains(got, "INCOMPLETE") { // K8: the tables began at offset 0
		t.Errorf("incomplete:\n%s", got)
	}

	x.more(20)
	for _, k := range x.redis.Keys() { // a shard is lost
		if strings.Contains(k, ":1}:") {
			x.redis.Del(k)
		}
	}
	x.refused("restore the states from the tables of `tallystick replay --out DIR` with `tallystick stream --rebuild --from-tables DIR`")
	x.refused("while other shards do: the store lost it (a failover to an empty replica?); `tallystick stream --rebuild --from-tables DIR` restores it", "--from-tables", tables)
	x.does(exitOK, "", "stream", "--until", "end", "--rebuild", "--from-tables", tables)
	x.equal("", tables)

	x.more(4)
	start := x.truncate() // the tables end before
	x.redis.FlushAll()
	x.refused("cannot be restored from the tables in "+tables+": they end at offset 75, and the log now starts at ", "--from-tables", tables)
	x.more(4)
	x.does(exitOK, "", "replay", "--out", tables, "--adopt-start")
	x.does(exitOK, "", "stream", "--until", "end", "--from-tables", tables)
	x.now = time.Now().Add(-3 * time.Hour)
	x.more(4)
	x.does(exitOK, "", "stream", "--until", "end")
	got, _ := x.does(exitOK, "", "get", "v", "ent=e1") // K8
	if start == 0 || !strings.Contains(got, "INCOMPLETE") || strings.Count(got, "INCOMPLETE") != 1 {
		t.Errorf("K8: only lifetime reaches back before the log's start:\n%s", got)
	}
}

// valuesOf leaves out of what get prints as of when it is and where the log stands.
func valuesOf(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// truncateTo removes what lies before an offset.
func (x *restoreRig) truncateTo(start int64) {
	x.Helper()
	var gone kadm.Offsets
	for p := range int32(2) {
		gone.AddOffset("ev", p, start, -1)
	}
	_, err := x.admin.DeleteRecords(x.ctx, gone)
	x.must(err)
}

// O2, K3: a marker that the log no longer goes on from is restored, too.
func TestRestoredWhereTruncatedBehindMarkers(t *testing.T) {
	x := newRestoreRig(t)
	tables := x.path("tables")
	x.more(100)
	x.does(exitOK, "", "stream", "--until", "end")
	x.more(100)
	x.does(exitOK, "", "replay", "--out", tables)
	x.truncate()
	x.more(10)
	x.refused("offsets 50 to 99 are lost, the log now starts at 100; restore the states from the tables of `tallystick replay --out DIR` with `tallystick stream --rebuild --from-tables DIR`")
	x.refused("offsets 50 to 99 are lost", "--from-tables", tables)
	x.does(exitOK, "", "stream", "--until", "end", "--rebuild", "--from-tables", tables)
	x.equal("", tables)
}

// O2: what are no tables of the view is refused, and nothing is written.
func TestFromTablesRefused(t *testing.T) {
	x := newRestoreRig(t)
	x.more(20)
	empty, other := x.path("empty"), x.path("other")
	x.must(os.Mkdir(empty, 0o700))
	x.does(exitOK, x.file("other.yaml", "over: lifetime", "over: 24h"), "replay", "--out", other)
	x.refused("--from-tables "+empty+": view v: nothing has been published", "--from-tables", empty)
	x.refused("--from-tables "+other+": the tables of view v cannot restore the online store: they are of fingerprint ", "--from-tables", other)
	for _, dir := range []string{x.path("none"), x.path("v.yaml"), "gs://b/c"} {
		x.does(exitUsage, "", "stream", "--until", "end", "--from-tables", dir)
	}
	if keys := x.redis.Keys(); len(keys) > 0 {
		t.Errorf("Redis holds %v", keys)
	}
}

// O5: a changed definition fills beside the one in use, from tables and then the log;
// readers switch at one moment, not before it has caught up; the old one is dropped.
func TestNewDefinitionBesideTheOld(t *testing.T) {
	x := newRestoreRig(t)
	tables := x.path("tables")
	changed := x.file("new.yaml", "{sum: amt, over: 24h}", "{sum: amt, over: 12h}")
	x.more(100)
	x.does(exitOK, "", "stream", "--until", "end")
	x.does(exitOK, changed, "replay", "--out", tables)
	x.more(20)
	x.does(exitFailed, changed, "live", "v", "--wait", "0s") // nothing has filled it
	_, errs := x.does(exitOK, changed, "stream", "--until", "end", "--from-tables", tables)
	if !strings.Contains(errs, "bootstrapped 3 shards, from offset 50, where the tables in ") {
		t.Errorf("%s", errs)
	}
	x.does(exitOK, "", "get", "v", "ent=e1")
	if _, errs := x.does(exitFailed, changed, "get", "v", "ent=e1"); !strings.Contains(errs, "have readers switch to it with `tallystick live v`") {
		t.Errorf("%s", errs)
	}
	x.more(1)
	if _, errs := x.does(exitFailed, changed, "live", "v", "--wait", "0s"); !strings.Contains(errs, "not switched after 0s: partition 0 shard ") || !strings.Contains(errs, "stands at offset 60, the log ended at 61") {
		t.Errorf("%s", errs)
	}
	x.does(exitOK, changed, "stream", "--until", "end", "--from-tables", tables)
	if out, _ := x.does(exitOK, changed, "live", "v"); !strings.Contains(out, "in the place of ") {
		t.Errorf("%s", out)
	}
	x.does(exitOK, changed, "live", "v", "--json")
	x.does(exitOK, changed, "get", "v", "ent=e1")
	x.does(exitFailed, "", "get", "v", "ent=e1")
	x.does(exitFailed, changed, "drop", "v") // readers use it
	x.does(exitOK, "", "drop", "v")
	x.does(exitOK, changed, "replay", "--out", tables)
	x.equal(changed, tables)

	redis, err := online.Open(x.ctx, online.Options{Addrs: []string{x.redis.Addr()}, AllowUnknownPolicy: true})
	x.must(err)
	defer redis.Close()
	live, err := redis.Live(x.ctx, "v")
	x.must(err)
	for _, k := range x.redis.Keys() {
		if k != "{v}:live" && !strings.HasPrefix(k, "{v:"+live+":") {
			t.Errorf("key %q is left", k)
		}
	}
}
