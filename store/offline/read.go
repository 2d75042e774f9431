package offline

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
	"github.com/tallystick/tallystick/schemas"
)

// readValues is how many values of a column are decoded at once.
const readValues = 256

// readBuffer is the size of a column's read buffer.
const readBuffer = 16 << 10

// Rows reads the rows of a Parquet file in order, holding a page per column. It
// is not safe for concurrent use.
type Rows struct {
	file    *parquet.File
	name    string
	close   io.Closer
	cols    []Column
	columns []*columnReader
	groups  []parquet.RowGroup
	left    int64 // rows of the open row group
	row     []schemas.Value
	number  int64 // of the last row, from 1
}

// ReadFile opens a Parquet file whose columns are all of types that Column has,
// and reads the named columns, all when there are none. Close releases it.
func ReadFile(path string, columns ...string) (*Rows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var r *Rows
		if r, err = NewRows(f, st.Size(), path, columns...); err == nil {
			r.close = f
			return r, nil
		}
	}
	f.Close()
	return nil, err
}

// NewRows is ReadFile for a file that is already open; name stands in errors.
func NewRows(src io.ReaderAt, size int64, name string, columns ...string) (*Rows, error) {
	return newRows(src, size, name, columns, nil)
}

func newRows(src io.ReaderAt, size int64, name string, columns []string, local *schemas.LocalParser) (r *Rows, err error) {
	defer guard(name, &err)
	f, err := parquet.OpenFile(src, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(readBuffer))
	if err != nil {
		return nil, fmt.Errorf("%s: it is not a Parquet file that can be read: %w", name, &contentError{err})
	}
	r = &Rows{file: f, name: name, groups: f.RowGroups()}
	fields := f.Schema().Fields()
	if len(columns) == 0 {
		for _, fd := range fields {
			columns = append(columns, fd.Name())
		}
	}
	declared := leaves(f.Metadata())
	for _, want := range columns {
		c, err := newColumnReader(f.Schema(), fields, want, local)
		if err == nil {
			err = c.readable(declared[c.leaf])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, &contentError{err})
		}
		r.columns = append(r.columns, c)
		r.cols = append(r.cols, c.column)
	}
	r.row = make([]schemas.Value, len(r.cols))
	return r, nil
}

// contentError is an error over what a file says, or of reading it.
type contentError struct{ error }

func (e *contentError) Unwrap() error { return e.error }

// guard turns a panic over hostile bytes into an error: parquet-go checks most
// of a file, not all of it.
func guard(name string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: %w: %v", name, errDamaged, p)
	}
}

// Columns returns the columns read.
func (r *Rows) Columns() []Column { return r.cols }

// Len returns how many rows the file says it has.
func (r *Rows) Len() int64 { return r.file.NumRows() }

// Next returns the next row, io.EOF after the last. The row is valid until the
// next call; its text is not reused.
func (r *Rows) Next() (row []schemas.Value, err error) {
	defer guard(r.name, &err)
	for r.left == 0 {
		if len(r.groups) == 0 {
			return nil, io.EOF
		}
		if err := r.nextGroup(); err != nil {
			return nil, err
		}
	}
	r.left--
	r.number++
	for i, c := range r.columns {
		if r.row[i], err = c.next(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("%s: row %d, column %s: %w", r.name, r.number, c.column.Name, &contentError{err})
		}
	}
	return r.row, nil
}

func (r *Rows) nextGroup() error {
	g := r.groups[0]
	r.groups = r.groups[1:]
	r.left = g.NumRows()
	chunks := g.ColumnChunks()
	for _, c := range r.columns {
		if err := c.open(chunks[c.leaf]); err != nil {
			return fmt.Errorf("%s: column %s: %w", r.name, c.column.Name, err)
		}
	}
	return nil
}

// Close releases the file.
func (r *Rows) Close() error {
	var errs []error
	for _, c := range r.columns {
		errs = append(errs, c.close())
	}
	if r.close != nil {
		errs = append(errs, r.close.Close())
	}
	return errors.Join(errs...)
}

