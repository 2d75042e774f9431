package offline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
)

func newTestTable(t testing.TB) (*Table, *Local) {
	t.Helper()
	l, err := NewLocal(filepath.Join(t.TempDir(), "t"))
	if err != nil {
		t.Fatal(err)
	}
	return NewTable(l, "t"), l
}

func testMetadata(t testing.TB) *Metadata {
	t.Helper()
	m, err := newMetadata("t", []Column{dateColumn, partitionColumn}, sampleColumns, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// B2: of twenty jobs that publish one version one wins, the others are told; of
// twenty identical ones all have published.
func TestCommitRace(t *testing.T) {
	ctx := context.Background()
	for round := range 20 {
		table, l := newTestTable(t)
		base, err := table.Snapshot(ctx, Latest)
		if err != nil {
			t.Fatal(err)
		}
		same := round%4 == 3
		var wg sync.WaitGroup
		errs := make([]error, 20)
		for i := range errs {
			wg.Go(func() {
				info := fmt.Sprint("job ", i)
				if same {
					info = "job"
				}
				_, errs[i] = table.Commit(ctx, base, Change{Operation: "WRITE", Info: info, Metadata: testMetadata(t)})
			})
		}
		wg.Wait()
		won := slices.IndexFunc(errs, func(err error) bool { return err == nil })
		for i, err := range errs {
			if (same || i == won) != (err == nil) || err != nil && !errors.Is(err, ErrConflict) {
				t.Errorf("round %d, job %d: %v", round, i, err)
			}
		}
		s, err := table.Snapshot(ctx, Latest)
		if err != nil || s.Version != 0 || !same && string(s.Info) != fmt.Sprintf("%q", fmt.Sprint("job ", won)) {
			t.Errorf("version %d, %s, winner %d, %v", s.Version, s.Info, won, err)
		}
		if left, _ := os.ReadDir(filepath.Join(l.root, "_delta_log")); len(left) != 1 {
			t.Errorf("%d files in the log", len(left))
		}
	}
}

// A log that others have written to is read: unknown actions and fields, any
// types in commitInfo, no newline at the end.
func TestForeignCommits(t *testing.T) {
	ctx := context.Background()
	table, l := newTestTable(t)
	date := "2026-01-01"
	file := DataFile{Path: "event_date=2026-01-01/source_partition=1/a.parquet", Size: 7, Partition: map[string]*string{"event_date": &date, "source_partition": new("1")}}
	if err := table.Create(ctx, Change{Info: map[string]int{"x": 1}, Metadata: testMetadata(t), Add: []DataFile{file}, Txn: &Txn{AppID: "tallystick:v", Version: 9}}); err != nil {
		t.Fatal(err)
	}
	foreign := `{"add":{"path":"event_date=2026-01-02/source_partition=1/b%2520c.parquet","size":9,"modificationTime":1,"dataChange":true,"partitionValues":{"event_date":"2026-01-02","source_partition":null},"defaultRowCommitVersion":3}}
{"domainMetadata":{"domain":"x"}}

{"remove":{"path":"event_date=2026-01-01/source_partition=1/a.parquet","deletionTimestamp":5,"dataChange":true}}
{"commitInfo":{"timestamp":"soon","operation":["odd"],"isBlindAppend":"no","engineInfo":3}}`
	if err := l.PutIfAbsent(ctx, logName(1), []byte(foreign)); err != nil {
		t.Fatal(err)
	}
	s, err := table.Snapshot(ctx, Latest)
	if err != nil || s.Version != 1 || s.InfoVersion != 0 || s.Txn["tallystick:v"] != 9 || len(s.Files) != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	if f := s.Files[0]; f.Path != "event_date=2026-01-02/source_partition=1/b%20c.parquet" || f.partitionValue("source_partition") != "" || f.partitionValue("event_date") != "2026-01-02" {
		t.Errorf("%+v", f)
	}
	if s, err := table.Snapshot(ctx, 0); err != nil || s.Version != 0 || s.Files[0].Path != file.Path {
		t.Errorf("version 0: %+v %v", s, err)
	}
	if _, err := table.Snapshot(ctx, 2); err == nil || !strings.Contains(err.Error(), "no version 2, the newest is 1") {
		t.Errorf("version 2: %v", err)
	}
	if v, err := table.Commit(ctx, s, Change{Info: 1}); v != 2 || err != nil {
		t.Errorf("on top: %d %v", v, err)
	}
}

// What is not read is refused by name.
func TestRefusedLogs(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct{ name, content, want string }{
		{logName(1), `{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}`, "protocol version 3"},
		{logName(1), `{"add":{"path":"x","size":1,"deletionVector":{"storageType":"u"}}}`, "deletion vector"},
		{logName(1), `{"add":{"path":"s3://b/x","size":1}}`, "outside the table"},
		{logName(1), `{"add":`, "line 1"},
		{logName(2), `{}`, "version 1: its commit is gone, that of version 2 is there: restore it from a copy"},
		{logName(3), `{}`, "version 1: its commit is gone, that of version 3 is there"},
		{"_delta_log/_last_checkpoint", `{"version":10,"size":1}`, "Parquet checkpoint of version 10"},
	} {
		table, l := newTestTable(t)
		if err := table.Create(ctx, Change{Metadata: testMetadata(t)}); err != nil {
			t.Fatal(err)
		}
		if err := l.PutIfAbsent(ctx, c.name, []byte(c.content)); err != nil {
			t.Fatal(err)
		}
		if _, err := table.Snapshot(ctx, Latest); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.content, err)
		}
	}
	// A checkpoint whose JSON commits are all there is harmless.
	table, l := newTestTable(t)
	if err := table.Create(ctx, Change{Metadata: testMetadata(t)}); err != nil {
		t.Fatal(err)
	}
	if err := l.PutIfAbsent(ctx, "_delta_log/_last_checkpoint", []byte(`{"version":0}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Snapshot(ctx, Latest); err != nil {
		t.Error(err)
	}
	if _, err := table.Commit(ctx, &Snapshot{Version: 0, writer: 7}, Change{}); err == nil || !strings.Contains(err.Error(), "protocol version 7") {
		t.Errorf("writer 7: %v", err)
	}
}

func TestPartitionPaths(t *testing.T) {
	cols := []Column{{Name: "region"}, {Name: "p"}}
	for _, c := range []struct{ value, dir, path string }{
		{"a/b", "region=a%2Fb", "region=a%252Fb"},
		{"ü x", "region=ü x", "region=%C3%BC%20x"},
		{"%2F", "region=%252F", "region=%25252F"},
		{"k=v:'q'\"", "region=k%3Dv%3A%27q%27%22", "region=k%253Dv%253A%2527q%2527%2522"},
		{"", "region=__HIVE_DEFAULT_PARTITION__", "region=__HIVE_DEFAULT_PARTITION__"},
	} {
		dir := partitionDir(cols, []*string{&c.value, new("1")})
		if dir != c.dir+"/p=1" || encodePath(dir) != c.path+"/p=1" {
			t.Errorf("%q: %s %s", c.value, dir, encodePath(dir))
		}
		if back, err := decodePath(encodePath(dir)); err != nil || back != dir {
			t.Errorf("%q: %s %v", c.value, back, err)
		}
	}
	if dir := partitionDir(cols, []*string{nil, nil}); dir != "region="+hiveNull+"/p="+hiveNull {
		t.Error(dir)
	}
}

func TestCheckRoot(t *testing.T) {
	for root, want := range map[string]string{"/a/ü": "not ASCII", "/a b/t": "space", "/a%41": "escape", "/env=prod/t": "key=value", "s3://bucket/a\tb": "control"} {
		if err := CheckRoot(root); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "plain ASCII") {
			t.Errorf("%s: %v", root, err)
		}
	}
	if err := CheckRoot("/data/tables-1/v_2.x"); err != nil {
		t.Error(err)
	}
	if _, err := NewLocal(filepath.Join(t.TempDir(), "a=b")); err == nil {
		t.Error("a=b is taken")
	}
}

func TestDeltaStats(t *testing.T) {
	_, info := writeSample(t, [][]schemas.Value{
		{schemas.BytesValue("e"), schemas.StringValue("<ü>"), {}, schemas.IntValue(9007199254741993), schemas.DoubleValue(0.1), {}, {},
			schemas.TimestampValue(1_767_225_600_123_999), schemas.IntValue(20454)},
		{schemas.BytesValue("e"), schemas.StringValue("z"), {}, schemas.IntValue(-1), {}, schemas.StringValue(strings.Repeat("x", 200)), {},
			schemas.TimestampValue(1_767_225_600_000_000), {}},
	})
	got, err := deltaStats(sampleColumns, info)
	want := `{"numRecords":2,"minValues":{"a,odd name":"<ü>","at":"2026-01-01T00:00:00.000000Z","day":"2026-01-01","n":-1,"x":0.1},` +
		`"maxValues":{"a,odd name":"z","at":"2026-01-01T00:00:00.123999Z","day":"2026-01-01","n":9007199254741993,"x":0.1},` +
		`"nullCount":{"a,odd name":0,"at":0,"data":2,"day":1,"entity":0,"flag":2,"n":0,"s":1,"x":1}}`
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

// B1: the golden table. What changes it is a new layout version, or format of commits.
const goldenTables = "b8ff4973155e718fd8164830fcf740188cdd688802d3d51dc8519c3798133733"

func TestGoldenTables(t *testing.T) {
	v := testView(t, testDefinition)
	root := t.TempDir()
	if _, err := randomRun(v, 42, 20).publish(t, openTables(t, root, v), publishOptions{end: 3}); err != nil {
		t.Fatal(err)
	}
	files := tree(t, root)
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// The fingerprint is package definition's to keep.
		fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256([]byte(withoutID(files[name], v.Fingerprint))))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != goldenTables {
		t.Errorf("the tables' sha256 is %s, it was %s", got, goldenTables)
	}
}

// withoutID takes the fingerprint and what is derived from it out of a commit.
func withoutID(s, fingerprint string) string {
	s = strings.ReplaceAll(s, fingerprint, "")
	if i := strings.Index(s, `"publication":"`); i >= 0 {
		i += len(`"publication":"`)
		s = s[:i] + s[i+32:]
	}
	return s
}

// faultFiles fails at its nth operation and at every later one, as a killed
// process does nothing more.
type faultFiles struct {
	files.OS
	left *atomic.Int64
}

func faultAfter(n int64) *atomic.Int64 {
	left := new(atomic.Int64)
	left.Store(n)
	return left
}

var errFault = errors.New("injected")

func (f faultFiles) fault() error {
	if f.left.Add(-1) < 0 {
		return errFault
	}
	return nil
}

func (f faultFiles) Read(p string) ([]byte, error) {
	if err := f.fault(); err != nil {
		return nil, err
	}
	return f.OS.Read(p)
}

func (f faultFiles) CreateTemp(dir, pattern string) (files.File, error) {
	if err := f.fault(); err != nil {
		return nil, err
	}
	x, err := f.OS.CreateTemp(dir, pattern)
	return faultFile{x, f}, err
}

func (f faultFiles) Link(a, b string) error {
	return first(f.fault, func() error { return f.OS.Link(a, b) })
}
func (f faultFiles) Rename(a, b string) error {
	return first(f.fault, func() error { return f.OS.Rename(a, b) })
}
func (f faultFiles) Remove(p string) error {
	return first(f.fault, func() error { return f.OS.Remove(p) })
}
func (f faultFiles) RemoveAll(p string) error {
	return first(f.fault, func() error { return f.OS.RemoveAll(p) })
}
func (f faultFiles) MkdirAll(p string) error {
	return first(f.fault, func() error { return f.OS.MkdirAll(p) })
}
func (f faultFiles) Sync(string) error { return f.fault() }

func first(fault, fn func() error) error {
	if err := fault(); err != nil {
		return err
	}
	return fn()
}

type faultFile struct {
	files.File
	f faultFiles
}

func (x faultFile) Write(b []byte) (int, error) {
	if err := x.f.fault(); err != nil { // a torn write
		n, _ := x.File.Write(b[:len(b)/2])
		return n, err
	}
	return x.File.Write(b)
}
func (x faultFile) Sync() error  { return x.f.fault() } // nobody pulls the plug on a test
func (x faultFile) Close() error { x.File.Close(); return x.f.fault() }

func faulty(t *Tables, left *atomic.Int64) *Tables {
	for _, table := range t.tables {
		table.store.(*Local).files = faultFiles{left: left}
	}
	return t
}

// B2, B4: killed at any file operation, the tables stand at a whole publication,
// the old one or the new one, and a rerun gives the bytes of a run in peace.
func TestKilledAnywhere(t *testing.T) {
	v := testView(t, testDefinition)
	old, next := randomRun(v, 1, 1), randomRun(v, 2, 1)
	publishBoth := func(root string, left *atomic.Int64) error {
		if left == nil {
			left = faultAfter(1 << 30)
		}
		_, err := next.publish(t, faulty(openTables(t, root, v), left), publishOptions{end: 2})
		return err
	}
	published := t.TempDir()
	if _, err := old.publish(t, faulty(openTables(t, published, v), faultAfter(1<<30)), publishOptions{end: 1}); err != nil {
		t.Fatal(err)
	}
	begin := func() string {
		root := t.TempDir()
		if err := os.CopyFS(root, os.DirFS(published)); err != nil {
			t.Fatal(err)
		}
		return root
	}
	peace := begin()
	if err := publishBoth(peace, nil); err != nil {
		t.Fatal(err)
	}
	want := tree(t, peace)
	for n := int64(0); ; n++ {
		root := begin()
		err := publishBoth(root, faultAfter(n))
		got := readBack(t, openTables(t, root, v)).String()
		if isOld, isNew := got == old.sorted().String(), got == next.sorted().String(); !isOld && !isNew || err == nil && !isNew {
			t.Fatalf("operation %d (%v): the tables are at no publication", n, err)
		}
		if err != nil && !errors.Is(err, errFault) {
			t.Errorf("operation %d: %v", n, err)
		}
		if e := publishBoth(root, nil); e != nil {
			t.Fatalf("operation %d: rerun: %v", n, e)
		}
		have := tree(t, root)
		for name := range have {
			if strings.Contains(name, ".tmp-") { // of the killed process; gc takes it
				delete(have, name)
			}
		}
		if !maps.Equal(have, want) {
			t.Fatalf("operation %d: a rerun gives other files", n)
		}
		if err == nil {
			t.Logf("%d operations", n)
			break
		}
	}
}

// Put-if-absent never shows half a file and leaves nothing behind.
func TestPutIfAbsent(t *testing.T) {
	ctx := context.Background()
	_, l := newTestTable(t)
	if err := l.PutIfAbsent(ctx, "a/b", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := l.PutIfAbsent(ctx, "a/b", []byte("2")); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if b, err := l.Read(ctx, "a/b"); err != nil || string(b) != "1" {
		t.Errorf("%s %v", b, err)
	}
	for _, bad := range []string{"../x", "/x", "", "a/../x"} {
		if _, err := l.Read(ctx, bad); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
