package offline

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/expr"
)

// parquet reads a Parquet file of flat columns.
func (r *labelReader) parquet(f io.ReaderAt, size int64) (*Labels, error) {
	rows, err := newRows(f, size, r.path, nil, r.times.local)
	if err != nil {
		return nil, r.parquetError(err)
	}
	defer rows.Close()
	names := make([]string, len(rows.cols))
	for i, c := range rows.cols {
		names[i] = c.Name
	}
	if err := r.bind(names); err != nil {
		return nil, err
	}
	r.out.Columns = append(r.out.Columns, rows.cols...)
	for i := range r.out.Columns {
		if err := r.retype(&r.out.Columns[i], i); err != nil {
			return nil, err
		}
	}
	r.expect(rows.file.NumRows())
	for {
		src, err := rows.Next()
		if err == io.EOF {
			return r.out, nil
		}
		if err != nil {
			return nil, r.parquetError(err)
		}
		row := r.newRow(len(src))
		for i, v := range src {
			if row[i], err = r.value(v, &r.out.Columns[i], i); err != nil {
				return nil, r.wrap(rows.number, true, r.out.Columns[i].Name, err)
			}
		}
		r.add(row)
	}
}

func (r *labelReader) parquetError(err error) error {
	var u *UnsupportedColumnError
	if errors.As(err, &u) {
		return r.fail(0, u.Column, "its type "+u.Type+" is not read", u.Hint)
	}
	return &LabelError{File: r.path, Reason: strings.TrimPrefix(err.Error(), r.path+": ")}
}

// retype gives the timestamp and key columns the types that they are read as,
// or says why they cannot be.
func (r *labelReader) retype(c *Column, i int) error {
	var to schemas.Kind
	switch k := r.keyOf[i]; {
	case i == r.out.TimestampColumn:
		to = schemas.Timestamp
	case k >= 0:
		to = r.opt.Keys[k].Kind
	default:
		return nil
	}
	c.Nullable = false
	if c.Date {
		return r.fail(0, c.Name, "it is a date, not a "+to.String(), "write it as TIMESTAMP(MICROS, UTC)")
	}
	ok := c.Kind == to || c.Kind == schemas.String && to != schemas.Bytes ||
		c.Kind == schemas.Int && to == schemas.Timestamp || c.Kind == schemas.Bytes && to == schemas.String
	if !ok {
		hint := "cast it to " + to.String()
		if c.Kind == schemas.Double && to == schemas.Int {
			hint += "; pandas makes doubles of integer columns with missing values"
		}
		return r.fail(0, c.Name, fmt.Sprintf("it is a %s column and must be %s", c.Kind, to), hint)
	}
	c.Kind = to
	return nil
}

// value converts a value to the column's kind.
func (r *labelReader) value(v schemas.Value, c *Column, i int) (schemas.Value, error) {
	if v.IsNull() {
		if i == r.out.TimestampColumn || r.keyOf[i] >= 0 {
			return v, &valueError{"it is null", fmt.Sprintf("every row needs %s here", expr.Article(c.Kind))}
		}
		return v, nil
	}
	if v.Kind() == c.Kind {
		if m := v.Micros(); i == r.out.TimestampColumn && (m < minInstant || m > maxInstant) {
			return v, &valueError{"the instant is beyond the years 1 to 9999", ""}
		}
		return v, nil
	}
	switch v.Kind() {
	case schemas.String:
		return r.times.fromText(v.Text(), c.Kind)
	case schemas.Int:
		m, err := r.times.number(v.Int())
		return schemas.TimestampValue(m), err
	}
	if !utf8.ValidString(v.Text()) {
		return v, &valueError{"the bytes are not UTF-8", "the key field is a string"}
	}
	return schemas.StringValue(v.Text()), nil
}
