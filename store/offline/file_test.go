package offline

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

var sampleColumns = []Column{
	{Name: "entity", Kind: schemas.Bytes, Sorted: true},
	{Name: "a,odd name", Kind: schemas.String},
	{Name: "flag", Kind: schemas.Bool, Nullable: true},
	{Name: "n", Kind: schemas.Int, Nullable: true},
	{Name: "x", Kind: schemas.Double, Nullable: true},
	{Name: "s", Kind: schemas.String, Nullable: true},
	{Name: "data", Kind: schemas.Bytes, Nullable: true},
	{Name: "at", Kind: schemas.Timestamp, Nullable: true},
	{Name: "day", Kind: schemas.Int, Nullable: true, Date: true},
}

// sampleRow has runs, ties, extremes and nulls: what encodings differ over.
func sampleRow(r *rand.Rand, i int) []schemas.Value {
	maybe := func(v schemas.Value) schemas.Value {
		if r.IntN(7) == 0 {
			return schemas.Value{}
		}
		return v
	}
	ints := []int64{math.MinInt64, -1, 0, int64(i), int64(i / 4), 9007199254741993, math.MaxInt64}
	return []schemas.Value{
		schemas.BytesValue(fmt.Sprintf("entity-%06d", i/5)),
		schemas.StringValue([]string{"PRESENT", "NULL", "", "ü€"}[i/4%4]),
		maybe(schemas.BoolValue(r.IntN(2) == 0)),
		maybe(schemas.IntValue(ints[r.IntN(len(ints))])),
		maybe(schemas.DoubleValue(r.NormFloat64() * 1e9)),
		maybe(schemas.StringValue(strings.Repeat("z", r.IntN(9)))),
		maybe(schemas.BytesValue(string([]byte{0, 0xff, byte(r.IntN(256))}[:r.IntN(4)]))),
		maybe(schemas.TimestampValue(schemas.Micros(1_767_225_600_123_999 + int64(i)*1000))),
		maybe(schemas.IntValue(int64(20000 + r.IntN(3)))),
	}
}

func sampleRows(seed uint64, n int) [][]schemas.Value {
	r := rand.New(rand.NewPCG(seed, 1))
	rows := make([][]schemas.Value, n)
	for i := range rows {
		rows[i] = sampleRow(r, i)
	}
	return rows
}

func writeSample(t testing.TB, rows [][]schemas.Value) ([]byte, *FileInfo) {
	t.Helper()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, sampleColumns, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), info
}

