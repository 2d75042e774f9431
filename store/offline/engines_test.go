//go:build real && engines

package offline

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/servers"
	"github.com/tallystick/tallystick/schemas"
)

// engineDirs returns the Python of the engines and the directory of Spark's jars,
// installed once into the user's cache directory, by the versions that testdata
// names.
func engineDirs(t *testing.T) (python, jars string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, from := filepath.Join(cache, "tallystick-test", "engines-1"), filepath.Join("testdata", "engines")
	python, jars = filepath.Join(dir, "venv", "bin", "python"), filepath.Join(dir, "jars")
	steps := [][]string{{"python3", "-m", "venv", filepath.Join(dir, "venv")},
		{python, "-m", "pip", "install", "-q", "-r", filepath.Join(from, "requirements.txt")},
		{"mvn", "-q", "-B", "-f", filepath.Join(from, "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=" + jars}}
	done := filepath.Join(dir, "done")
	if _, err := os.Stat(done); err == nil {
		return python, jars
	}
	for _, argv := range steps {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("the engines cannot be installed: %v: %v\n%s", argv, err, out)
		}
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return python, jars
}

// engine is another reader, in a process of its own whose zone is Asia/Kolkata.
type engine struct {
	name string
	in   io.Writer
	out  *bufio.Reader
}

func startEngine(t *testing.T, name, python, jars string) *engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	cmd := exec.CommandContext(ctx, python, filepath.Join("testdata", "engines", "read.py"), name, jars)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") && strings.HasSuffix(v, "=") }),
		"TZ=Asia/Kolkata", "SPARK_LOCAL_IP=127.0.0.1") // delta-rs takes an empty endpoint for one
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s: %v\n%s", name, err, b[max(0, len(b)-3000):])
		}
		log.Close()
		cancel()
	})
	return &engine{name, in, bufio.NewReader(out)}
}

type engineAnswer struct {
	Columns map[string]string `json:"columns"`
	Rows    [][]string        `json:"rows"`
	Error   string            `json:"error"`
}

// ask reads a table at a version, Latest for the newest, where a condition holds.
func (e *engine) ask(t *testing.T, uri string, version int64, where string) *engineAnswer {
	t.Helper()
	request := map[string]any{"uri": uri, "version": nil, "where": nil}
	if version != Latest {
		request["version"] = version
	}
	if where != "" {
		request["where"] = where
	}
	if err := json.NewEncoder(e.in).Encode(request); err != nil {
		t.Fatal(err)
	}
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the engine has ended: %v", err)
	}
	var a engineAnswer
	if err := json.Unmarshal(line, &a); err != nil || a.Error != "" {
		t.Fatalf("%s, version %d, %q: %v%s", uri, version, where, err, a.Error)
	}
	return &a
}

// ours reads a table as our own reader does, in the engines' form.
func ours(t *testing.T, table *Table, version int64) *engineAnswer {
	t.Helper()
	s, err := table.Snapshot(t.Context(), version)
	if err != nil {
		t.Fatal(err)
	}
	out := &engineAnswer{}
	if out.Columns, err = s.Columns(); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(out.Columns))
	for _, f := range s.Files {
		b, err := table.store.Open(t.Context(), f.Path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRows(b, b.Size(), f.Path)
		if err != nil {
			t.Fatal(err)
		}
		for {
			row, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			texts := map[string]string{}
			for k, v := range f.Partition {
				texts[k] = "null"
				if v != nil {
					texts[k] = *v
				}
			}
			for i, c := range r.Columns() {
				texts[c.Name] = engineText(c, row[i])
			}
			var line []string
			for _, n := range names {
				line = append(line, texts[n])
			}
			out.Rows = append(out.Rows, line)
		}
		r.Close()
		b.Close()
	}
	return out
}

