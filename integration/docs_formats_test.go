package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// docTopicID stands in docs/formats.md for the topic's id, docToken for the
// marker's token: both are random.
const (
	docTopicID = "AAECAwQFBgcICQoLDA0ODw"
	docToken   = 0x0807060504030201
)

// TestDocsFormats runs the definition and the log of docs/formats.md through the
// program and compares every byte that the page shows with what it wrote.
func TestDocsFormats(t *testing.T) {
	d := &docRun{document: newDocument(t, "formats.md"), e2eRig: newE2ERig(t), dir: t.TempDir()}
	d.write()
	d.produce()
	d.ok("replay", "--brokers", d.brokers, "--out", "tables", "--save-cut", "cut.json")
	d.ok("stream", "--brokers", d.brokers, "--redis", d.redis, "--until", "cut.json")
	d.ok("train", "--brokers", d.brokers, "--labels", "labels.csv", "--view", "shops", "-o", "train.parquet")
	cut, err := os.ReadFile(filepath.Join(d.dir, "cut.json"))
	d.e2eRig.must(err)
	d.is("the cut file", d.block("json cut"), d.steady(string(cut)))
	d.online()
	d.tables()
	d.quarantine()
	d.tick()
}

// docRun is the page, and a project as it shows one.
type docRun struct {
	*document
	*e2eRig
	dir string
}

func (d *docRun) ok(args ...string) string {
	d.document.Helper()
	got := d.run(d.dir, args...)
	if got.code != 0 {
		d.document.Fatalf("tallystick %v: exit %d\n%s", args, got.code, got.errout)
	}
	return got.out
}

func (d *docRun) is(what, says, there string) { d.document.Helper(); d.document.is(what, says, there) }

func (d *docRun) write() {
	for name, text := range map[string]string{"tallystick.yaml": d.block("yaml definition"), "order.avsc": d.block("json schema"), "labels.csv": "shop,timestamp,label\ns1,2026-01-01T00:00:00Z,7\n"} {
		d.must(os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644))
	}
}

func (d *docRun) produce() {
	d.must(d.kafka.EnsureTopic(d.ctx, "orders", 1, map[string]string{"message.timestamp.type": "CreateTime"}))
	for _, row := range d.table("offset | stamped | time | shop | id | version | amount |") {
		r := &kgo.Record{Topic: "orders", Key: []byte("k"), Timestamp: d.instantOf(row[1]).Time(), Value: []byte("garbage")}
		if row[3] != "" {
			version, _ := strconv.ParseInt(row[5], 10, 64)
			amount, _ := strconv.ParseFloat(row[6], 64)
			r.Value = testbed.Event{Ent: row[3], ID: row[4], Ver: version, ET: int64(d.instantOf(row[2])), Amt: amount}.Bytes()
		}
		d.must(d.e2eRig.plain.ProduceSync(d.ctx, r).FirstErr())
		d.is("an offset", row[0], fmt.Sprint(r.Offset))
	}
}

// What differs from run to run, or from one build to the next, in texts.
var (
	topicIDs  = regexp.MustCompile(`("topic_id":\s*)"[\w-]{22}"`)
	digests   = regexp.MustCompile(`[0-9a-f]{64}`)
	fileNames = regexp.MustCompile(`-[0-9a-f]{32}\.parquet`)
	runIDs    = regexp.MustCompile(`("publication":\s*)"[0-9a-f]{32}"`)
	sizes     = regexp.MustCompile(`("size":\s*)\d+`)
)

func (d *docRun) steady(text string) string {
	text = topicIDs.ReplaceAllString(text, `$1"`+docTopicID+`"`)
	text = digests.ReplaceAllString(text, "DIGEST")
	text = fileNames.ReplaceAllString(text, "-HASH.parquet")
	text = runIDs.ReplaceAllString(text, `$1"ID"`)
	text = gates.ReplaceAllString(text, `"rows"`)
	return sizes.ReplaceAllString(text, "${1}1000")
}

// gates is what the gate said, which docs/gate.md is about.
var gates = regexp.MustCompile(`"gate":\{"fingerprint".*?\},"rows"`)

