package offline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/tallystick/tallystick/schemas"
)

// The layout of our Parquet files. Every constant changes bytes (B1).
const (
	layoutVersion = "2"
	// writeRows is how many rows parquet-go is given at once: pages are cut only
	// between such chunks, counted from the start of each call. Of large rows it is
	// given fewer: writeBytes counts their values as given.
	writeRows  = 64
	writeBytes = 4 << 20
	// rowGroupRows and rowGroupBytes end a row group, whichever comes first; the
	// latter counts values as given and bounds memory where they are large.
	rowGroupRows  = 32_768
	rowGroupBytes = 32 << 20
	pageBytes     = 64 << 10
	zstdLevel     = zstd.SpeedDefault
)

// codec is shared by all writers and readers: one each costs 10 MB more.
var codec = &zstd.Codec{Level: zstdLevel}

// FileInfo describes a finished file.
type FileInfo struct {
	Rows, Bytes int64
	SHA256      string // of the file, hex
	// Content is a sha256 over the columns and rows in canonical encoding: it
	// holds across builds, whatever they compress to (B1).
	Content string
	Columns []ColumnStats // in the order of the columns
}

// ColumnStats is what a file knows of one column.
type ColumnStats struct {
	Nulls int64
	// Min and Max are null where every value is, where a double is NaN, and for Bytes
	// and lists, of which Delta has no bounds.
	Min, Max schemas.Value
}