func engineText(c Column, v schemas.Value) string {
	switch {
	case v.IsNull():
		return "null"
	case c.Date:
		return dateText(v.Int())
	case c.Kind == schemas.Timestamp:
		return fmt.Sprintf("@%d", int64(v.Micros()))
	case c.Kind == schemas.Bytes:
		return "0x" + hex.EncodeToString([]byte(v.Text()))
	case c.Kind == schemas.Double:
		return strconv.FormatFloat(v.Double(), 'x', -1, 64)
	case c.Kind == schemas.Bool:
		return strconv.FormatBool(v.Bool())
	case c.Kind == schemas.Int:
		return strconv.FormatInt(v.Int(), 10)
	}
	return v.Text()
}

// normal sorts rows, and gives doubles one spelling.
func (a *engineAnswer) normal(t *testing.T) []string {
	t.Helper()
	names := slices.Sorted(maps.Keys(a.Columns))
	var out []string
	for _, row := range a.Rows {
		for i, n := range names {
			if a.Columns[n] == "double" && row[i] != "null" {
				x, err := strconv.ParseFloat(row[i], 64)
				if err != nil {
					t.Fatal(err)
				}
				row[i] = strconv.FormatFloat(x, 'x', -1, 64)
			}
		}
		out = append(out, strings.Join(row, "|"))
	}
	slices.Sort(out)
	return out
}

// TestEngines: B2, B3. delta-rs, DuckDB and Spark, in the zone of Asia/Kolkata, read
// every table at every version as our own reader does: columns, types, rows and
// values; and filters by instant, date and partition find the same rows. In a
// directory and on S3.
func TestEngines(t *testing.T) {
	python, jars := engineDirs(t)
	server, err := servers.StartS3(t.Context())
	servers.Check(t, err)
	t.Cleanup(server.Close)
	server.Setenv(t)
	x := &s3Rig{S3: server}
	roots := map[string]*Root{"local": localRoot(t, RootOptions{}), "s3": x.root(t, RootOptions{})}
	views := map[string]*Tables{}
	for at, root := range roots {
		g := newGCRig(t, root)
		for i := range int64(3) {
			g.publish(uint64(i+1), 4, i+1)
		}
		views[at] = g.tables
		writeOdd(t, root)
	}
	for _, name := range []string{"delta-rs", "duckdb", "spark"} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, name, python, jars)
			for at, root := range roots {
				for _, table := range tableOrder {
					e.agrees(t, uriOf(root, "v/"+string(table)), views[at].tables[table])
				}
				e.finds(t, root, views[at])
				e.odd(t, root)
			}
		})
	}
}

func uriOf(r *Root, name string) string { return strings.TrimSuffix(r.String(), "/") + "/" + name }

// agrees compares all versions of a table; the first has other rows than the last.
func (e *engine) agrees(t *testing.T, uri string, table *Table) {
	t.Helper()
	for _, version := range []int64{0, 1, 2, Latest} {
		s, err := table.Snapshot(t.Context(), version)
		var info Info
		if err == nil {
			err = json.Unmarshal(s.Info, &info)
		}
		if err != nil || info.Cut.Partitions[0].End != s.Version+1 { // as it was published
			t.Errorf("%s: the cut of version %d is %+v, %v", uri, s.Version, info.Cut, err)
		}
		got, want := e.ask(t, uri, version, ""), ours(t, table, version)
		if !maps.Equal(got.Columns, want.Columns) {
			t.Errorf("%s, version %d: columns %v, want %v", uri, version, got.Columns, want.Columns)
		}
		if a, b := got.normal(t), want.normal(t); !slices.Equal(a, b) || len(b) == 0 {
			t.Errorf("%s, version %d: %d rows, want %d\n%.300q\n%.300q", uri, version, len(a), len(b), a, b)
		}
	}
}