// columnReader reads the values of one column.
type columnReader struct {
	column  Column
	leaf    int  // among the file's leaf columns
	list    bool // its values are elements of lists
	present int  // the definition level from which there is an element
	convert func(parquet.Value) (schemas.Value, error)
	pages   parquet.Pages
	page    parquet.Page
	values  parquet.ValueReader
	buf     [readValues]parquet.Value
	at, n   int
}

func newColumnReader(s *parquet.Schema, fields []parquet.Field, name string, local *schemas.LocalParser) (*columnReader, error) {
	for _, f := range fields {
		if f.Name() != name {
			continue
		}
		if path := listOf(f); path != nil {
			leaf, ok := s.Lookup(path...)
			if !ok {
				return nil, fmt.Errorf("column %q cannot be found", name)
			}
			c := &columnReader{leaf: leaf.ColumnIndex, list: true, column: Column{Name: name}, present: leaf.MaxDefinitionLevel}
			if leaf.Node.Optional() {
				c.present--
			}
			if err := c.typed(leaf.Node.Type(), local); err != nil {
				return nil, err
			}
			c.column.Kind, c.column.Element, c.column.Nullable = schemas.List, c.column.Kind, f.Optional()
			return c, nil
		}
		if !f.Leaf() || f.Repeated() {
			return nil, &UnsupportedColumnError{Column: name, Type: "nested", Hint: "flatten it or leave it out"}
		}
		leaf, ok := s.Lookup(name)
		if !ok {
			return nil, fmt.Errorf("column %q cannot be found", name)
		}
		c := &columnReader{leaf: leaf.ColumnIndex, column: Column{Name: name, Nullable: f.Optional()}}
		return c, c.typed(f.Type(), local)
	}
	return nil, &MissingColumnError{Column: name, Have: fieldNames(fields)}
}

// listOf returns the path to the elements of a column that is a list of scalars,
// nil when it is none.
func listOf(f parquet.Field) []string {
	if f.Leaf() || f.Type().LogicalType() == nil || len(f.Fields()) != 1 {
		return nil
	}
	if _, list := f.Type().LogicalType().Value.(*format.ListType); !list {
		return nil
	}
	inner := f.Fields()[0]
	if !inner.Repeated() || inner.Leaf() || len(inner.Fields()) != 1 || !inner.Fields()[0].Leaf() || inner.Fields()[0].Repeated() {
		return nil
	}
	return []string{f.Name(), inner.Name(), inner.Fields()[0].Name()}
}

func fieldNames(fields []parquet.Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name()
	}
	return names
}

func (c *columnReader) open(chunk parquet.ColumnChunk) error {
	if err := c.close(); err != nil {
		return err
	}
	c.pages = chunk.Pages()
	return nil
}

func (c *columnReader) close() error {
	if c.page != nil {
		parquet.Release(c.page)
	}
	c.page, c.values, c.at, c.n = nil, nil, 0, 0
	if c.pages == nil {
		return nil
	}
	err := c.pages.Close()
	c.pages = nil
	return err
}

func (c *columnReader) next() (schemas.Value, error) {
	if c.list {
		return c.nextList()
	}
	v, err := c.peek()
	if err != nil {
		return schemas.Value{}, err
	}
	c.at++
	if v.IsNull() {
		return schemas.Value{}, nil
	}
	return c.convert(v)
}

// peek returns the value at hand.
func (c *columnReader) peek() (parquet.Value, error) {
	for c.at == c.n {
		if err := c.fill(); err != nil {
			return parquet.Value{}, err
		}
	}
	return c.buf[c.at], nil
}

