package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
)

func TestMemoryFlag(t *testing.T) {
	for size, ok := range map[bytesFlag]bool{0: true, leastMemory - 1: false, leastMemory: true} {
		if err := (&memoryFlag{size}).check(); (err == nil) != ok {
			t.Errorf("%v: %v", &size, err)
		}
	}
	m := memoryFlag{1_000_000_000}
	one, four := m.budget(1), m.budget(4)
	if one.states != 387_200_000 || one.states/4 != four.states || one.fetch/4 != four.fetch || one.fetch > 20_000_000 {
		t.Errorf("%+v %+v", one, four)
	}
	if small := (&memoryFlag{200_000_000}).budget(1); small.states != 44_800_000 {
		t.Errorf("%+v", small)
	}
	if (&memoryFlag{}).budget(3) != (budget{}) {
		t.Error("a bound where none was asked for")
	}
}

// wide is a view whose states, of as many entities as there are records, and
// whose log are greater than the memory that the stream is given.
const wide = `sources:
  ev:
    schema: ev.avsc
    writers: {files: {1: ev.avsc}}
    event_time: et
    id: id
    version: ver
    lateness: 24h
views:
  v:
    source: ev
    entity: {ent: string}
    shards: 4
    features:
      n: {count: "*", over: [1h, 24h, 30d]}
      l: {last: id, over: 24h}
`

// A log and states as great as, or greater than, --memory go through a process that
// stays below it, with a Redis that is slow and for a while does not answer at
// all: nothing piles up in memory, reading stops (the log's bytes stay in Kafka).
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel() // it waits, mostly
	const limit, records, parts = 100_000_000, 40_000, 4
	definition, brokers := wideProject(t, records, parts)
	redis := testbed.Redis(t)
	g := newSluice(t, redis.Addr())
	stalled, before := time.Time{}, redis.CommandCount()
	g.late(2 * time.Millisecond)
	most, said := mostMemory(t, limit, func() {
		switch {
		case stalled.IsZero() && redis.CommandCount() > before+records/3: // about a sixth is written
			g.set(true)
			stalled = time.Now()
		case !stalled.IsZero() && time.Since(stalled) > 3*time.Second:
			g.set(false)
		}
	}, "stream", "-f", definition, "--brokers", brokers, "--redis", g.Addr().String(), "--until", "end")
	if !strings.Contains(said, "applied") || stalled.IsZero() || most < limit/10 {
		t.Errorf("it did not do what is measured: %s", said)
	}
}

// B3: a replay whose rows are greater than --memory goes through a process that
// stays below it, on a machine of many processors too.
func TestReplayMemoryIsBounded(t *testing.T) {
	const limit, records, parts = 100_000_000, 60_000, 16
	definition, brokers := wideProject(t, records, parts)
	for _, parallel := range []string{"2", "16"} {
		dir := t.TempDir()
		most, said := mostMemory(t, limit, func() {}, "replay", "-f", definition, "--brokers", brokers, "--out", filepath.Join(dir, "tables"), "--spill-dir", dir, "--parallel", parallel, "--json")
		var out replayOutput
		if err := json.Unmarshal([]byte(said), &out); err != nil {
			t.Fatal(err)
		}
		if out.Views[0].Spilled < limit/2 || most < limit/10 {
			t.Errorf("it did not do what is measured: %d bytes spilled", out.Views[0].Spilled)
		}
	}
}

// mostMemory runs the program with that --memory, which it must stay below, calls
// meanwhile now and then, and returns the most that it took and what it printed.
func mostMemory(t *testing.T, limit int, meanwhile func(), args ...string) (most int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append(args, "--memory", strconv.Itoa(limit)+"B")...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var out, errs testbed.Heard
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("%v: %s", err, errs.String())
			}
			t.Logf("at most %d MB beside the program itself of %d MB", most/1_000_000, limit/1_000_000)
			if most > limit-programPages { // the tests' binary is greater than the program
				t.Errorf("%d bytes beside the program itself, --memory is %d", most, limit)
			}
			return most, out.String()
		case <-time.After(10 * time.Millisecond):
			most = max(most, residentBytes(t, cmd.Process.Pid))
			meanwhile()
		}
	}
}