// online compares keys and values in Redis.
func (d *docRun) online() {
	c := redis.NewClient(&redis.Options{Addr: d.redis, DisableIdentity: true})
	defer c.Close()
	fingerprint, err := c.Get(d.ctx, "{shops}:live").Result()
	d.must(err)
	d.is("the live key", strings.TrimSpace(d.block("text live")), fingerprint)
	keys, err := c.Keys(d.ctx, "{shops*").Result()
	d.must(err)
	slices.Sort(keys)
	var list strings.Builder
	for _, k := range keys {
		kind, fields := c.Type(d.ctx, k).Val(), ""
		switch kind {
		case "hash":
			names := c.HKeys(d.ctx, k).Val()
			slices.Sort(names)
			fields = " " + strings.Join(names, " ")
		case "set":
			fields = " " + strings.Join(c.SMembers(d.ctx, k).Val(), " ")
		}
		fmt.Fprintf(&list, "%-6s %s%s\n", kind, strings.Trim(strconv.Quote(strings.ReplaceAll(k, fingerprint, "FP")), `"`), fields)
	}
	d.is("the keys", d.block("text keys"), list.String())
	v := "{shops:" + fingerprint + ":0}:"
	d.isBytes("the served part", d.bytes("bytes served"), []byte(c.HGet(d.ctx, v+"e:\x04\x02s1", "0").Val()))
	for name, hour := range map[string]string{"bytes open 490895": "0:490895", "bytes open 490896": "0:490896"} {
		d.isBytes(name, d.bytes(name), []byte(c.HGet(d.ctx, v+"o:\x04\x02s1", hour).Val()))
	}
	m, err := marker.Parse([]byte(c.Get(d.ctx, v+"m:0").Val()))
	d.must(err)
	m.TopicID, m.Token = docTopicID, docToken
	d.isBytes("the marker", d.bytes("bytes marker"), m.Append(nil))
	if said, err := marker.Parse(d.bytes("bytes marker")); err != nil || said != m {
		d.document.Errorf("the marker of the page reads as %+v, %v", said, err)
	}
	d.parse()
}

// parse reads the page's state with the real code.
func (d *docRun) parse() {
	def, err := definition.Load(filepath.Join(d.dir, "tallystick.yaml"))
	d.must(err)
	v, err := transforms.NewView(def.Views[0].Spec)
	d.must(err)
	s, err := v.Parse(transforms.Parts{Served: d.bytes("bytes served"),
		Open: []transforms.Open{{Hour: 490895, Data: d.bytes("bytes open 490895")}, {Hour: 490896, Data: d.bytes("bytes open 490896")}}})
	d.must(err)
	got, err := v.Value(nil, s.Clock()+1, s)
	d.must(err)
	d.is("the state's values", "n_1h 2, s_1h 3", fmt.Sprintf("n_1h %v, s_1h %v", got[0].Value, got[1].Value))
}

// tables compares commits, file names and columns.
func (d *docRun) tables() {
	d.is("the first commit of features", d.canonical(d.block("json commit")), d.canonical(d.steady(d.log("shops", "features"))))
	for _, name := range []string{"features", "tiles", "open", "quarantine"} {
		said := ""
		for _, row := range d.table("`" + name + "`: column |") {
			said += row[0] + " " + row[1] + "\n"
		}
		d.is("the columns of "+name, said, d.columns("shops", name))
	}
	d.is("a list's column", "event_date date\nshard integer\nentity binary\nshop string\nboundary timestamp\nfinal boolean\nlast_1h array of double\nlast_1h__status string\n", d.columns("recent", "features"))
	d.is("the Parquet schema of features", d.block("text features.parquet"), d.schemaOf("tables/shops/features/*/*/*.parquet"))
	d.is("the Parquet schema of open", d.block("text open.parquet"), d.schemaOf("tables/shops/open/*/*/*.parquet"))
	d.is("the Parquet schema of a list", d.block("text list.parquet"), d.schemaOf("tables/recent/features/*/*/*.parquet"))
	d.is("the Parquet schema of a training set", d.block("text train.parquet"), d.schemaOf("train.parquet"))
	var files []string
	d.must(filepath.WalkDir(filepath.Join(d.dir, "tables", "shops"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(d.dir, path)
			files = append(files, d.steady(rel))
		}
		return err
	}))
	d.is("the files", d.block("text files"), strings.Join(files, "\n")+"\n")
}

func (d *docRun) log(view, table string) string {
	b, err := os.ReadFile(filepath.Join(d.dir, "tables", view, table, "_delta_log", "00000000000000000000.json"))
	d.must(err)
	return string(b)
}