// What is written is read, for row counts around every unit of the layout.
func TestFileRoundTrip(t *testing.T) {
	for i, n := range []int{0, 1, 63, 64, 65, 1000, rowGroupRows - 1, rowGroupRows, rowGroupRows + 65} {
		rows := sampleRows(uint64(i), n)
		b, info := writeSample(t, rows)
		if info.Rows != int64(n) || info.Bytes != int64(len(b)) {
			t.Fatalf("%d rows: info %+v, %d bytes", n, info, len(b))
		}
		path := filepath.Join(t.TempDir(), "f.parquet")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range r.Columns() {
			c.Sorted = sampleColumns[i].Sorted // the file does not say
			if c != sampleColumns[i] {
				t.Errorf("column %d is read as %+v", i, c)
			}
		}
		for k := range rows {
			got, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			for c := range got {
				if !got[c].Equal(rows[k][c]) {
					t.Fatalf("%d rows: row %d column %d: %v, want %v", n, k, c, got[c], rows[k][c])
				}
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("after the last row: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReadChosenColumns(t *testing.T) {
	rows := sampleRows(3, 200)
	b, _ := writeSample(t, rows)
	r, err := NewRows(bytes.NewReader(b), int64(len(b)), "f", "day", "n")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, want := range rows {
		got, err := r.Next()
		if err != nil || len(got) != 2 || got[0] != want[8] || got[1] != want[3] {
			t.Fatalf("%v %v, want %v %v", got, err, want[8], want[3])
		}
	}
	if _, err := NewRows(bytes.NewReader(b), int64(len(b)), "f", "flaag"); err == nil || !strings.Contains(err.Error(), "did you mean `flag`?") {
		t.Errorf("missing column: %v", err)
	}
}

// B1: bytes that change are a new layout version; this is what they are now.
const sampleSHA256 = "84fed5fe245f0e06f3aef87195dfa5e5211cc4effb6078ea2e04b5204b0a41f6"

const determinismRows = 70_000

// B1: neither the processor nor GOMAXPROCS is seen in the bytes.
func TestBytesDoNotDependOnTheProcessor(t *testing.T) {
	if os.Getenv("PRINT_SHA256") != "" {
		_, info := writeSample(t, sampleRows(42, determinismRows))
		fmt.Println("sha256:" + info.SHA256 + ":" + info.Content)
		return
	}
	_, info := writeSample(t, sampleRows(42, determinismRows))
	if info.SHA256 != sampleSHA256 {
		t.Errorf("the sample's sha256 is %s, it was %s", info.SHA256, sampleSHA256)
	}
	for _, env := range [][]string{{"GODEBUG=cpu.avx2=off"}, {"GODEBUG=cpu.all=off"}, {"GOMAXPROCS=1"}, {"TZ=Asia/Kolkata", "LC_ALL=tr_TR.UTF-8"}} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBytesDoNotDependOnTheProcessor$", "-test.v")
		cmd.Env = append(append(os.Environ(), "PRINT_SHA256=1"), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", env, err, out)
		}
		if want := "sha256:" + info.SHA256 + ":" + info.Content; !strings.Contains(string(out), want) {
			t.Errorf("%v gives other bytes:\n%s\nwant %s", env, out, want)
		}
	}
}

// B1: writers that run at once, sharing the codec, give the same bytes; so does
// a row slice that the caller reuses.
func TestBytesDoNotDependOnNeighbours(t *testing.T) {
	rows := sampleRows(7, 5000)
	want, _ := writeSample(t, rows)
	var wg sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var buf bytes.Buffer
			w, err := NewWriter(&buf, sampleColumns, WriterOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			text := make([]byte, 0, 64)
			row := make([]schemas.Value, len(sampleColumns))
			for _, r := range rows {
				copy(row, r)
				text = append(text[:0], r[0].Text()...)
				row[0] = schemas.BytesValue(string(text))
				if err := w.Write(row); err != nil {
					t.Error(err)
				}
				clear(row)
				if w.info.Rows%100 == 0 {
					runtime.Gosched()
				}
			}
			if _, err := w.Close(); err != nil || !bytes.Equal(buf.Bytes(), want) {
				t.Errorf("other bytes (%v)", err)
			}
		})
	}
	wg.Wait()
}

func TestFileInfo(t *testing.T) {
	var buf bytes.Buffer
	w, err := NewWriter(&buf, []Column{{Name: "x", Kind: schemas.Double, Nullable: true}, {Name: "s", Kind: schemas.String}}, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]schemas.Value{{schemas.DoubleValue(2), schemas.StringValue("b")}, {schemas.Value{}, schemas.StringValue("a")}, {schemas.DoubleValue(-1), schemas.StringValue("")}} {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	x, s := info.Columns[0], info.Columns[1]
	if x.Nulls != 1 || x.Min != schemas.DoubleValue(-1) || x.Max != schemas.DoubleValue(2) || s.Min != schemas.StringValue("") || s.Max != schemas.StringValue("b") {
		t.Errorf("stats %+v", info.Columns)
	}
}

func TestWriteRefuses(t *testing.T) {
	cols := []Column{{Name: "n", Kind: schemas.Int}, {Name: "s", Kind: schemas.String, Nullable: true}, {Name: "d", Kind: schemas.Int, Date: true}}
	n, s := schemas.IntValue(1), schemas.StringValue("x")
	for _, c := range []struct {
		row  []schemas.Value
		want string
	}{
		{[]schemas.Value{n, s}, "2 values, the file has 3 columns"},
		{[]schemas.Value{{}, s, n}, `column "n" is null`},
		{[]schemas.Value{s, s, n}, `column "n" is of kind int, the value of kind string`},
		{[]schemas.Value{n, schemas.StringValue("\xff"), n}, "not UTF-8"},
		{[]schemas.Value{n, s, schemas.IntValue(1 << 40)}, "beyond the range of dates"},
	} {
		w, err := NewWriter(io.Discard, cols, WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(c.row); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "row 1") {
			t.Errorf("got %v, want %s", err, c.want)
		}
		if _, err := w.Close(); err == nil {
			t.Error("a file with a refused row closes")
		}
	}
	_, err := NewWriter(io.Discard, []Column{{Name: "a", Kind: schemas.Int}, {Name: "a", Kind: schemas.Null}, {Name: "", Kind: schemas.Int}}, WriterOptions{})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("faults of columns: %v", err)
	}
}

// S3: a damaged file gives an error, not a panic.
func TestDamagedFile(t *testing.T) {
	b, _ := writeSample(t, sampleRows(9, 300))
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		bad := bytes.Clone(b)
		for range 1 + r.IntN(4) {
			bad[r.IntN(len(bad))] ^= byte(1 + r.IntN(255))
		}
		bad = bad[:len(bad)-r.IntN(2)*r.IntN(40)]
		rows, err := NewRows(bytes.NewReader(bad), int64(len(bad)), "f")
		for err == nil {
			_, err = rows.Next()
		}
	}
}

