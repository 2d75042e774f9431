package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// diskRig is a log, and replays of it on disks that fail.
type diskRig struct {
	*testing.T
	definition, brokers string
	client              *log.Client
	view                *definition.View
	cuts                [2]*schemas.Cut // of the tables that were there before, and of the replay
}

// newDiskRig has few records whose ids and values are so large that a replay with the
// least memory spills both what it folds and what it quarantines.
func newDiskRig(t *testing.T) *diskRig {
	t.Helper()
	r := &diskRig{T: t}
	r.definition, r.brokers = logProject(t, strings.Replace(testbed.EventDefinition, "shards: 3", "shards: 1", 1), 1, func(producer *kgo.Client) {
		var records []*kgo.Record
		at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		for i := range 120 {
			stamp := at.Add(time.Duration(i) * 10 * time.Minute)
			value := testbed.Event{Ent: fmt.Sprint("e", i%3), ID: fmt.Sprintf("%d-%s", i, strings.Repeat("x", 7_500)), Ver: 1, ET: stamp.UnixMicro(), Amt: 1}.Bytes()
			if i%5 == 4 {
				value = bytes.Repeat([]byte{byte(i)}, 7_500)
			}
			records = append(records, &kgo.Record{Topic: "ev", Timestamp: stamp, Value: value})
		}
		if err := producer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	})
	c := common{file: r.definition, brokers: r.brokers}
	vs, err := c.loadViews(nil)
	if err == nil {
		r.view = vs[0]
		r.client, err = c.open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	for i := range r.cuts {
		if r.cuts[i], err = cutOf(t.Context(), r.client, nil, vs); err != nil {
			t.Fatal(err)
		}
	}
	part := r.cuts[0].Topics["ev"].Partitions
	part[0] = schemas.PartitionCut{End: part[0].End - 50}
	return r
}

// replay runs a whole replay into dir: tables and the file of quarantined records.
func (r *diskRig) replay(dir string, cut *schemas.Cut, disk files.Files) error {
	f := &replayFlags{common: common{file: r.definition, brokers: r.brokers}, limits: limits{memory: 4, parallel: 1, spill: dir}, out: filepath.Join(dir, "tables"),
		quarantine: filepath.Join(dir, "quarantine"), units: defaultUnits()}
	f.files = disk
	if err := os.MkdirAll(f.quarantine, 0o700); err != nil {
		r.Fatal(err)
	}
	topic := cut.Topics["ev"]
	topic.Partitions = maps.Clone(topic.Partitions)
	// A name of its own: to take it of the build would read the test's program each time.
	o := jobOptions{id: fmt.Sprint("end-", topic.Partitions[0].End), from: schemas.Never, records: 60}
	_, err := f.whole(r.Context(), r.client, r.view, topic, o)
	return err
}

// read is what a reader of the tables gets: a digest of the rows, "" for none.
func (r *diskRig) read(dir string) string {
	r.Helper()
	tables, err := offline.OpenTables(filepath.Join(dir, "tables"), r.view)
	if err != nil {
		r.Fatal(err)
	}
	ctx, h := context.Background(), sha256.New()
	p, err := tables.Published(ctx)
	if errors.Is(err, offline.ErrNothingPublished) {
		return ""
	}
	if err != nil {
		r.Fatalf("B2: the tables cannot be read: %v", err)
	}
	add := func(row any, err error) {
		if err != nil {
			r.Fatalf("B2: the tables cannot be read: %v", err)
		}
		fmt.Fprintln(h, row)
	}
	for x, err := range p.Features(ctx, offline.Select{}) {
		add(x, err)
	}
	for x, err := range p.Tiles(ctx, offline.Select{}) {
		add(x, err)
	}
	for x, err := range p.Open(ctx, offline.Select{}) {
		add(x, err)
	}
	return fmt.Sprintf("%s %x", p.Info.ID, h.Sum(nil))
}

// tree returns the digests of all files below dir.
func (r *diskRig) tree(dir string) map[string]string {
	r.Helper()
	return (&killed{T: r.T, root: dir}).files()
}

// records counts the units of work areas that are recorded as finished.
func (r *diskRig) records(dir string) int64 {
	names, _ := filepath.Glob(filepath.Join(dir, "tables", "_replay", "v", "*", "*.json"))
	return int64(len(names))
}

// commits counts those of the tables.
func (r *diskRig) commits(dir string) int64 {
	names, _ := filepath.Glob(filepath.Join(dir, "tables", "v", "*", "_delta_log", "*.json"))
	return int64(len(names))
}

// before returns a directory with the tables of the earlier cut, or without any.
func (r *diskRig) before(old bool) string {
	r.Helper()
	dir := r.TempDir()
	if old {
		if err := r.replay(dir, r.cuts[0], newFaultyFiles(fault{}, -1)); err != nil {
			r.Fatal(err)
		}
	}
	return dir
}

// B2, B4: whichever operation of a replay a disk fails at, once or from then on, in its
// work area, spilled rows, staged files, commits, or its file of quarantined records:
// it ends with an error that names the file and says what to do, and readers
// see the tables as they were or whole. It is run again each time, goes on from what
// was finished, and has left in the end, to the byte, what a replay that never failed
// does.
func TestReplayOnFailingDisk(t *testing.T) {
	t.Parallel()
	r := newDiskRig(t)
	for _, c := range []struct {
		fault
		old bool // there were tables before
	}{
		{fault{name: "full", err: syscall.ENOSPC, stays: true}, false},
		{fault{name: "broken", err: syscall.EIO, short: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) { newFailingReplay(t, r, c.fault, c.old).run() })
	}
}

// failingReplay is a replay that is run again and again, and what is known of one that
// does not fail.
type failingReplay struct {
	*diskRig
	fault     fault
	dir       string
	old, next string // what readers see before and after it
	files     map[string]string
	seen      map[operation]bool
	failed    map[operation]bool
	published map[string]string // the tables' files that sees was read from
	sees      string
}

func newFailingReplay(t *testing.T, rig *diskRig, f fault, old bool) *failingReplay {
	t.Helper()
	own := *rig
	own.T = t
	r := &failingReplay{diskRig: &own, fault: f, failed: map[operation]bool{}}
	r.dir = r.before(old)
	peace := t.TempDir()
	if err := os.CopyFS(peace, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	disk := newFaultyFiles(f, -1)
	if err := r.replay(peace, r.cuts[1], disk); err != nil {
		t.Fatal(err)
	}
	for _, spilled := range []string{"/fold-000-0", "/fold-000-1", "/quarantine-", "/v.parquet.spill"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(disk.seen)), func(o operation) bool { return o.op == "write" && strings.Contains(o.path, spilled) }) {
			t.Errorf("nothing is spilled into %s", spilled)
		}
	}
	r.old, r.next, r.files, r.seen = r.read(r.dir), r.read(peace), r.tree(peace), r.below(peace, disk.seen)
	return r
}