// columnStatsJSON has the values in canonical encoding: JSON has no int64 nor -0.
type columnStatsJSON struct {
	Nulls int64  `json:"nulls,omitempty"`
	Min   []byte `json:"min,omitempty"`
	Max   []byte `json:"max,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (c ColumnStats) MarshalJSON() ([]byte, error) {
	return json.Marshal(columnStatsJSON{c.Nulls, c.Min.Append(nil), c.Max.Append(nil)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *ColumnStats) UnmarshalJSON(b []byte) error {
	var j columnStatsJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	var n, m int
	c.Nulls = j.Nulls
	c.Min, n = schemas.ParseValue(j.Min)
	c.Max, m = schemas.ParseValue(j.Max)
	if n == 0 || m == 0 || n != len(j.Min) || m != len(j.Max) {
		return errors.New("bounds of a column do not decode")
	}
	return nil
}

// WriterOptions has what a file may vary in. The zero value is the default.
type WriterOptions struct {
	// Metadata is written into the footer, sorted by key.
	Metadata map[string]string
}

// Writer writes one Parquet file. Equal rows give equal bytes, however many
// each goroutine or call writes, on every processor of one build (B1). It is
// not safe for concurrent use.
type Writer struct {
	cols []Column
	//lint:ignore SA1019 the generic writer wants a row type, and ours are known at run time only
	pw      *parquet.Writer
	waiting []waiting // of each column
	held    int       // rows that wait
	bytes   int       // theirs
	arena   []byte    // their text
	out     *countingWriter
	content hash.Hash
	scratch []byte
	begins  []byte // the first values of the last row, so many, in canonical encoding
	begun   int
	info    FileInfo
	noStats []bool // columns that hold a NaN
	spans   []span // of columns of Int, Timestamp and String
	inGroup int    // rows in the open row group
	volume  int    // their bytes
	err     error  // sticks
}

// waiting is the values of a column that parquet-go has not been given yet. Given by
// column they need no sorting out. text is the last text among them, in the arena, and
// value what stood for the last value: many columns say the same row after row.
type waiting struct {
	values []parquet.Value
	text   []byte
	value  parquet.Value
}

// span is the bounds of a column's numbers or text, if there are some.
type span struct {
	some            bool
	least, greatest int64
	first, last     []byte
}

func (s *span) number(x int64) {
	if !s.some {
		s.some, s.least, s.greatest = true, x, x
		return
	}
	s.least, s.greatest = min(s.least, x), max(s.greatest, x)
}

func (s *span) text(x string) {
	if !s.some || x < string(s.first) {
		s.first = append(s.first[:0], x...)
	}
	if !s.some || x > string(s.last) {
		s.last = append(s.last[:0], x...)
	}
	s.some = true
}

// bounds fills them in.
func (s *span) bounds(k schemas.Kind, of *ColumnStats) {
	switch {
	case !s.some:
	case k == schemas.Int:
		of.Min, of.Max = schemas.IntValue(s.least), schemas.IntValue(s.greatest)
	case k == schemas.Timestamp:
		of.Min, of.Max = schemas.TimestampValue(schemas.Micros(s.least)), schemas.TimestampValue(schemas.Micros(s.greatest))
	case k == schemas.String:
		of.Min, of.Max = schemas.StringValue(string(s.first)), schemas.StringValue(string(s.last))
	}
}

// countingWriter counts and digests what it passes on.
type countingWriter struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.sum.Write(b[:n])
	return n, err
}

// NewWriter returns a writer of a file with these columns, in this order.
func NewWriter(w io.Writer, cols []Column, opt WriterOptions) (*Writer, error) {
	if err := validateColumns(cols); err != nil {
		return nil, fmt.Errorf("parquet file: %w", err)
	}
	out := &countingWriter{w: w, sum: sha256.New()}
	options := []parquet.WriterOption{schemaOf(cols), parquet.Compression(codec), parquet.PageBufferSize(pageBytes),
		parquet.MaxRowsPerRowGroup(rowGroupRows), parquet.CreatedBy("tallystick", layoutVersion, ""),
		// Spark 3.5 refuses timestamps before 1900 without it.
		parquet.KeyValueMetadata("org.apache.spark.version", "3.5.0"), parquet.DataPageStatistics(false)}
	for k, v := range opt.Metadata {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	for _, c := range cols {
		switch { // bounds of NaN depend on the processor
		case c.Kind == schemas.Double:
			options = append(options, parquet.SkipPageBounds(c.Name))
		case c.Element == schemas.Double:
			options = append(options, parquet.SkipPageBounds(append([]string{c.Name}, listPath...)...))
		case c.Kind == schemas.Bytes && !c.Sorted: // nobody looks for states and cells
			options = append(options, parquet.SkipPageBounds(c.Name))
		}
	}
	fw := &Writer{cols: cols, out: out, pw: parquet.NewWriter(out, options...), content: sha256.New(), noStats: make([]bool, len(cols)), waiting: make([]waiting, len(cols)),
		spans: make([]span, len(cols))}
	fw.info.Columns = make([]ColumnStats, len(cols))
	fw.content.Write(appendColumns(nil, cols))
	return fw, nil
}

// appendColumns appends the canonical form of columns, for content digests.
func appendColumns(dst []byte, cols []Column) []byte {
	dst = schemas.IntValue(int64(len(cols))).Append(dst)
	for _, c := range cols {
		dst = schemas.StringValue(c.Name).Append(dst)
		dst = append(dst, byte(c.Kind))
		if c.Kind == schemas.List {
			dst = append(dst, byte(c.Element))
		}
		dst = schemas.BoolValue(c.Date).Append(dst)
	}
	return dst
}

// digestBytes is how much is digested at once.
const digestBytes = 4 << 10

// Write appends a row. It keeps nothing of it. After an error the file is of no
// use; every later call returns that error.
func (w *Writer) Write(row []schemas.Value) error { return w.WriteAfter(row, 0) }

// WriteAfter is Write for a row whose first values, so many, are those of the row
// before it: neighbours have the same entity. None of them is a list.
func (w *Writer) WriteAfter(row []schemas.Value, same int) error {
	if w.err != nil {
		return w.err
	}
	var err error
	if len(row) != len(w.cols) {
		err = fmt.Errorf("it has %d values, the file has %d columns", len(row), len(w.cols))
	}
	before := len(w.scratch)
	if w.held == 0 {
		same = 0 // nothing of the row before waits
	}
	if w.begun > same {
		w.begun, w.begins = 0, w.begins[:0]
	}
	if same > 0 && err == nil {
		w.repeat(same, row)
	}
	for i := same; i < len(row) && err == nil; i++ {
		err = w.add(i, &row[i])
	}
	if err != nil {
		w.err = fmt.Errorf("parquet file, row %d: %w", w.info.Rows+1, err)
		return w.err
	}
	w.bytes += len(w.scratch) - before
	if len(w.scratch) >= digestBytes {
		w.digest()
	}
	w.info.Rows++
	if w.held++; w.held == writeRows || w.bytes >= writeBytes || w.inGroup+w.held == rowGroupRows {
		w.flush()
	}
	return w.err
}

// digest adds what scratch holds to the content.
func (w *Writer) digest() {
	w.content.Write(w.scratch)
	w.scratch = w.scratch[:0]
}

// repeat adds the first values of the row once more.
func (w *Writer) repeat(same int, row []schemas.Value) {
	for ; w.begun < same; w.begun++ {
		w.begins = row[w.begun].Append(w.begins)
	}
	w.scratch = append(w.scratch, w.begins...)
	for i := range same {
		c := &w.waiting[i]
		if row[i].IsNull() {
			w.info.Columns[i].Nulls++
		}
		c.values = append(c.values, c.values[len(c.values)-1])
	}
}

// add keeps a value of the column until there are writeRows of them.
func (w *Writer) add(i int, v *schemas.Value) error {
	col, c := &w.cols[i], &w.waiting[i]
	w.scratch = v.Append(w.scratch)
	switch k := v.Kind(); {
	case k == schemas.Null:
		if !col.Nullable {
			return fmt.Errorf("column %q is null and may not be", col.Name)
		}
		w.info.Columns[i].Nulls++
		c.values = append(c.values, parquet.Value{})
		return nil
	case k != col.Kind:
		return fmt.Errorf("column %q is of kind %s, the value of kind %s", col.Name, col.Kind, k)
	}
	switch col.Kind {
	case schemas.Int:
		return w.addNumber(i, v.Int())
	case schemas.Timestamp:
		return w.addNumber(i, int64(v.Micros()))
	case schemas.Double:
		w.addDouble(i, v)
		return nil
	case schemas.String:
		return w.addText(i, v)
	case schemas.List:
		return w.addList(i, *v)
	case schemas.Bool:
		w.stat(i, v)
	}
	c.values = append(c.values, w.value(i, *v))
	return nil
}

// addDouble is add for a Double.
func (w *Writer) addDouble(i int, v *schemas.Value) {
	c := &w.waiting[i]
	w.stat(i, v)
	p := parquet.DoubleValue(v.Double())
	if w.cols[i].Nullable {
		p = p.Level(0, 1, i)
	}
	c.values = append(c.values, p)
}

// addText is add for a String: many columns say the same row after row, and what has
// been looked at need not be again.
func (w *Writer) addText(i int, v *schemas.Value) error {
	c := &w.waiting[i]
	if c.text == nil || string(c.text) != v.Text() {
		if !utf8.ValidString(v.Text()) {
			return fmt.Errorf("column %q: the text is not UTF-8", w.cols[i].Name)
		}
		w.spans[i].text(v.Text())
		c.value = w.value(i, *v)
		c.text = c.value.ByteArray()
	}
	c.values = append(c.values, c.value)
	return nil
}

// addNumber is add for an Int or Timestamp: most values are.
func (w *Writer) addNumber(i int, x int64) error {
	col, c := &w.cols[i], &w.waiting[i]
	p := parquet.Int64Value(x)
	if col.Date {
		if int64(int32(x)) != x {
			return fmt.Errorf("column %q: %d days are beyond the range of dates", col.Name, x)
		}
		p = parquet.Int32Value(int32(x))
	}
	if col.Nullable {
		p = p.Level(0, 1, i)
	}
	c.values = append(c.values, p)
	w.spans[i].number(x)
	return nil
}

// value returns what parquet-go is given for a scalar; columns that are never null
// need no level.
func (w *Writer) value(i int, v schemas.Value) parquet.Value {
	if !w.cols[i].Nullable {
		return w.scalar(i, v)
	}
	return w.scalar(i, v).Level(0, 1, i)
}

// addList keeps the elements of a list, or what stands for an empty one.
func (w *Writer) addList(i int, v schemas.Value) error {
	col, c := &w.cols[i], &w.waiting[i]
	level := 0
	if col.Nullable {
		level = 1
	}
	if v.Len() == 0 {
		c.values = append(c.values, parquet.Value{}.Level(0, level, i))
	}
	for n, x := range v.Elements() {
		if x.Kind() != col.Element || x.Kind() == schemas.String && !utf8.ValidString(x.Text()) {
			return fmt.Errorf("column %q is a list of kind %s, the element %v is none or no UTF-8", col.Name, col.Element, x)
		}
		c.values = append(c.values, w.scalar(i, x).Level(min(n, 1), level+1, i))
	}
	return nil
}

func (w *Writer) scalar(i int, v schemas.Value) parquet.Value {
	switch v.Kind() {
	case schemas.Bool:
		return parquet.BooleanValue(v.Bool())
	case schemas.Int:
		return parquet.Int64Value(v.Int())
	case schemas.Timestamp:
		return parquet.Int64Value(int64(v.Micros()))
	case schemas.Double:
		return parquet.DoubleValue(v.Double())
	case schemas.String, schemas.Bytes:
		at := len(w.arena) // when it grows, earlier values keep the old array
		w.arena = append(w.arena, v.Text()...)
		return parquet.ByteArrayValue(w.arena[at:len(w.arena):len(w.arena)])
	}
	return parquet.Value{}
}

// stat counts a double or bool into the column's statistics.
func (w *Writer) stat(i int, v *schemas.Value) {
	s := &w.info.Columns[i]
	switch {
	case v.Kind() == schemas.Double && math.IsNaN(v.Double()):
		w.noStats[i] = true
	case s.Min.IsNull():
		s.Min, s.Max = *v, *v
	case v.Compare(s.Min) < 0:
		s.Min = *v
	case v.Compare(s.Max) > 0:
		s.Max = *v
	}
}

func (w *Writer) flush() {
	if w.held == 0 || w.err != nil {
		return
	}
	w.digest()
	var err error
	for i, pc := range w.pw.ColumnWriters() {
		if err == nil {
			_, err = pc.WriteRowValues(w.waiting[i].values)
		}
		w.waiting[i] = waiting{values: w.waiting[i].values[:0]}
	}
	w.inGroup, w.volume = w.inGroup+w.held, w.volume+w.bytes
	w.held, w.bytes, w.arena = 0, 0, w.arena[:0]
	if err == nil && (w.inGroup == rowGroupRows || w.volume >= rowGroupBytes) {
		w.inGroup, w.volume = 0, 0
		err = w.pw.Flush()
	}
	if err != nil {
		w.err = fmt.Errorf("parquet file: %w", err)
	}
}

// Close writes what is left and the footer, and describes the file. It does not
// close the underlying writer.
func (w *Writer) Close() (*FileInfo, error) {
	w.flush()
	if w.err != nil {
		return nil, w.err
	}
	w.err = fmt.Errorf("parquet file: it is closed")
	if err := w.pw.Close(); err != nil {
		return nil, fmt.Errorf("parquet file: %w", err)
	}
	for i := range w.spans {
		w.spans[i].bounds(w.cols[i].Kind, &w.info.Columns[i])
	}
	for i, no := range w.noStats {
		if no {
			w.info.Columns[i].Min, w.info.Columns[i].Max = schemas.Value{}, schemas.Value{}
		}
	}
	w.info.Bytes = w.out.n
	w.info.SHA256 = hex.EncodeToString(w.out.sum.Sum(nil))
	w.info.Content = hex.EncodeToString(w.content.Sum(nil))
	return &w.info, nil
}
