package offline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/expr"
)

// LabelOptions says how a label file is read.
type LabelOptions struct {
	// TimestampColumn holds the instants to answer as of; "" = the only one there
	// is of TimestampNames.
	TimestampColumn string
	// Unit of instants given as integers since the Unix epoch: "s", "ms", "us".
	Unit string
	// Zone is the IANA time zone of instants that have none.
	Zone string
	// Keys are the key fields of the view or service; the file has a column for
	// each. Key columns that hold timestamps are read like the timestamp column.
	Keys []definition.KeyField
}

// TimestampNames are the names by which a timestamp column is found.
var TimestampNames = [...]string{"timestamp", "event_timestamp", "label_time", "as_of", "t", "ts", "time"}

// Labels is a label file in memory. Rows[i] and T[i] belong together.
type Labels struct {
	Columns []Column // of the file, in its order
	// Rows has the values of Columns. The timestamp column is a Timestamp, key
	// columns are of the kinds of their key fields, the others are as in the
	// file; those of a CSV file are strings.
	Rows [][]schemas.Value
	T    []schemas.Micros
	// TimestampColumn is the index of the timestamp column, KeyColumns those of
	// the keys, in the order of LabelOptions.Keys.
	TimestampColumn int
	KeyColumns      []int
}

// Key returns the value of a key field, which has that place in LabelOptions.Keys,
// in a row.
func (l *Labels) Key(row, field int) schemas.Value { return l.Rows[row][l.KeyColumns[field]] }

// LabelError says what is wrong with a label file and where.
type LabelError struct {
	File   string
	Line   int64  // of a CSV file, or row of a Parquet file, from 1; 0 = the whole file
	Row    bool   // Line counts rows
	Column string // may be empty
	Reason string
	Hint   string // what to do; may be empty
}

func (e *LabelError) Error() string {
	var b strings.Builder
	b.WriteString("labels " + e.File)
	if e.Line > 0 {
		what := "line"
		if e.Row {
			what = "row"
		}
		fmt.Fprintf(&b, ", %s %d", what, e.Line)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ", column %s", e.Column)
	}
	b.WriteString(": " + e.Reason)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// ReadLabels reads a CSV file with a header, or a Parquet file, which is told by