// wideProject returns a definition with the view wide, and the brokers that have
// its log.
func wideProject(t *testing.T, records, parts int) (definition, brokers string) {
	return logProject(t, wide, parts, func(producer *kgo.Client) { wideLog(t, producer, records, parts) })
}

// logProject returns the file of a definition over the topic ev, and the brokers that
// have its log, which fill appends.
func logProject(t *testing.T, text string, parts int, fill func(producer *kgo.Client)) (definition, brokers string) {
	t.Helper()
	kafka := testbed.Kafka(t)
	producer := testbed.Producer(t, kafka, "")
	bound := "3600000"
	if _, err := kadm.NewClient(producer).CreateTopic(t.Context(), int32(parts), 1, map[string]*string{"message.timestamp.after.max.ms": &bound}, "ev"); err != nil {
		t.Fatal(err)
	}
	fill(producer)
	dir := t.TempDir()
	for name, text := range map[string]string{"ev.avsc": testbed.EventSchema, "d.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "d.yaml"), kafka.ListenAddrs()[0]
}

// wideLog appends records of about 1 KB that do not compress, each of its own
// entity.
func wideLog(t *testing.T, producer *kgo.Client, records, parts int) {
	t.Helper()
	source := rand.NewChaCha8([32]byte{1})
	at := time.Now().Add(-time.Hour).UnixMicro()
	text := make([]byte, 500)
	var batch []*kgo.Record
	for i := range records {
		_, _ = source.Read(text)
		value := testbed.Event{Ent: fmt.Sprint("entity-", i), ID: fmt.Sprintf("%d-%x", i, text), Ver: 1, ET: at + int64(i), Amt: 1}.Bytes()
		batch = append(batch, &kgo.Record{Topic: "ev", Partition: int32(i % parts), Value: value})
		if len(batch) == 5000 || i == records-1 {
			if err := producer.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			batch = nil
		}
	}
}

var resident = regexp.MustCompile(`RssAnon:\s+(\d+) kB`)

// residentBytes returns the memory that a process has now beside the pages of its
// program; 0 where it has ended or the system does not tell.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if m := resident.FindSubmatch(b); err == nil && m != nil {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n << 10
	}
	return 0
}

// B3: a log that unpacks to many times its size goes through a process that stays below
// its memory.
func TestPackedLogIsBounded(t *testing.T) {
	const limit, records = 100_000_000, 100_000
	at, text := time.Now().Add(-time.Hour).UnixMicro(), strings.Repeat("x", 3000)
	narrow := strings.NewReplacer("    id: id\n    version: ver\n", "", "      l: {last: id, over: 24h}\n", "").Replace(wide)
	definition, brokers := logProject(t, narrow, 2, func(producer *kgo.Client) {
		var batch []*kgo.Record
		for i := range records {
			value := testbed.Event{Ent: "e", ID: fmt.Sprint(i, text), Ver: 1, ET: at + int64(i), Amt: 1}.Bytes()
			batch = append(batch, &kgo.Record{Topic: "ev", Partition: int32(i % 2), Value: value})
			if len(batch) == 5000 {
				if err := producer.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
					t.Fatal(err)
				}
				batch = nil
			}
		}
	})
	dir := t.TempDir()
	mostMemory(t, limit, func() {}, "replay", "-f", definition, "--brokers", brokers, "--spill-dir", dir, "--parallel", "2")
}

// B3: of a small memory few units run at once, however many processors there are; what
// bounds the rows alone does not bound them.
func TestUnitsAtOnce(t *testing.T) {
	for _, c := range []struct {
		memory         bytesFlag
		parallel, want int
	}{{100_000_000, 1, 1}, {100_000_000, 64, 2}, {256_000_000, 64, 6}, {1_000_000_000, 8, 8}, {1_000_000, 3, 3}} {
		if n := (&replayFlags{limits: limits{memory: c.memory, parallel: c.parallel}}).atOnce(); n != c.want {
			t.Errorf("B3: %+v: %d units at once", c, n)
		}
	}
}