type failingWriter struct{ left int }

func (f *failingWriter) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestWriteErrorSticks(t *testing.T) {
	w, err := NewWriter(&failingWriter{left: 1000}, sampleColumns, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range sampleRows(1, 3000) {
		if err := w.Write(row); err != nil {
			break
		}
	}
	if _, err := w.Close(); err == nil {
		t.Error("no error")
	}
}

func BenchmarkWriter(b *testing.B) {
	rows := sampleRows(1, 4096)
	w, err := NewWriter(io.Discard, sampleColumns, WriterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := w.Write(rows[i&4095]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkFeatureRows writes rows of table features, four boundaries of an entity in turn.
func BenchmarkFeatureRows(b *testing.B) {
	cols := []Column{{Name: "entity", Kind: schemas.Bytes, Sorted: true}, {Name: "user", Kind: schemas.String}, {Name: "boundary", Kind: schemas.Timestamp}, {Name: "final", Kind: schemas.Bool}}
	for i := range 7 {
		k := schemas.Double
		if i%3 == 0 {
			k = schemas.Int
		}
		cols = append(cols, Column{Name: fmt.Sprint("f", i), Kind: k, Nullable: true}, Column{Name: fmt.Sprint("s", i), Kind: schemas.String, Nullable: true})
	}
	w, err := NewWriter(io.Discard, cols, WriterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	row := make([]schemas.Value, len(cols))
	b.ReportAllocs()
	for n := range b.N {
		same := 2
		if n%4 == 0 {
			user := fmt.Sprintf("u%07d", n/4)
			row[0], row[1] = schemas.BytesValue(user), schemas.StringValue(user)
			same = 0
		}
		row[2], row[3] = schemas.TimestampValue(schemas.Micros(n%4)*schemas.Hour), schemas.BoolValue(true)
		for i := range 7 {
			v, s := schemas.DoubleValue(float64((n/7*31+i)%5000)/100), "ok"
			if i%3 == 0 {
				v = schemas.IntValue(int64(n/5+i) % 40)
			}
			if (n/9+i)%6 == 0 {
				v, s = schemas.Value{}, "empty"
			}
			row[4+2*i], row[5+2*i] = v, schemas.StringValue(s)
		}
		if err := w.WriteAfter(row, same); err != nil {
			b.Fatal(err)
		}
	}
}
