package integration

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
)

var e2eRewrite = flag.Bool("e2e-rewrite", false, "write testdata/badinput.txt anew")

const badInputDefinition = `sources:
  ev:
    topic: TOPIC
    schema: ev.avsc
    writers: {files: {1: ev.avsc}}
    event_time: et
views:
  rides:
    source: ev
    entity: {ent: string}
    features:
      n: {count: "*", over: 24h}
  rides_by_id:
    source: ev
    entity: {ent: string, ver: int}
    features:
      s: {sum: amt, over: 24h}
services:
  fare: [rides.*, rides_by_id.*]
`

// sentences leaves out warnings, which are no errors.
func sentences(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, ": warning: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func utf16Text(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

// Whatever is wrong with what it is given, the program says so in one sentence,
// with the documented exit code, and leaves nothing behind (B2).
func TestBadInput(t *testing.T) {
	x := newE2ERig(t)
	const topic = "bad-input"
	x.must(x.kafka.EnsureTopic(x.ctx, topic, 1, nil))
	x.must(x.plain.ProduceSync(x.ctx, &kgo.Record{Topic: topic, Value: []byte("garbage")}).FirstErr())
	c, err := x.kafka.Cut(x.ctx, topic)
	x.must(err)
	var report strings.Builder
	for _, b := range badInputs {
		dir := t.TempDir()
		fill := strings.NewReplacer("TOPIC", topic, `"ID"`, `"`+c.Topics[topic].TopicID+`"`)
		for name, text := range map[string]string{"tallystick.yaml": badInputDefinition, "ev.avsc": testbed.EventSchema, "l.csv": "ent,t\na,2026-01-01T00:00:00Z\n"} {
			x.must(os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o644))
		}
		for name, text := range b.files {
			x.must(os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o644))
		}
		before := listing(t, dir)
		begin := time.Now()
		got := x.run(dir, strings.Fields(strings.NewReplacer("BROKERS", x.brokers, "REDIS", x.redis, "TOPIC", topic).Replace(b.args))...)
		if took := time.Since(begin); took > 20*time.Second { // a read without progress is given up after 30 s
			t.Errorf("%s: refused after %v", b.name, took)
		}
		got.errout = sentences(got.errout)
		text := strings.NewReplacer(c.Topics[topic].TopicID, "ID", x.brokers, "BROKERS", x.redis, "REDIS", dir, "DIR").Replace(got.errout)
		fmt.Fprintf(&report, "## %s\n%s\nexit %d\n%s\n", b.name, b.args, got.code, text)
		several := b.name == "definition: unknown key" // all faults at once
		if got.code != 1 && got.code != 2 || got.out != "" || strings.Count(got.errout, "\n") != 1 && !several || !strings.HasPrefix(got.errout, "tallystick: ") && !strings.HasPrefix(got.errout, "d.yaml:") {
			t.Errorf("%s: exit %d, %q on stdout, on stderr:\n%s", b.name, got.code, got.out, got.errout)
		}
		if after := listing(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: it leaves %v, before there was %v", b.name, after, before)
		}
	}
	golden(t, "testdata/badinput.txt", report.String())
}

// listing is every file and directory below dir.
func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *e2eRewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(got, "\n## "), strings.Split(string(want), "\n## ")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("%s, case %d: got\n%s\nwant\n%s\n(rewrite with -e2e-rewrite)", path, i, append(a, "", "")[min(i, len(a))], append(b, "", "")[min(i, len(b))])
		}
	}
}
