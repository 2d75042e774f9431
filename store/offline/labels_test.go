package offline

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/definition"
)

var labelKeys = []definition.KeyField{{Name: "user", Kind: schemas.String}, {Name: "shop", Kind: schemas.Int}}

func labelFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func micros(t testing.TB, s string) schemas.Micros {
	t.Helper()
	m, err := schemas.ParseInstant(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLabelsCSV(t *testing.T) {
	path := labelFile(t, "l.csv", "\ufeffshop,ts,user,label,note\r\n"+
		"7,2026-01-02T03:04:05.5Z,ann,1,\"a, \"\"b\"\"\r\nc\"\r\n"+
		"-8,2026-01-02 05:04:05+02:00,,0,\r\n")
	l, err := ReadLabels(path, LabelOptions{Keys: labelKeys})
	if err != nil {
		t.Fatal(err)
	}
	want := micros(t, "2026-01-02T03:04:05Z")
	if len(l.T) != 2 || l.T[0] != want+500_000 || l.T[1] != want {
		t.Errorf("T = %v", l.T)
	}
	if got := fmt.Sprint(l.Key(0, 0), l.Key(0, 1), l.Key(1, 0), l.Key(1, 1)); got != "ann 7  -8" {
		t.Errorf("keys %s", got)
	}
	kinds := []schemas.Kind{schemas.Int, schemas.Timestamp, schemas.String, schemas.String, schemas.String}
	for i, k := range kinds {
		if l.Columns[i].Kind != k || l.Rows[0][i].Kind() != k {
			t.Errorf("column %s is %s", l.Columns[i].Name, l.Columns[i].Kind)
		}
	}
	if l.Rows[0][4].Text() != "a, \"b\"\r\nc" || l.TimestampColumn != 1 {
		t.Errorf("row %v", l.Rows[0])
	}
	if fmt.Sprint(l.KeyColumns) != "[2 0]" {
		t.Errorf("key columns %v", l.KeyColumns)
	}
}

// What stands within quotes is carried as it is, line ends of every kind too, wherever
// reads of the file end.
func TestLabelsCSVKeepsQuotedText(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		field := rapid.StringOfN(rapid.SampledFrom([]rune("\r\n\",a")), 0, 24, -1)
		want := rapid.SliceOfN(rapid.SliceOfN(field, 2, 2), 1, 8).Draw(r, "rows")
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(r, "line end")
		var text strings.Builder
		for _, row := range want {
			for i, f := range row {
				row[i] = f + "."
				text.WriteString([]string{"", ","}[i] + `"` + strings.ReplaceAll(row[i], `"`, `""`) + `"`)
			}
			text.WriteString(end)
		}
		c := csv.NewReader(&quotedLineEnds{r: bufio.NewReaderSize(strings.NewReader(text.String()), 16)})
		got, err := c.ReadAll()
		if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
			r.Fatalf("%q is read as %q, %v", text.String(), got, err)
		}
	})
}

// An empty key of bytes is written as nothing, as one of text is.
func TestLabelsCSVEmptyBytes(t *testing.T) {
	l, err := ReadLabels(labelFile(t, "l.csv", "raw,ts\n,1\nff,1\n"), LabelOptions{Unit: "s", Keys: []definition.KeyField{{Name: "raw", Kind: schemas.Bytes}}})
	if err != nil || l.Key(0, 0) != schemas.BytesValue("") || l.Key(1, 0) != schemas.BytesValue("\xff") {
		t.Errorf("%v, %v", l, err)
	}
}