// nextList reads the elements up to the next row.
func (c *columnReader) nextList() (schemas.Value, error) {
	v, err := c.peek()
	if err != nil {
		return schemas.Value{}, err
	}
	if v.IsNull() && v.DefinitionLevel() == 0 && c.column.Nullable {
		c.at++
		return schemas.Value{}, nil
	}
	var list []schemas.Value
	for {
		switch {
		case v.DefinitionLevel() < c.present: // an empty list
		case v.IsNull():
			return schemas.Value{}, errors.New("an element of the list is null, which is not read")
		default:
			x, err := c.convert(v)
			if err != nil {
				return schemas.Value{}, err
			}
			list = append(list, x)
		}
		c.at++
		if v, err = c.peek(); err == io.EOF || err == nil && v.RepetitionLevel() == 0 {
			return schemas.ListValue(list), nil
		} else if err != nil {
			return schemas.Value{}, err
		}
	}
}

func (c *columnReader) fill() error {
	if c.values == nil {
		if c.page != nil {
			parquet.Release(c.page)
			c.page = nil
		}
		page, err := c.pages.ReadPage()
		if err != nil {
			return err
		}
		c.page, c.values = page, page.Values()
	}
	n, err := c.values.ReadValues(c.buf[:])
	c.at, c.n = 0, n
	if err == io.EOF {
		c.values, err = nil, nil
	} else if err == nil && n == 0 {
		err = io.ErrNoProgress
	}
	return err
}

// leaves returns the columns of the file as it declares them.
func leaves(meta *format.FileMetaData) (out []*format.SchemaElement) {
	for i := range meta.Schema {
		if el := &meta.Schema[i]; el.Type.Valid {
			out = append(out, el)
		}
	}
	return out
}

// readable tells of types that parquet-go takes for plain bytes.
func (c *columnReader) readable(el *format.SchemaElement) error {
	if _, half := el.LogicalType.Value.(*format.Float16Type); half {
		return &UnsupportedColumnError{Column: c.column.Name, Type: el.LogicalType.String(), Hint: otherType}
	}
	if el.ConvertedType.Valid && el.ConvertedType.V == deprecated.Interval {
		return &UnsupportedColumnError{Column: c.column.Name, Type: "INTERVAL", Hint: otherType}
	}
	return nil
}

// otherType is what to do with a column of a type that is not read.
const otherType = "cast it to a string, an integer or a double, or leave it out"

// typed chooses the column's kind and the conversion of its values.
func (c *columnReader) typed(t parquet.Type, local *schemas.LocalParser) error {
	if l := t.LogicalType(); l != nil && l.Value != nil {
		switch l := l.Value.(type) {
		case *format.StringType, *format.EnumType, *format.JsonType:
			c.column.Kind, c.convert = schemas.String, textValue
			return nil
		case *format.DateType:
			c.column.Kind, c.column.Date = schemas.Int, true
			c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.IntValue(int64(v.Int32())), nil }
			return nil
		case *format.TimestampType:
			return c.instants(l, local)
		case *format.IntType:
			return c.ints(t.Kind(), l)
		case *format.UUIDType, *format.BsonType:
		default:
			return &UnsupportedColumnError{Column: c.column.Name, Type: l.String(), Hint: otherType}
		}
	}
	switch t.Kind() {
	case parquet.Boolean:
		c.column.Kind = schemas.Bool
		c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.BoolValue(v.Boolean()), nil }
	case parquet.Int32, parquet.Int64:
		return c.ints(t.Kind(), &format.IntType{IsSigned: true})
	case parquet.Float:
		c.column.Kind = schemas.Double
		c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.CarriedDouble(float64(v.Float())), nil }
	case parquet.Double:
		c.column.Kind = schemas.Double
		c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.CarriedDouble(v.Double()), nil }
	case parquet.ByteArray, parquet.FixedLenByteArray:
		c.column.Kind = schemas.Bytes
		c.convert = func(v parquet.Value) (schemas.Value, error) { return schemas.BytesValue(string(v.ByteArray())), nil }
	default:
		return &UnsupportedColumnError{Column: c.column.Name, Type: t.String(), Hint: "INT96 instants do not say their zone: write it as TIMESTAMP(MICROS, UTC)"}
	}
	return nil
}