// below has operations by their paths below dir.
func (r *failingReplay) below(dir string, ops map[operation]bool) map[operation]bool {
	out := map[operation]bool{}
	for o := range ops {
		o.path = strings.TrimPrefix(o.path, dir)
		if parts := strings.SplitN(o.path, "/", 5); o.op == "sync" && len(parts) > 3 { // those of a table come in any order
			o.path = strings.Join(parts[:4], "/")
		}
		out[o] = true
	}
	return out
}

// run fails at each operation in turn: at the first of what is left where something has
// been finished, else at the one after that which failed last.
func (r *failingReplay) run() {
	runs, done := 0, int64(-1)
	for n := 0; ; n++ {
		if runs++; runs > 10*len(r.seen) {
			r.Fatalf("B4: after %d runs it has not come to an end, with %d units and commits", runs, done)
		}
		disk := newFaultyFiles(r.fault, n)
		err := r.replay(r.dir, r.cuts[1], disk)
		if len(disk.failed) == 0 && err != nil {
			r.Fatalf("B4: run %d, without a fault: %v", runs, err)
		}
		maps.Copy(r.failed, r.below(r.dir, map[operation]bool{disk.first(): true}))
		r.check(fmt.Sprintf("run %d, operation %d, %v", runs, n, disk.failed), disk, err)
		if err == nil {
			break
		}
		if now := r.records(r.dir) + r.commits(r.dir); now != done {
			n, done = -1, now
		}
	}
	for o := range r.seen {
		if !r.failed[o] && !o.tidies() {
			r.Errorf("%v never failed", o)
		}
	}
	if err := r.replay(r.dir, r.cuts[1], newFaultyFiles(fault{}, -1)); err != nil {
		r.Fatal(err)
	}
	if d := differing(r.tree(r.dir), r.files); len(d) > 0 {
		r.Errorf("B4: %v differ", d)
	}
	r.Logf("%d runs, %d operations", runs, len(r.seen))
}

// check: an error that the disk is to blame for names the file and says what to do, and
// a reader sees nothing of what is not whole.
func (r *failingReplay) check(what string, disk *faultyFiles, err error) {
	r.Helper()
	var e *files.Error
	switch {
	case err == nil && len(disk.failed) > 0 && !disk.failed[len(disk.failed)-1].tidies():
		r.Errorf("B2: %s: nobody noticed", what)
	case err == nil:
	case !errors.As(err, &e) || !errors.Is(err, r.fault.err):
		r.Errorf("B2: %s: the error is %T: %v", what, err, err)
	case !strings.Contains(err.Error(), e.Path) || !strings.Contains(err.Error(), "then run the command again"):
		r.Errorf("B2: %s: it does not say what to do: %v", what, err)
	}
	published := r.tree(filepath.Join(r.dir, "tables", "v"))
	maps.DeleteFunc(published, func(name, _ string) bool { return strings.Contains(name, "_staging") })
	if !maps.Equal(published, r.published) {
		r.published, r.sees = published, r.read(r.dir)
	}
	if r.sees != r.next && (err == nil || r.sees != r.old) {
		r.Fatalf("B2: %s: %v: a reader sees a part", what, err)
	}
}

// B2: --save-cut, and the file of a plan, which is written likewise, is there whole or
// as it was, whichever operation fails.
func TestSaveOnFailingDisk(t *testing.T) {
	for n := 0; ; n++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "cut.json")
		if err := os.WriteFile(path, []byte("as it was"), 0o600); err != nil {
			t.Fatal(err)
		}
		disk := newFaultyFiles(fault{err: syscall.ENOSPC, short: true}, n)
		r := &replayFlags{storeFlags: storeFlags{files: disk}, saveCut: path}
		err := r.save(&schemas.Cut{Topics: map[string]schemas.TopicCut{}})
		got, _ := os.ReadFile(path)
		left, _ := os.ReadDir(dir)
		if err == nil {
			if string(got) != "{\n  \"topics\": {}\n}\n" || len(disk.failed) > 0 || n < 5 {
				t.Errorf("%d operations, %v: %s", n, disk.failed, got)
			}
			return
		}
		var e *files.Error
		if !errors.As(err, &e) || string(got) != "as it was" || len(left) != 1 {
			t.Errorf("B2: %v: %v, %s, %d files", disk.failed, err, got, len(left))
		}
	}
}
