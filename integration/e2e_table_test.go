package integration

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

const accountSchema = `{"type":"record","name":"Account","fields":[
 {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"lsn","type":"long"},{"name":"status","type":"string"},{"name":"balance","type":"double"}]}`

const accountProject = `sources:
  accounts: {kind: table, key: string, schema: account.avsc, writers: {files: {1: account.avsc}}, event_time: at, version: lsn}
  ev: {schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, lateness: 1h}
views:
  account:
    source: accounts
    entity: {ent: string}
    shards: 2
    features:
      status: {last: status, default: none}
      balance: {last: balance}
      rich: {expr: balance > 100.0}
  v:
    source: ev
    entity: {ent: string}
    features: {n: {count: "*", over: 24h}}
services:
  both: [account.status, v.n_24h]
`

// tableRig is a project with a table over a compacted topic of two partitions.
type tableRig struct {
	*e2eRig
	dir string
	now time.Time
}

func newTableRig(t *testing.T) *tableRig {
	t.Helper()
	x := &tableRig{e2eRig: newE2ERig(t), dir: t.TempDir(), now: time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)}
	for name, text := range map[string]string{"account.avsc": accountSchema, "ev.avsc": testbed.EventSchema, "tallystick.yaml": accountProject,
		"events.yaml": strings.Replace(accountProject, "{kind: table, key: string,", "{topic: accounts, id: lsn,", 1)} {
		if name == "events.yaml" {
			text = strings.NewReplacer("entity: {ent: string}\n    shards", "entity: {status: string}\n    shards", "{last: status, default: none}", "{last: status, over: lifetime}",
				"{last: balance}", "{last: balance, over: lifetime}", "balance > 100.0", "balance_lifetime > 100.0", "account.status", "account.balance_lifetime").Replace(text)
			text, _, _ = strings.Cut(text, "services:")
		}
		x.must(os.WriteFile(filepath.Join(x.dir, name), []byte(text), 0o600))
	}
	x.must(x.kafka.EnsureTopic(x.ctx, "accounts", 2, map[string]string{"cleanup.policy": "compact", "retention.ms": "-1", "segment.bytes": "200"}))
	x.must(x.kafka.EnsureTopic(x.ctx, "ev", 1, nil))
	for p := range int32(2) { // kfake moves the log's start up to the first record kept
		x.put(p, fmt.Sprint("anchor", p), 0, "open", 1)
	}
	return x
}

// put appends a record of an account, ago before the log's time; balance < 0 is a
// tombstone.
func (x *tableRig) put(p int32, key string, ago time.Duration, status string, balance float64) {
	x.Helper()
	x.now = x.now.Add(10 * time.Minute)
	m := log.Message{Key: []byte(key), Timestamp: x.now}
	if balance >= 0 {
		m.Value = testbed.AppendLong(testbed.AppendLong(testbed.Frame(1), x.now.Add(-ago).UnixMicro()), 7)
		m.Value = testbed.AppendDouble(testbed.AppendText(m.Value, status), balance)
	}
	x.message(p, m)
}

func (x *tableRig) message(p int32, m log.Message) {
	x.Helper()
	_, err := x.kafka.Produce(x.ctx, "accounts", p, m)
	x.must(err)
}

// exits runs a command that is to end with a code, and returns what it printed.
func (x *tableRig) exits(code int, args ...string) string {
	x.Helper()
	r := x.run(x.dir, args...)
	if r.code != code {
		x.Fatalf("tallystick %v: exit %d, want %d\n%s%s", args, r.code, code, r.out, r.errout)
	}
	return r.out + r.errout
}

func (x *tableRig) get(args ...string) map[string]string {
	x.Helper()
	var out got
	x.must(json.Unmarshal([]byte(x.exits(0, append([]string{"get", "--json", "--redis", x.redis}, args...)...)), &out))
	values := map[string]string{}
	for _, f := range out.Features {
		values[f.Feature] = f.Status + " " + string(f.Value)
	}
	return values
}