// V10: a zone in the text wins, a local time needs one from the options.
func TestLabelTimes(t *testing.T) {
	const noon = "2026-07-01T10:00:00Z"
	for _, c := range []struct{ text, unit, zone, want string }{
		{"2026-07-01T10:00:00Z", "", "", noon},
		{"2026-07-01T12:00:00+02:00", "", "", noon},
		{"2026-07-01 12:00:00+02:00", "", "America/New_York", noon},
		{"2026-07-01 10:00:00.000Z", "", "", noon},
		{"2026-07-01T12:00:00", "", "Europe/Berlin", noon},
		{"2026-07-01 12:00:00.000000", "", "Europe/Berlin", noon},
		{"2026-07-01T12:00", "", "Europe/Berlin", noon},
		{"2026-07-01 12:00", "", "Europe/Berlin", noon},
		{"1782900000", "s", "", noon},
		{"1782900000000", "ms", "Europe/Berlin", noon},
		{"1782900000000000", "us", "", noon},
		{"-1", "us", "", "1969-12-31T23:59:59.999999Z"},
		{"2026-10-25T02:30:00", "", "Europe/Berlin", "2026-10-25T00:30:00Z"}, // fold: earlier
		{"2026-07-01T12:00:00", "", "", "!name the time zone"},
		{"2026-07-01 12:00", "", "", "!name the time zone"},
		{"1782900000", "", "", "!name the unit"},
		{"1782900000000000", "s", "", "!beyond the years 1 to 9999"},
		{"99999999999999999999", "us", "", "!beyond the range"},
		{"2026-02-30T00:00:00Z", "", "", "!the month does not have that day"},
		{"2026-07-01T12:00:00.1234567Z", "", "", "!more than 6 digits"},
		{"2026-07-01", "", "Europe/Berlin", "!is no instant"},
		{"2026-07-01", "", "", "!it is not a date, T, a time of day and Z or an offset"},
		{"2026-07-01 12:00:00", "", "", `!"2026-07-01 12:00:00" is no instant`}, // as the file has it
		{"1.78e9", "s", "", "!is no instant"},
		{"", "s", "", "!it is empty"},
	} {
		path := labelFile(t, "l.csv", "user,shop,ts\na,1,"+c.text+"\n")
		l, err := ReadLabels(path, LabelOptions{Keys: labelKeys, Unit: c.unit, Zone: c.zone})
		if want, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "l.csv, line 2, column ts") {
				t.Errorf("%+v: %v", c, err)
			}
		} else if err != nil || l.T[0] != micros(t, c.want) {
			t.Errorf("%+v: %v %v", c, l, err)
		}
	}
}

// Keys of bytes are written in CSV as `get` takes and prints them.
func TestLabelBytes(t *testing.T) {
	opt := LabelOptions{Keys: []definition.KeyField{{Name: "raw", Kind: schemas.Bytes}}, Unit: "s"}
	l, err := ReadLabels(labelFile(t, "raw.csv", "raw,ts\n00fF,1\n"), opt)
	if err != nil {
		t.Fatal(err)
	}
	if k := l.Key(0, 0); k.Kind() != schemas.Bytes || k.Text() != "\x00\xff" {
		t.Errorf("the key is %v", k)
	}
}

