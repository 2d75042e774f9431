package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/offline"
)

var replayKills = flag.Int("replay.kills", 2, "kill a replay this often in each of read, fold, write and publish")

// killed is a replay that is killed -9.
type killed struct {
	*testing.T
	rnd         *rand.Rand
	args        []string
	root        string // of the tables
	base        string // what they are a copy of; "" = there are none yet
	version     int    // of the commits to come
	reads       int    // how many units read
	folds       int
	kills       map[string]int    // by phase
	found       int64             // units that reruns found finished
	publication int               // kills between the commits of a publication
	nameless    int               // commits that never got their names
	swept       map[string]string // the files of one that was not killed, after gc
}

var phases = []string{"read", "fold", "write", "publish"}

// TestReplayKilled: B4. A replay that is killed -9 at any point, again and again, and
// is run again with other --parallel and --memory, leaves the files of one that was
// not, to the byte. What else it leaves are commits that never got their names; gc
// removes these, and nothing of the tables.
func TestReplayKilled(t *testing.T) {
	t.Parallel()
	definition, brokers := killedProject(t)
	dir := t.TempDir()
	cut := filepath.Join(dir, "cut.json")
	k := newKilled(t)
	common := []string{"-f", definition, "--brokers", brokers}
	k.program(append([]string{"cut", "-o", cut}, common...)...)
	k.args = append([]string{"replay", "--cut", cut, "--unit-records", "400", "--json"}, common...)
	k.run(dir)
}

// TestContinuedReplayKilled: B4, B5. Likewise one that goes on from tables.
func TestContinuedReplayKilled(t *testing.T) { killedUpon(t, "--continue") }

// TestDatesReplayKilled: B4. Likewise one that replaces dates of tables.
func TestDatesReplayKilled(t *testing.T) {
	t.Parallel()
	killedUpon(t, "--from-date", time.Now().UTC().AddDate(0, 0, -3).Format(time.DateOnly))
}

// killedUpon kills replays upon tables of the first half of a log.
func killedUpon(t *testing.T, flags ...string) {
	t.Helper()
	definition, brokers := killedProject(t)
	dir := t.TempDir()
	cut, first := filepath.Join(dir, "cut.json"), filepath.Join(dir, "first.json")
	k := newKilled(t)
	common := []string{"-f", definition, "--brokers", brokers}
	k.program(append([]string{"cut", "-o", cut}, common...)...)
	whole, err := schemas.LoadCut(cut)
	if err != nil {
		t.Fatal(err)
	}
	for p, pc := range whole.Topics["ev"].Partitions {
		pc.End /= 2
		whole.Topics["ev"].Partitions[p] = pc
	}
	if err := files.SaveJSON(files.OS{}, first, whole); err != nil {
		t.Fatal(err)
	}
	k.base, k.version = filepath.Join(dir, "base"), 1
	k.program(append([]string{"replay", "--cut", first, "--out", k.base}, common...)...)
	k.args = append([]string{"replay", "--cut", cut, "--unit-records", "400", "--json"}, append(flags, common...)...)
	k.run(dir)
}

func newKilled(t *testing.T) *killed {
	return &killed{T: t, rnd: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano()))), kills: map[string]int{}}
}

// begin makes the root what it is before the first attempt.
func (k *killed) begin(root string) {
	k.Helper()
	k.root = root
	if k.base == "" {
		return
	}
	if err := os.CopyFS(k.root, os.DirFS(k.base)); err != nil {
		k.Fatal(err)
	}
}