// tableReport is what of `reconcile --json` is looked at.
type tableReport struct {
	Verdict string
	Cells   struct {
		Compared, Different, Open int64
		NotComparable             int64 `json:"not_comparable"`
	}
	Ledgers struct{ Compared int64 }
	Rows    int64 `json:"table_rows"`
	Listed  []struct{ Kind, Cause, Side string }
}

func (x *tableRig) reconcile(code int) tableReport {
	x.Helper()
	var out struct{ Views []tableReport }
	text := x.exits(code, "reconcile", "--json", "--brokers", x.brokers, "--redis", x.redis, "--out", "tables", "--view", "account")
	text, _, _ = strings.Cut(text, "\n}\n")
	x.must(json.Unmarshal([]byte(text+"\n}"), &out))
	return out.Views[0]
}

// killed runs the stream until the store has states of it, and kills it.
func (x *tableRig) killed() {
	x.Helper()
	cmd := exec.CommandContext(x.ctx, x.binary, "stream", "--brokers", x.brokers, "--redis", x.redis, "--view", "account")
	cmd.Dir = x.dir
	x.must(cmd.Start())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; {
		some := false
		for _, k := range x.server.Keys() {
			some = some || strings.Contains(k, "}:e:")
		}
		if some {
			break
		}
		if time.Now().After(deadline) {
			x.Fatal("the stream writes nothing")
		}
		<-tick.C
	}
	x.must(cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		x.Fatal("the stream ended by itself")
	}
}

// filesOf returns what a directory holds but for logs, which name their publication.
func (x *tableRig) filesOf(dir string) map[string]string {
	x.Helper()
	files := map[string]string{}
	x.must(filepath.WalkDir(filepath.Join(x.dir, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".parquet" {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, filepath.Join(x.dir, dir))] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	}))
	return files
}

// state returns where the online store has an account, and its bytes.
func (x *tableRig) state(key string) (redisKey, field, served string) {
	x.Helper()
	entity := string(transforms.EncodeEntity(nil, schemas.StringValue(key)))
	for _, k := range x.server.Keys() {
		if strings.HasSuffix(k, "}:e:"+entity) || strings.HasSuffix(k, "e:"+entity) && strings.HasPrefix(k, "{account:") {
			fields, err := x.server.HKeys(k)
			x.must(err)
			return k, fields[0], x.server.HGet(k, fields[0])
		}
	}
	x.Fatalf("the store has no account %s: %q", key, x.server.Keys())
	return "", "", ""
}

// other returns sound bytes of a state that say something else, and that it
// happened so much later.
func (x *tableRig) other(served string, later schemas.Micros) string {
	x.Helper()
	def, err := definition.Load(filepath.Join(x.dir, "tallystick.yaml"))
	x.must(err)
	view, err := def.View("account")
	x.must(err)
	engine, err := transforms.NewView(view.Spec)
	x.must(err)
	s, err := engine.ParseServed([]byte(served), nil)
	x.must(err)
	c, _ := s.Newest()
	fields := make([]schemas.Value, len(view.Source.Paths))
	for i, path := range view.Source.Paths {
		fields[i] = map[string]schemas.Value{"at": schemas.TimestampValue(c.EventTime), "lsn": schemas.IntValue(c.Version),
			"status": schemas.StringValue("corrupt"), "balance": schemas.DoubleValue(1e6)}[path]
	}
	e := schemas.Event{Offset: s.LastOffset(), Clock: s.Clock(), EventTime: c.EventTime + later, Fields: fields, Key: []schemas.Value{schemas.StringValue("x")}}
	e.Partition = int32(served[1]) // the header of a state: format, partition
	in := engine.NewInput()
	engine.Prepare(in, &e)
	fresh := engine.NewState(e.Partition)
	engine.Step(fresh, in)
	return string(engine.Encode(fresh).Served)
}