// Every error names the file, the place and what to do.
func TestLabelErrors(t *testing.T) {
	boolKey := []definition.KeyField{{Name: "flag", Kind: schemas.Bool}}
	bytesKey := []definition.KeyField{{Name: "raw", Kind: schemas.Bytes}}
	for _, c := range []struct {
		name, text string
		opt        LabelOptions
		want       string
	}{
		{"e.csv", "", LabelOptions{}, "it is empty"},
		{"h.csv", "\n\n", LabelOptions{}, "it has no header"},
		{"o.csv", "user,,ts\n", LabelOptions{}, "column 2: it has no name"},
		{"d.csv", "user,ts,user\n", LabelOptions{}, "column user: the name occurs twice"},
		{"k.csv", "usr,shop,ts\n", LabelOptions{Keys: labelKeys}, "no column for key field user; did you mean `usr`?"},
		{"n.csv", "user,shop,when\n", LabelOptions{Keys: labelKeys}, "name the timestamp column with --timestamp-column; the file has user, shop, when"},
		{"a.csv", "user,shop,ts,time\n", LabelOptions{Keys: labelKeys}, "may be the timestamp column: ts, time; name"},
		{"m.csv", "user,shop,ts\n", LabelOptions{Keys: labelKeys, TimestampColumn: "tz"}, "there is no timestamp column tz"},
		{"i.csv", "user,shop,ts\na,1,2026-01-01T00:00:00Z\na,1.0,2026-01-01T00:00:00Z\n", LabelOptions{Keys: labelKeys}, `line 3, column shop: "1.0" is not a 64-bit integer`},
		{"x.csv", "user,shop,ts\na,,2026-01-01T00:00:00Z\n", LabelOptions{Keys: labelKeys}, "line 2, column shop: it is empty"},
		{"f.csv", "user,shop,ts\na,1\n", LabelOptions{Keys: labelKeys}, "line 2: it has not as many fields"},
		{"q.csv", "user,shop,ts\na,1,\"x\n", LabelOptions{Keys: labelKeys}, "quotes within quoted fields are doubled"},
		{"b.csv", "flag,ts\nyes,1\n", LabelOptions{Keys: boolKey, Unit: "s"}, "write true or false"},
		{"y.csv", "raw,ts\nyes,1\n", LabelOptions{Keys: bytesKey, Unit: "s"}, `line 2, column raw: "yes" is not hexadecimal`},
		{"u.csv", "user,shop,ts,c\na,1,1,\xff\n", LabelOptions{Keys: labelKeys, Unit: "s"}, "column c: the text is not UTF-8"},
		{"w.csv", "user,ts\n", LabelOptions{Unit: "min"}, "must be s, ms or us"},
		{"z.csv", "user,ts\n", LabelOptions{Zone: "Mars/X"}, "not in the IANA database"},
		{"s.csv", "user;shop;ts\n", LabelOptions{Keys: labelKeys}, "separate columns by commas"},
		{"g.csv.gz", "\x1f\x8b\x08\x00", LabelOptions{}, "decompress it"},
		{"p.parquet", "user,shop,ts\n", LabelOptions{}, "does not begin as a Parquet file does"},
		{"c.parquet", "PAR1 and no more PAR1", LabelOptions{}, "not a Parquet file that can be read"},
		{"both.csv", "ts\n", LabelOptions{TimestampColumn: "ts", Keys: []definition.KeyField{{Name: "ts", Kind: schemas.Int}}}, "key field of type int"},
	} {
		_, err := ReadLabels(labelFile(t, c.name, c.text), c.opt)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := ReadLabels(filepath.Join(t.TempDir(), "no.csv"), LabelOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// foreign has columns as other writers make them: dictionaries, small integers,
// milliseconds, nanoseconds.
type foreign struct {
	User   string  `parquet:"user,dict"`
	Shop   int32   `parquet:"shop"`
	TS     int64   `parquet:"ts,timestamp(millisecond)"`
	Nanos  *int64  `parquet:"nanos,optional,timestamp(nanosecond)"`
	Small  uint8   `parquet:"small"`
	Weight float32 `parquet:"weight"`
	Day    int32   `parquet:"day,date"`
	Raw    []byte  `parquet:"raw"`
	Ok     *bool   `parquet:"ok,optional"`
}

func foreignFile[T any](t testing.TB, rows []T) string {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return labelFile(t, "l.bin", buf.String()) // told by its magic, not its name
}

func TestLabelsParquet(t *testing.T) {
	ns, yes := int64(1_767_225_600_000_001_000), true
	path := foreignFile(t, []foreign{
		{"ann", 7, 1_767_225_600_123, &ns, 255, 0.5, 20454, []byte{0xff}, &yes},
		{"", -7, -1, nil, 0, -0.1, -1, nil, nil},
	})
	l, err := ReadLabels(path, LabelOptions{Keys: labelKeys})
	if err != nil {
		t.Fatal(err)
	}
	if l.T[0] != 1_767_225_600_123_000 || l.T[1] != -1000 {
		t.Errorf("T %v", l.T)
	}
	if got := fmt.Sprint(l.Rows); got != "[[ann 7 2026-01-01T00:00:00.123Z 2026-01-01T00:00:00.000001Z 255 0.5 20454 ff true]"+
		" [ -7 1969-12-31T23:59:59.999Z null 0 -0.10000000149011612 -1  null]]" {
		t.Errorf("rows %s", got)
	}
	if c := l.Columns[6]; c.Kind != schemas.Int || !c.Date {
		t.Errorf("day is %+v", c)
	}
	ns++
	path = foreignFile(t, []foreign{{TS: 1}, {TS: 1, Nanos: &ns}})
	if _, err := ReadLabels(path, LabelOptions{Keys: labelKeys}); err == nil || !strings.Contains(err.Error(), "row 2, column nanos") || !strings.Contains(err.Error(), "round it") {
		t.Errorf("odd nanoseconds: %v", err)
	}
}

func TestLabelsParquetTimesAndKeys(t *testing.T) {
	type local struct {
		User string `parquet:"user"`
		Shop string `parquet:"shop"`
		TS   int64  `parquet:"ts,timestamp(microsecond:local)"`
	}
	path := foreignFile(t, []local{{"a", "12", 1_782_907_200_000_000}})
	if _, err := ReadLabels(path, LabelOptions{Keys: labelKeys}); err == nil || !strings.Contains(err.Error(), "name its IANA time zone") {
		t.Errorf("local time without a zone: %v", err)
	}
	l, err := ReadLabels(path, LabelOptions{Keys: labelKeys, Zone: "Europe/Berlin"})
	if err != nil || l.T[0] != micros(t, "2026-07-01T10:00:00Z") || l.Key(0, 1) != schemas.IntValue(12) {
		t.Errorf("%v %v", l, err)
	}
	type number struct {
		User []byte  `parquet:"user"`
		Shop int64   `parquet:"shop"`
		TS   int64   `parquet:"ts"`
		X    float64 `parquet:"x"`
	}
	path = foreignFile(t, []number{{[]byte("ü"), 1, 1_782_900_000, 1}})
	l, err = ReadLabels(path, LabelOptions{Keys: labelKeys, Unit: "s"})
	if err != nil || l.T[0] != micros(t, "2026-07-01T10:00:00Z") || l.Key(0, 0) != schemas.StringValue("ü") {
		t.Errorf("%v %v", l, err)
	}
	_, err = ReadLabels(path, LabelOptions{Keys: []definition.KeyField{{Name: "x", Kind: schemas.Int}}, Unit: "s"})
	if err == nil || !strings.Contains(err.Error(), "pandas makes doubles") {
		t.Errorf("double key: %v", err)
	}
	type nullKey struct {
		User *string `parquet:"user,optional"`
		Shop int64   `parquet:"shop"`
		TS   int64   `parquet:"ts"`
	}
	path = foreignFile(t, []nullKey{{nil, 1, 1}})
	if _, err = ReadLabels(path, LabelOptions{Keys: labelKeys, Unit: "s"}); err == nil || !strings.Contains(err.Error(), "row 1, column user: it is null") {
		t.Errorf("null key: %v", err)
	}
	type nested struct {
		User string  `parquet:"user"`
		Shop int64   `parquet:"shop"`
		TS   int64   `parquet:"ts"`
		Tags []int64 `parquet:"tags"`
	}
	path = foreignFile(t, []nested{{"a", 1, 1, nil}})
	if _, err = ReadLabels(path, LabelOptions{Keys: labelKeys, Unit: "s"}); err == nil || !strings.Contains(err.Error(), "column tags: its type nested is not read") {
		t.Errorf("nested column: %v", err)
	}
}

// halfType and intervalType are types that parquet-go has no writer for.
type (
	halfType     struct{ parquet.Type }
	intervalType struct{ parquet.Type }
)

func (halfType) LogicalType() *format.LogicalType {
	return &format.LogicalType{Value: &format.Float16Type{}}
}

func (intervalType) ConvertedType() *deprecated.ConvertedType {
	return new(deprecated.Interval)
}

// Columns are carried as they are, to the sign of a zero; those of a type that would
// be carried as bytes without a meaning are refused.
func TestLabelsParquetCarries(t *testing.T) {
	type zero struct {
		TS int64   `parquet:"ts"`
		X  float64 `parquet:"x"`
		Y  float32 `parquet:"y"`
	}
	minus := math.Copysign(0, -1)
	l, err := ReadLabels(foreignFile(t, []zero{{1, minus, float32(minus)}}), LabelOptions{Unit: "s"})
	if err != nil || !math.Signbit(l.Rows[0][1].Double()) || !math.Signbit(l.Rows[0][2].Double()) {
		t.Errorf("%v, %v", l, err)
	}
	for want, typ := range map[string]parquet.Type{"FLOAT16": halfType{parquet.FixedLenByteArrayType(2)}, "INTERVAL": intervalType{parquet.FixedLenByteArrayType(12)}} {
		var buf bytes.Buffer
		w := parquet.NewWriter(&buf, parquet.NewSchema("l", parquet.Group{"pair": parquet.Group{"a": parquet.Int(64)}, "ts": parquet.Int(64), "x": parquet.Leaf(typ)}))
		err := errors.Join(func() error { _, err := w.WriteRows([]parquet.Row{}); return err }(), w.Close())
		if err != nil {
			t.Fatal(err)
		}
		rows, err := NewRows(bytes.NewReader(buf.Bytes()), int64(buf.Len()), "l", "ts", "x")
		var u *UnsupportedColumnError
		if !errors.As(err, &u) || u.Column != "x" || u.Type != want {
			t.Errorf("%s: %v, %v", want, rows, err)
		}
		if _, err := NewRows(bytes.NewReader(buf.Bytes()), int64(buf.Len()), "l", "ts"); err != nil {
			t.Errorf("%s beside: %v", want, err)
		}
	}
}

func BenchmarkLabelsCSV(b *testing.B) {
	var text strings.Builder
	text.WriteString("user,shop,ts,label\n")
	for i := range 100_000 {
		fmt.Fprintf(&text, "user-%d,%d,2026-01-02T03:04:05.%06dZ,1\n", i, i%100, i)
	}
	path := labelFile(b, "l.csv", text.String())
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadLabels(path, LabelOptions{Keys: labelKeys}); err != nil {
			b.Fatal(err)
		}
	}
}