// run kills replays below dir, until enough were killed in each phase.
func (k *killed) run(dir string) {
	k.Helper()
	t := k.T
	k.begin(filepath.Join(dir, "whole"))
	units := k.finish(k.command("--parallel", "2"))
	k.folds = 8 // as many as shards
	k.reads = int(units.Ran) - k.folds - offline.WriteUnits
	want := k.files()
	if units.Found != 0 || k.reads < 15 || len(want) < 30 {
		t.Fatalf("%+v, %d files", units, len(want))
	}
	if err := k.gc(); err != nil {
		t.Fatal(err)
	}
	k.swept = k.files()
	for n := 0; k.left() != ""; n++ {
		if n > 40**replayKills {
			t.Fatalf("after %d attempts: kills %v", n, k.kills)
		}
		k.begin(filepath.Join(dir, fmt.Sprint("killed-", n)))
		for k.attempt() { // it is killed
		}
		if err := k.same(want); err != nil {
			t.Fatalf("B4: attempt %d, kills %v: %v", n, k.kills, err)
		}
		if err := os.RemoveAll(k.root); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("kills -9: %v, %d of them with a part of the publication visible; %d units were found finished; %d commits without a name", k.kills, k.publication, k.found, k.nameless)
	if k.found == 0 {
		t.Error("no rerun went on from what was finished")
	}
	if *replayKills >= 10 && k.publication == 0 {
		t.Error("no kill fell between the commits of a publication")
	}
}

// killedProject returns a definition, and the brokers that have its log: four days of
// events in three partitions, some of them late, invalid, twice or corrected.
func killedProject(t *testing.T) (definition, brokers string) {
	t.Helper()
	return logProject(t, strings.Replace(testbed.EventDefinition, "shards: 3", "shards: 8", 1), 3, func(producer *kgo.Client) {
		if err := producer.ProduceSync(t.Context(), killedLog()...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	})
}

func killedLog() (log []*kgo.Record) {
	const records = 12_000
	rnd := rand.New(rand.NewPCG(7, 7))
	at := time.Now().Add(-96 * time.Hour)
	for i := range records {
		stamp := at.Add(time.Duration(i) * 95 * time.Hour / records)
		id := i - rnd.IntN(40)/20*rnd.IntN(i/2+1)%200 // at times one from before
		e := testbed.Event{Ent: fmt.Sprint("e", id%500), ID: fmt.Sprint(id), Ver: 1 + int64(rnd.IntN(3)), ET: stamp.Add(-time.Duration(rnd.IntN(50)) * time.Minute).UnixMicro(), Amt: float64(rnd.IntN(10))}
		value := e.Bytes()
		switch rnd.IntN(100) {
		case 0:
			value = value[:len(value)-3]
		case 1:
			e.ET -= 3 * time.Hour.Microseconds()
			value = e.Bytes()
		}
		log = append(log, &kgo.Record{Topic: "ev", Partition: int32(id % 3), Timestamp: stamp, Value: value})
	}
	return log
}

// same tells whether the files are those of a replay that was not killed. Commits that
// never got their names may lie beside them, until gc removes these and nothing else.
func (k *killed) same(want map[string]string) error {
	k.Helper()
	for _, name := range differing(k.files(), want) {
		if k.base != "" && (strings.HasPrefix(name, "/_replay/") || strings.Contains(name, "/_staging/")) {
			continue // it was killed behind its last commit: the next one finds nothing to do
		}
		if dir, file := filepath.Split(name); !strings.HasSuffix(dir, "/_delta_log/") || !strings.HasPrefix(file, ".tmp-") {
			return fmt.Errorf("%s differs", name)
		}
		k.nameless++
	}
	err := k.gc()
	want = k.swept
	if d := differing(k.files(), want); err == nil && len(d) > 0 {
		err = fmt.Errorf("after gc %v differ", d)
	}
	return err
}

// gc removes what no version names that is read any more.
func (k *killed) gc() error {
	root, err := offline.OpenRoot(k.root, offline.RootOptions{})
	if err == nil {
		_, err = root.GC(k.Context(), offline.GCOptions{Retain: offline.LeastRetain, Now: time.Now().Add(2 * offline.LeastRetain)})
	}
	return err
}

// left is a phase in which too few were killed, "" for none.
func (k *killed) left() string {
	var out []string
	for _, p := range phases {
		if k.kills[p] < *replayKills {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return out[k.rnd.IntN(len(out))]
}

func (k *killed) command(more ...string) *exec.Cmd {
	cmd := exec.CommandContext(k.Context(), os.Args[0], append(append(k.args, "--out", k.root), more...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// program runs the program, which must succeed.
func (k *killed) program(args ...string) {
	k.Helper()
	cmd := exec.CommandContext(k.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if b, err := cmd.CombinedOutput(); err != nil {
		k.Fatalf("%v: %s", err, b)
	}
}

// finish runs a replay to its end.
func (k *killed) finish(cmd *exec.Cmd) replayedUnits {
	k.Helper()
	var said, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &errs
	if err := cmd.Run(); err != nil {
		k.Fatalf("%v: %s", err, errs.String())
	}
	var out replayOutput
	if err := json.Unmarshal(said.Bytes(), &out); err != nil {
		k.Fatal(err)
	}
	if out.Views[0].Units == nil { // it was published before
		return replayedUnits{}
	}
	return *out.Views[0].Units
}

// attempt runs a replay and kills it at some point of a phase; false: it has come to
// its end instead.
func (k *killed) attempt() bool {
	k.Helper()
	target := k.left()
	cmd := k.command("--parallel", fmt.Sprint(1+k.rnd.IntN(3)), "--memory", []string{"100MB", "300MB", "1GB"}[k.rnd.IntN(3)])
	if target == "" {
		k.found += k.finish(cmd).Found
		return false
	}
	var said, errs testbed.Heard
	cmd.Stdout, cmd.Stderr = &said, &errs
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	late := map[string]int{"read": k.reads, "fold": k.folds, "write": offline.WriteUnits, "publish": 4}[target]
	after := k.rnd.IntN(late) // units of the phase, or commits
	looks := k.rnd.IntN(16)   // how often it is seen there before it is killed, within a unit
	if after > 0 && target == "publish" {
		looks = 0
	}
wait:
	for {
		select {
		case err := <-done:
			return k.ended(err, said.String(), errs.String())
		case <-time.After(200 * time.Microsecond):
		}
		if phase, n := k.phase(); phase == target && n >= after {
			if looks--; looks < 0 {
				break wait
			}
		}
	}
	_ = cmd.Process.Kill()
	if err := <-done; err == nil { // it was faster
		return k.ended(err, said.String(), errs.String())
	}
	if phase, _ := k.phase(); phase != "" {
		k.kills[phase]++
	}
	if n := k.commits(); n > 0 && n < 4 {
		k.publication++
	}
	return true
}

// ended looks at a replay that was not killed.
func (k *killed) ended(err error, said, errs string) bool {
	k.Helper()
	if err != nil {
		k.Fatalf("%v: %s", err, errs)
	}
	var out replayOutput
	if err := json.Unmarshal([]byte(said), &out); err != nil {
		k.Fatal(err)
	}
	if u := out.Views[0].Units; u != nil {
		k.found += u.Found
	}
	return false
}

// phase says where a replay stands by what it has left, and how many units of the
// phase are finished; "" before it has begun.
func (k *killed) phase() (string, int) {
	names, _ := filepath.Glob(filepath.Join(k.root, "_replay", "v", "*", "*"))
	count := map[string]int{}
	for _, n := range names {
		kind, _, _ := strings.Cut(filepath.Base(n), "-")
		if strings.HasSuffix(n, ".json") {
			count[kind]++
		}
	}
	switch {
	case len(names) == 0:
		return "", 0
	case count["write"] == offline.WriteUnits:
		return "publish", k.commits()
	case count["fold"] == k.folds:
		return "write", count["write"]
	case count["read"]+count["carry"] == k.reads:
		return "fold", count["fold"]
	}
	return "read", count["read"] + count["carry"]
}

// commits is how many tables have their commit.
func (k *killed) commits() int {
	names, _ := filepath.Glob(filepath.Join(k.root, "v", "*", "_delta_log", fmt.Sprintf("%020d.json", k.version)))
	return len(names)
}

// files returns the digests of all files below the root.
func (k *killed) files() map[string]string {
	k.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(k.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		sum := sha256.Sum256(b)
		out[strings.TrimPrefix(path, k.root)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.Fatal(err)
	}
	return out
}

// differing names files that are not the same.
func differing(a, b map[string]string) (out []string) {
	for name := range a {
		if a[name] != b[name] {
			out = append(out, name)
		}
	}
	for name := range b {
		if a[name] == "" {
			out = append(out, name)
		}
	}
	return out
}