// fill appends accounts: changes, a tombstone, what is refused, what lies ahead, and
// one whose last record is not its newest.
func (x *tableRig) fill() {
	for i := range 24 {
		x.put(int32(i%2), fmt.Sprint("k", i%6), time.Duration(i%3)*time.Hour, fmt.Sprint("s", i), float64(i*10))
	}
	x.put(0, "closed", 0, "open", 5)
	x.put(0, "closed", 0, "", -1)
	x.put(1, "back", 0, "first", 50)
	x.put(1, "back", 5*time.Hour, "stale", 60)
	x.put(0, "ahead", -3*time.Minute, "soon", 70)
	x.message(0, log.Message{Value: []byte("?"), Key: []byte("garbage"), Timestamp: x.now})
	x.put(1, "far", -time.Hour, "future", 70)
}

// TestTable: a table over a compacted topic, all the way (K6): a stream that is
// killed, reads, a replay that gives the same bytes again, training, a comparison
// that finds what was damaged and knows what Kafka has removed.
func TestTable(t *testing.T) {
	x := newTableRig(t)
	x.exits(0, "check")
	if text := x.exits(0, "check", "--explain", "account.balance"); !strings.Contains(text, "the newest record before t") || !strings.Contains(text, "kept for ever") {
		t.Errorf("explain:\n%s", text)
	}
	x.fill()
	x.killed()
	x.put(1, "k1", 0, "late change", 990)
	x.exits(0, "tick", "--source", "accounts", "--brokers", x.brokers)
	x.exits(0, "cut", "-o", "cut.json", "--brokers", x.brokers)
	stream := x.exits(0, "stream", "--until", "cut.json", "--brokers", x.brokers, "--redis", x.redis)
	if !strings.Contains(stream, "future 1 + invalid 0") || !strings.Contains(stream, "future 0 + invalid 1") {
		t.Errorf("stream:\n%s", stream)
	}
	x.reads()
	if text := x.exits(0, "replay", "--cut", "cut.json", "--out", "tables", "--brokers", x.brokers); !strings.Contains(text, "a table: 11 entities") {
		t.Errorf("replay:\n%s", text)
	}
	x.exits(0, "replay", "--cut", "cut.json", "--out", "again", "--parallel", "1", "--memory", "16MB", "--brokers", x.brokers)
	if a, b := x.filesOf("tables"), x.filesOf("again"); len(a) < 4 || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("B1: %d and %d files:\n%v\n%v", len(a), len(b), a, b)
	}
	if r := x.reconcile(0); r.Verdict != "equal" || r.Cells.Compared != 11 || r.Cells.NotComparable+r.Cells.Open != 0 || r.Rows == 0 || r.Ledgers.Compared != 0 {
		t.Errorf("reconcile: %+v", r)
	}
	x.trains()
	x.damages()
	x.compacts()
	x.exits(0, "drop", "account", "--live", "--redis", x.redis)
	if r := x.run(x.dir, "get", "account", "ent=k1", "--redis", x.redis); strings.Contains(r.out, "990") {
		t.Errorf("dropped, and still read:\n%s", r.out)
	}
}

func (x *tableRig) reads() {
	x.Helper()
	at := x.now.Add(time.Hour).Format(time.RFC3339)
	for key, want := range map[string][3]string{
		"k1": {`PRESENT "late change"`, "PRESENT 990", "PRESENT true"}, "closed": {"ABSENT null", "ABSENT null", "ABSENT null"},
		"back": {`PRESENT "first"`, "PRESENT 50", "PRESENT false"}, "ahead": {`PRESENT "soon"`, "PRESENT 70", "PRESENT false"}, "far": {"ABSENT null", "ABSENT null", "ABSENT null"},
	} {
		v := x.get("account", "ent="+key, "--at", at)
		if have := [3]string{v["status"], v["balance"], v["rich"]}; have != want {
			x.Errorf("%s: %v, want %v", key, have, want)
		}
	}
	x.exits(0, "stream", "--until", "end", "--brokers", x.brokers, "--redis", x.redis, "--view", "v")
	if v := x.get("both", "ent=k1"); v["account__status"] != `PRESENT "late change"` || v["v__n_24h"] != "ABSENT null" {
		x.Errorf("service: %v", v)
	}
}