// its first bytes. What is wrong with the file's content is a *LabelError.
func ReadLabels(path string, opt LabelOptions) (*Labels, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	if st.IsDir() {
		return nil, &LabelError{File: path, Reason: "it is a directory", Hint: "name one CSV or Parquet file"}
	}
	r := &labelReader{path: path, opt: opt, out: &Labels{}}
	if r.times, err = newTimeReader(opt.Unit, opt.Zone); err != nil {
		return nil, fmt.Errorf("labels %s: %w", path, err)
	}
	var magic [4]byte
	n, err := io.ReadFull(f, magic[:])
	switch {
	case err == io.EOF:
		return nil, &LabelError{File: path, Reason: "it is empty", Hint: "a label file has a timestamp column and the key columns"}
	case err != nil && err != io.ErrUnexpectedEOF:
		return nil, fmt.Errorf("labels: %w", err)
	case magic[0] == 0xff && magic[1] == 0xfe, magic[0] == 0xfe && magic[1] == 0xff:
		return nil, &LabelError{File: path, Reason: "it is UTF-16", Hint: "save it as UTF-8"}
	case magic[0] == 0x1f && magic[1] == 0x8b:
		return nil, &LabelError{File: path, Reason: "it is compressed", Hint: "decompress it"}
	case string(magic[:n]) == "PAR1":
		return r.parquet(f, st.Size())
	case strings.HasSuffix(strings.ToLower(path), ".parquet"):
		return nil, &LabelError{File: path, Reason: "it is named .parquet and does not begin as a Parquet file does"}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	return r.csv(f)
}

// labelReader reads one file.
type labelReader struct {
	path  string
	opt   LabelOptions
	times *timeReader
	out   *Labels
	// keyOf has, per column, the index of its key field, -1 for none.
	keyOf []int
	slab  []schemas.Value // rows are cut from it
}

// bind finds the timestamp and key columns.
func (r *labelReader) bind(names []string) error {
	r.keyOf = make([]int, len(names))
	for i, n := range names {
		r.keyOf[i] = -1
		if n == "" || !utf8.ValidString(n) {
			return r.fail(0, strconv.Itoa(i+1), "it has no name, or one that is not UTF-8", "name every column")
		}
		if slices.Contains(names[:i], n) {
			return r.fail(0, n, "the name occurs twice", "rename one of the columns")
		}
	}
	for k, key := range r.opt.Keys {
		at := slices.Index(names, key.Name)
		if at < 0 {
			return r.fail(0, "", "there is no column for key field "+key.Name, (&MissingColumnError{key.Name, names}).hint())
		}
		r.keyOf[at] = k
		r.out.KeyColumns = append(r.out.KeyColumns, at)
	}
	at, err := r.timestampColumn(names)
	if err != nil {
		return err
	}
	if k := r.keyOf[at]; k >= 0 && r.opt.Keys[k].Kind != schemas.Timestamp {
		return r.fail(0, names[at], fmt.Sprintf("it is the timestamp column and a key field of type %s", r.opt.Keys[k].Kind), "name another timestamp column")
	}
	r.out.TimestampColumn = at
	return nil
}

func (r *labelReader) timestampColumn(names []string) (int, error) {
	if want := r.opt.TimestampColumn; want != "" {
		at := slices.Index(names, want)
		if at < 0 {
			return 0, r.fail(0, "", "there is no timestamp column "+want, (&MissingColumnError{want, names}).hint())
		}
		return at, nil
	}
	var found []string
	for i, n := range names {
		if slices.Contains(TimestampNames[:], n) && r.keyOf[i] < 0 {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 1:
		return slices.Index(names, found[0]), nil
	case 0:
		return 0, r.fail(0, "", "none of its columns is named as a timestamp column is: "+strings.Join(TimestampNames[:], ", "),
			"name the timestamp column with --timestamp-column; the file has "+strings.Join(names, ", "))
	}
	return 0, r.fail(0, "", "more than one column may be the timestamp column: "+strings.Join(found, ", "), "name one with --timestamp-column")
}

func (e *MissingColumnError) hint() string {
	if h := expr.DidYouMean(e.Column, e.Have); h != "" {
		return h
	}
	return "it has " + strings.Join(e.Have, ", ")
}

func (r *labelReader) fail(line int64, column, reason, hint string) error {
	return &LabelError{File: r.path, Line: line, Column: column, Reason: reason, Hint: hint}
}

// wrap places the error of a value.
func (r *labelReader) wrap(line int64, row bool, column string, err error) error {
	e := &LabelError{File: r.path, Line: line, Row: row, Column: column, Reason: err.Error()}
	var v *valueError
	if errors.As(err, &v) {
		e.Reason, e.Hint = v.reason, v.hint
	}
	return e
}

// newRow returns a row of n values from the slab.
func (r *labelReader) newRow(n int) []schemas.Value {
	if len(r.slab) < n {
		r.slab = make([]schemas.Value, max(n, 8192/n*n))
	}
	row := r.slab[:n:n]
	r.slab = r.slab[n:]
	return row
}

// expect makes room for so many rows, within reason: the file may not be what it says.
func (r *labelReader) expect(rows int64) {
	n := int(min(max(rows, 0), 1<<20))
	r.out.Rows, r.out.T = make([][]schemas.Value, 0, n), make([]schemas.Micros, 0, n)
}

// add takes a converted row.
func (r *labelReader) add(row []schemas.Value) {
	r.out.Rows = append(r.out.Rows, row)
	r.out.T = append(r.out.T, row[r.out.TimestampColumn].Micros())
}
