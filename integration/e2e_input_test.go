package integration

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// badInput is a command line over files that are not sound, by name.
type badInput struct {
	name  string
	files map[string]string
	args  string // blanks separate; BROKERS and REDIS stand for addresses
}

const trainRides = "train --brokers BROKERS --view rides -o out.parquet --labels "

var badInputs = []badInput{
	{"unknown command", nil, "trian"},
	{"unknown flag", nil, "train --lables x.csv"},
	{"argument too many", nil, "check now"},
	{"nothing asked", nil, "train"},
	{"view and service", nil, "train --labels l.csv -o out.parquet --view rides --service fare"},
	{"neither view nor service", nil, "train --labels l.csv -o out.parquet"},
	{"unknown view", nil, "train --labels l.csv -o out.parquet --view ride"},
	{"unknown service", nil, "train --labels l.csv -o out.parquet --service fair"},
	{"unknown view in replay", nil, "replay --brokers BROKERS --view rode"},
	{"unknown view in get", nil, "get ride ent=a --redis REDIS"},
	{"unknown key field", nil, "get rides end=a --redis REDIS"},
	{"key of the wrong type", nil, "get rides_by_id ent=a ver=x --redis REDIS"},
	{"bad instant", nil, "get rides ent=a --redis REDIS --at yesterday"},
	{"unknown source", nil, "tick --brokers BROKERS --source evt"},
	{"unknown knowledge", nil, trainRides + "l.csv --knowledge partial"},
	{"bad size", nil, "replay --brokers BROKERS --memory 5"},
	{"no brokers", nil, "replay"},
	{"brokers without port", nil, "replay --brokers kafka"},
	{"broker unreachable", nil, "cut --brokers 127.0.0.1:1 -o cut.json"},
	{"redis unreachable", nil, "get rides ent=a --redis 127.0.0.1:1"},
	{"stream: redis unreachable", nil, "stream --brokers BROKERS --redis 127.0.0.1:1 --until end"},
	{"no definition", nil, "check -f nope.yaml"},
	{"definition is a directory", nil, "check -f ."},
	{"definition: empty", map[string]string{"d.yaml": ""}, "check -f d.yaml"},
	{"definition: not YAML", map[string]string{"d.yaml": "sources: [\n"}, "check -f d.yaml"},
	{"definition: unknown key", map[string]string{"d.yaml": strings.Replace(badInputDefinition, "event_time:", "event_tiem:", 1)}, "check -f d.yaml"},
	{"definition: unknown field", map[string]string{"d.yaml": strings.Replace(badInputDefinition, "sum: amt", "sum: atm", 1)}, "check -f d.yaml"},
	{"definition: no schema file", map[string]string{"d.yaml": strings.Replace(badInputDefinition, "schema: ev.avsc", "schema: no.avsc", 1)}, "check -f d.yaml"},
	{"definition: schema is no JSON", map[string]string{"d.yaml": strings.Replace(badInputDefinition, "schema: ev.avsc", "schema: bad.avsc", 1), "bad.avsc": "{"}, "check -f d.yaml"},
	{"definition: schema is no record", map[string]string{"d.yaml": strings.Replace(badInputDefinition, "schema: ev.avsc", "schema: bad.avsc", 1), "bad.avsc": `"string"`}, "check -f d.yaml"},
	{"missing topic", map[string]string{"d.yaml": strings.Replace(badInputDefinition, "TOPIC", "TOPIK", 1)}, "replay -f d.yaml --brokers BROKERS --out tables"},
	{"labels: no file", nil, trainRides + "nope.csv"},
	{"labels: a directory", nil, trainRides + "."},
	{"labels: empty", map[string]string{"x.csv": ""}, trainRides + "x.csv"},
	{"labels: no key column", map[string]string{"x.csv": "entt,t\na,2026-01-01T00:00:00Z\n"}, trainRides + "x.csv"},
	{"labels: no timestamp column", map[string]string{"x.csv": "ent,when\na,2026-01-01T00:00:00Z\n"}, trainRides + "x.csv"},
	{"labels: bad timestamp", map[string]string{"x.csv": "ent,t\na,2026-01-01T00:00:00Z\nb,2026-02-30T00:00:00Z\n"}, trainRides + "x.csv"},
	{"labels: local time without zone", map[string]string{"x.csv": "ent,t\na,2026-01-01T00:00:00\n"}, trainRides + "x.csv"},
	{"labels: wrong type", map[string]string{"x.csv": "ent,ver,t\na,1,2026-01-01T00:00:00Z\nb,one,2026-01-01T00:00:00Z\n"}, strings.Replace(trainRides, "rides", "rides_by_id", 1) + "x.csv"},
	{"labels: a name twice", map[string]string{"x.csv": "ent,t,ent\na,2026-01-01T00:00:00Z,b\n"}, trainRides + "x.csv"},
	{"labels: a column of the answer", map[string]string{"x.csv": "ent,t,n_24h\na,2026-01-01T00:00:00Z,1\n"}, trainRides + "x.csv"},
	{"labels: too few fields", map[string]string{"x.csv": "ent,t\na\n"}, trainRides + "x.csv"},
	{"labels: no rows", map[string]string{"x.csv": "ent,t\n"}, trainRides + "x.csv"},
	{"labels: open quote", map[string]string{"x.csv": "ent,t\n\"a,2026-01-01T00:00:00Z\n"}, trainRides + "x.csv"},
	{"labels: UTF-16", map[string]string{"x.csv": utf16Text("ent,t\na,2026-01-01T00:00:00Z\n")}, trainRides + "x.csv"},
	{"labels: semicolons", map[string]string{"x.csv": "ent;t\na;2026-01-01T00:00:00Z\n"}, trainRides + "x.csv"},
	{"labels: no Parquet", map[string]string{"x.parquet": "PAR1 nonsense PAR1"}, trainRides + "x.parquet"},
	{"cut: no file", nil, "replay --brokers BROKERS --cut nope.json --out tables"},
	{"cut: garbage", map[string]string{"c.json": "nonsense"}, "replay --brokers BROKERS --cut c.json --out tables"},
	{"cut: empty", map[string]string{"c.json": "{}"}, "replay --brokers BROKERS --cut c.json --out tables"},
	{"cut: other topic", map[string]string{"c.json": `{"topics":{"other":{"topic_id":"ID","partitions":{"0":{"start":0,"end":1}}}}}`}, "replay --brokers BROKERS --cut c.json --out tables"},
	{"cut: a hole in the range", map[string]string{"c.json": `{"topics":{"TOPIC":{"topic_id":"ID","partitions":{"0":{"start":-1,"end":1}}}}}`}, "replay --brokers BROKERS --cut c.json"},
	{"cut: other topic, stream", map[string]string{"c.json": `{"topics":{"other":{"topic_id":"ID","partitions":{"0":{"start":0,"end":1}}}}}`}, "stream --brokers BROKERS --redis REDIS --until c.json"},
	{"cut: other topic id", map[string]string{"c.json": `{"topics":{"TOPIC":{"topic_id":"AAAAAAAAAAAAAAAAAAAAAA","partitions":{"0":{"start":0,"end":1}}}}}`}, "replay --brokers BROKERS --cut c.json --out tables"},
	{"cut: a partition too many", map[string]string{"c.json": `{"topics":{"TOPIC":{"topic_id":"ID","partitions":{"0":{"start":0,"end":1},"7":{"start":0,"end":1}}}}}`}, trainRides + "l.csv --cut c.json"},
	{"cut: backwards", map[string]string{"c.json": `{"topics":{"TOPIC":{"topic_id":"ID","partitions":{"0":{"start":5,"end":1}}}}}`}, trainRides + "l.csv --cut c.json"},
	{"output is a directory", nil, strings.Replace(trainRides, "out.parquet", ".", 1) + "l.csv"},
	{"output in no directory", nil, strings.Replace(trainRides, "out.parquet", "no/out.parquet", 1) + "l.csv"},
	{"output below a file", nil, strings.Replace(trainRides, "out.parquet", "l.csv/out.parquet", 1) + "l.csv"},
	{"train: saved cut in no directory", nil, trainRides + "l.csv --save-cut no/cut.json"},
	{"cut: output is a directory", nil, "cut --brokers BROKERS -o ."},
	{"cut: output in no directory", nil, "cut --brokers BROKERS -o no/cut.json"},
	{"tables below a file", nil, "replay --brokers BROKERS --out l.csv/tables"},
	{"tables are a file", nil, "replay --brokers BROKERS --out l.csv"},
	{"quarantine is a file", nil, "replay --brokers BROKERS --quarantine l.csv"},
	{"replay: saved cut in no directory", nil, "replay --brokers BROKERS --quarantine q --save-cut no/cut.json"},
	{"spill in no directory", nil, "replay --brokers BROKERS --spill-dir no --quarantine q"},
}

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
		got := x.run(dir, strings.Fields(strings.NewReplacer("BROKERS", x.brokers, "REDIS", x.redis).Replace(b.args))...)
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