// trains asks for labels as of instants before and after what is newest now.
func (x *tableRig) trains() {
	x.Helper()
	t := func(d time.Duration) string { return x.now.Add(d).Format(time.RFC3339) }
	csv := "ent,timestamp\n" + strings.Join([]string{"k1," + t(time.Minute), "k1," + t(-time.Minute), "closed," + t(time.Minute), "back," + t(-100*24*time.Hour)}, "\n") + "\n"
	x.must(os.WriteFile(filepath.Join(x.dir, "labels.csv"), []byte(csv), 0o600))
	for _, knowledge := range []string{"complete", "arrival"} {
		x.exits(0, "train", "--view", "account", "--labels", "labels.csv", "-o", knowledge+".parquet", "--knowledge", knowledge, "--brokers", x.brokers, "--cut", "cut.json")
		b, err := os.ReadFile(filepath.Join(x.dir, knowledge+".parquet"))
		x.must(err)
		rows, err := parquetRows(b)
		x.must(err)
		var have []string
		for _, row := range rows {
			have = append(have, string(row["status__status"].ByteArray())+" "+string(row["status"].ByteArray()))
		}
		if want := []string{"PRESENT late change", "PRESENT s19", "ABSENT ", "ABSENT "}; !slices.Equal(have, want) {
			x.Errorf("train %s: %q, want %q", knowledge, have, want)
		}
	}
}

// damages: what is wrong in the online store is found and named (R3).
func (x *tableRig) damages() {
	x.Helper()
	key, field, served := x.state("k2")
	for _, later := range []schemas.Micros{0, 1} { // the log holds what a newer one would be, too
		x.server.HSet(key, field, x.other(served, later))
		r := x.reconcile(4)
		if r.Cells.Different != 1 || len(r.Listed) == 0 || r.Listed[0].Kind != "cell" || r.Listed[0].Cause != "corrupt" || r.Listed[0].Side != "online" {
			x.Errorf("corrupt: %+v", r)
		}
	}
	x.server.Del(key)
	r := x.reconcile(4)
	if r.Cells.Different != 1 || len(r.Listed) == 0 || r.Listed[0].Cause != "missing" || r.Listed[0].Side != "online" {
		x.Errorf("missing: %+v", r)
	}
	x.server.HSet(key, field, served[:len(served)-1]+string(served[len(served)-1]^1))
	if r = x.reconcile(3); len(r.Listed) != 1 || r.Listed[0].Kind != "state" || r.Listed[0].Cause != "corrupt" {
		x.Errorf("torn: %+v", r)
	}
	x.server.HSet(key, field, served)
	if r = x.reconcile(0); r.Verdict != "equal" {
		x.Errorf("healed: %+v", r)
	}
}

// compacts: Kafka keeps of an account the record that came last; where another was
// the newest, nothing can be said of it any more, and the others are still equal.
func (x *tableRig) compacts() {
	x.Helper()
	x.cluster.Compact()
	x.exits(0, "replay", "--cut", "cut.json", "--out", "tables", "--brokers", x.brokers)
	r := x.reconcile(0)
	if r.Verdict != "equal" || r.Cells.NotComparable < 1 || r.Cells.Compared < 4 || r.Cells.Compared+r.Cells.NotComparable != 11 {
		x.Errorf("compacted: %+v", r)
	}
	x.exits(0, "stream", "--until", "end", "--brokers", x.brokers, "--redis", x.redis, "--view", "account")
	if v := x.get("account", "ent=back"); v["status"] != `PRESENT "first"` {
		x.Errorf("back: %v", v)
	}
	if text := x.exits(1, "replay", "-f", "events.yaml", "--view", "account", "--brokers", x.brokers); !strings.Contains(text, "declare the source with `kind: table`") {
		x.Errorf("events of a compacted topic:\n%s", text)
	}
}