// finds filters tiles by instant, date and partition: engines skip files by our
// statistics.
func (e *engine) finds(t *testing.T, root *Root, tables *Tables) {
	t.Helper()
	all := ours(t, tables.tables[Tiles], Latest)
	names := slices.Sorted(maps.Keys(all.Columns))
	column := func(name string) int { return slices.Index(names, name) }
	cut := int64(epoch)
	for where, holds := range map[string]func([]string) bool{
		"start >= timestamp '2026-01-01 00:00:00+00:00'": func(r []string) bool {
			at, err := strconv.ParseInt(r[column("start")][1:], 10, 64)
			return err == nil && at >= cut
		},
		"event_date = date '2025-12-31'": func(r []string) bool { return r[column("event_date")] == "2025-12-31" },
		"source_partition = 1":           func(r []string) bool { return r[column("source_partition")] == "1" },
	} {
		if e.name == "duckdb" { // whose timestamp has no zone
			where = strings.Replace(where, "timestamp '", "timestamptz '", 1)
		}
		want := 0
		for _, r := range all.Rows {
			if holds(r) {
				want++
			}
		}
		if got := len(e.ask(t, uriOf(root, "v/tiles"), Latest, where).Rows); got != want || want == 0 || want == len(all.Rows) {
			t.Errorf("%s: %d rows, want %d of %d", where, got, want, len(all.Rows))
		}
	}
}

// oddRegions are partition values that directories escape, and URLs once more.
var oddRegions = []string{"a/b", "50%", "%2F", "München", "日本 🙂", "a b", "a=b", "x?y#z", "a+b&c", "Ab", "aB", "it's", `"quoted"`}

// writeOdd writes the table odd, partitioned by such values and null.
func writeOdd(t *testing.T, root *Root) {
	t.Helper()
	s, err := root.store("odd")
	if err != nil {
		t.Fatal(err)
	}
	region, cols := Column{Name: "region", Kind: schemas.String, Nullable: true}, []Column{{Name: "n", Kind: schemas.Int}}
	m, err := newMetadata("odd", []Column{region}, cols, 1)
	if err != nil {
		t.Fatal(err)
	}
	c := Change{Operation: "WRITE", Mode: "Append", Info: "odd", Metadata: m}
	for i := range len(oddRegions) + 1 {
		var value *string
		if i < len(oddRegions) {
			value = &oddRegions[i]
		}
		u, err := s.Create(t.Context(), staging+"/odd")
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWriter(u, cols, WriterOptions{})
		if err == nil {
			err = w.Write([]schemas.Value{schemas.IntValue(int64(i))})
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := w.Close()
		path := partitionDir([]Column{region}, []*string{value}) + "/0.parquet"
		if err == nil {
			err = u.Commit(t.Context(), path)
		}
		if err != nil {
			t.Fatal(err)
		}
		stats, err := deltaStats(cols, info)
		if err != nil {
			t.Fatal(err)
		}
		c.Add = append(c.Add, DataFile{Path: path, Partition: map[string]*string{"region": value}, Size: info.Bytes, Stats: stats})
	}
	if err := NewTable(s, "odd").Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (e *engine) odd(t *testing.T, root *Root) {
	t.Helper()
	s, err := root.store("odd")
	if err != nil {
		t.Fatal(err)
	}
	uri := uriOf(root, "odd")
	if got, want := e.ask(t, uri, Latest, "").normal(t), ours(t, NewTable(s, "odd"), Latest).normal(t); !slices.Equal(got, want) || len(got) != len(oddRegions)+1 {
		t.Errorf("odd partition values: %q, want %q", got, want)
	}
	quote := "''"
	if e.name == "spark" {
		quote = `\'`
	}
	for i, r := range oddRegions {
		got := e.ask(t, uri, Latest, "region = '"+strings.ReplaceAll(r, "'", quote)+"'").normal(t)
		if want := []string{fmt.Sprint(i, "|", r)}; !slices.Equal(got, want) {
			t.Errorf("region %q: %q, want %q", r, got, want)
		}
	}
	if got := e.ask(t, uri, Latest, "region is null").normal(t); len(got) != 1 || !strings.HasSuffix(got[0], "|null") {
		t.Errorf("null: %q", got)
	}
}