// canonical writes the JSON objects of a text one a line, keys sorted.
func (d *docRun) canonical(text string) string {
	d.document.Helper()
	var out bytes.Buffer
	for dec := json.NewDecoder(strings.NewReader(text)); ; {
		var v any
		dec.UseNumber()
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return out.String()
		} else if err != nil {
			d.document.Fatalf("JSON: %v in\n%s", err, text)
		}
		b, err := json.MarshalIndent(v, "", " ")
		d.must(err)
		out.Write(append(b, '\n'))
	}
}

// columns lists the columns of a table's Delta schema.
func (d *docRun) columns(view, table string) string {
	var out strings.Builder
	for line := range strings.Lines(d.log(view, table)) {
		var a struct {
			MetaData struct{ SchemaString string }
		}
		d.must(json.Unmarshal([]byte(line), &a))
		if a.MetaData.SchemaString == "" {
			continue
		}
		var s struct {
			Fields []struct {
				Name string
				Type any
			}
		}
		d.must(json.Unmarshal([]byte(a.MetaData.SchemaString), &s))
		for _, f := range s.Fields {
			if m, ok := f.Type.(map[string]any); ok {
				f.Type = fmt.Sprintf("%v of %v", m["type"], m["elementType"])
			}
			fmt.Fprintf(&out, "%s %v\n", f.Name, f.Type)
		}
	}
	return out.String()
}

// schemaOf returns the schema of the one Parquet file that matches.
func (d *docRun) schemaOf(pattern string) string {
	d.document.Helper()
	names, err := filepath.Glob(filepath.Join(d.dir, pattern))
	d.must(err)
	if len(names) == 0 {
		d.document.Fatalf("no file %s", pattern)
	}
	f, err := os.Open(names[0])
	d.must(err)
	defer f.Close()
	info, err := f.Stat()
	d.must(err)
	p, err := parquet.OpenFile(f, info.Size())
	d.must(err)
	return strings.ReplaceAll(p.Schema().String(), "\t", "  ") + "\n"
}

// quarantine compares the message of the garbage.
func (d *docRun) quarantine() {
	ms := d.consume("orders.quarantine", 2) // one of each view
	m := ms[slices.IndexFunc(ms, func(m *kgo.Record) bool { return string(m.Headers[0].Value) == "shops" })]
	got := fmt.Sprintf("key    %s\nvalue  %s\n", strings.Replace(string(m.Key), d.topicID(), docTopicID, 1), m.Value)
	for _, h := range m.Headers {
		got += fmt.Sprintf("header %s: %s\n", h.Key, h.Value)
	}
	d.is("the message of the quarantine", d.block("text quarantined"), got)
	for _, h := range []string{wire.HeaderView, wire.HeaderOutcome, wire.HeaderStage, wire.HeaderReason, wire.HeaderTimestamp,
		wire.HeaderClock, wire.HeaderEventTime, wire.HeaderKey, wire.HeaderLeftOut} {
		if !strings.Contains(d.text, "| `"+h+"` |") {
			d.document.Errorf("the header %s is not described", h)
		}
	}
}

func (d *docRun) topicID() string {
	t, err := d.kafka.Describe(d.ctx, "orders")
	d.must(err)
	return t.ID
}

// tick compares a tick.
func (d *docRun) tick() {
	rows := d.table("offset | stamped |")
	d.ok("tick", "--brokers", d.brokers)
	m := d.consume("orders", len(rows)+1)[len(rows)]
	if m.Key != nil || m.Value != nil || len(m.Headers) != 1 || m.Headers[0].Key != schemas.TickHeader || len(m.Headers[0].Value) != 0 {
		d.document.Errorf("a tick is %+v", m)
	}
	if !strings.Contains(d.text, "`"+schemas.TickHeader+"`") {
		d.document.Error("the header of a tick is not named")
	}
}

func (d *docRun) consume(topic string, n int) (rs []*kgo.Record) {
	c, err := kgo.NewClient(append(testbed.KafkaOptions(), kgo.SeedBrokers(strings.Split(d.brokers, ",")...),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	d.must(err)
	defer c.Close()
	for deadline := time.Now().Add(20 * time.Second); len(rs) < n && time.Now().Before(deadline); {
		rs = append(rs, c.PollRecords(d.ctx, n-len(rs)).Records()...)
	}
	if len(rs) < n {
		d.document.Fatalf("topic %s has %d records, not %d", topic, len(rs), n)
	}
	return rs
}
