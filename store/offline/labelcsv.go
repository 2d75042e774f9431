package offline

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/expr"
)

// csv reads the rest of f as CSV (RFC 4180) with a header.
func (r *labelReader) csv(f io.Reader) (*Labels, error) {
	br := bufio.NewReaderSize(f, 1<<18)
	if bom, _ := br.Peek(3); string(bom) == "\ufeff" {
		br.Discard(3)
	}
	c := csv.NewReader(&quotedLineEnds{r: br})
	c.ReuseRecord = true
	header, err := c.Read()
	if err != nil {
		return nil, r.csvError(err)
	}
	if len(header) == 1 && strings.ContainsAny(header[0], ";\t|") {
		return nil, r.fail(1, "", "the header has one column", "separate columns by commas")
	}
	names := append([]string(nil), header...)
	if err := r.bind(names); err != nil {
		return nil, err
	}
	for i, n := range names {
		r.out.Columns = append(r.out.Columns, Column{Name: n, Kind: r.csvKind(i)})
	}
	for {
		rec, err := c.Read()
		if err == io.EOF {
			return r.out, nil
		}
		if err != nil {
			return nil, r.csvError(err)
		}
		if err := r.csvRow(c, rec); err != nil {
			return nil, err
		}
	}
}

// quotedLineEnds has encoding/csv keep the line ends of quoted fields, of which it makes
// \n: a key field with another line end is another entity. It gives \r\r\n for \r\n
// where the quotes so far are odd in number.
type quotedLineEnds struct {
	r      *bufio.Reader
	quoted bool
	cr     bool   // the last byte was \r
	line   []byte // what is yet to be given
	own    []byte
}

// Read implements io.Reader.
func (q *quotedLineEnds) Read(p []byte) (int, error) {
	if len(q.line) == 0 {
		line, err := q.r.ReadSlice('\n')
		n := len(line) - 1
		if n < 0 {
			return 0, err
		}
		if bytes.Count(line, []byte{'"'})%2 == 1 {
			q.quoted = !q.quoted
		}
		if n > 0 {
			q.cr = line[n-1] == '\r'
		}
		if q.line = line; q.quoted && q.cr && line[n] == '\n' {
			q.own = append(append(q.own[:0], line[:n]...), '\r', '\n')
			q.line = q.own
		}
		q.cr = line[n] == '\r'
	}
	n := copy(p, q.line)
	q.line = q.line[n:]
	return n, nil
}

func (r *labelReader) csvKind(i int) schemas.Kind {
	switch {
	case i == r.out.TimestampColumn:
		return schemas.Timestamp
	case r.keyOf[i] >= 0:
		return r.opt.Keys[r.keyOf[i]].Kind
	}
	return schemas.String
}

func (r *labelReader) csvRow(c *csv.Reader, rec []string) error {
	row := r.newRow(len(rec))
	for i, text := range rec {
		var err error
		if row[i], err = r.times.fromText(text, r.out.Columns[i].Kind); err != nil {
			line, _ := c.FieldPos(i)
			return r.wrap(int64(line), false, r.out.Columns[i].Name, err)
		}
	}
	r.add(row)
	return nil
}

func (r *labelReader) csvError(err error) error {
	var p *csv.ParseError
	switch {
	case err == io.EOF:
		return r.fail(0, "", "it has no header", "the first line names the columns")
	case !errors.As(err, &p):
		return fmt.Errorf("labels %s: %w", r.path, err)
	case errors.Is(err, csv.ErrFieldCount):
		return r.fail(int64(p.Line), "", "it has not as many fields as the header", "fields that hold commas, quotes or line breaks stand in double quotes")
	}
	return r.fail(int64(p.Line), "", p.Err.Error(), fmt.Sprintf("see character %d; quotes within quoted fields are doubled", p.Column))
}

// valueError says why a value cannot be read, and what to do.
type valueError struct{ reason, hint string }

func (e *valueError) Error() string { return e.reason }

func short(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// fromText reads text as a value of kind k. An empty text is empty for strings and
// bytes and an error otherwise.
func (t *timeReader) fromText(text string, k schemas.Kind) (schemas.Value, error) {
	if text == "" && k != schemas.String && k != schemas.Bytes {
		return schemas.Value{}, &valueError{"it is empty", fmt.Sprintf("every row needs %s here", expr.Article(k))}
	}
	switch k {
	case schemas.String:
		if !utf8.ValidString(text) {
			return schemas.Value{}, &valueError{"the text is not UTF-8", "save the file as UTF-8"}
		}
		return schemas.StringValue(text), nil
	case schemas.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return schemas.Value{}, &valueError{fmt.Sprintf("%q is not a 64-bit integer", short(text)), "write digits only, without a point"}
		}
		return schemas.IntValue(n), nil
	case schemas.Bool:
		switch text {
		case "true", "True", "TRUE":
			return schemas.BoolValue(true), nil
		case "false", "False", "FALSE":
			return schemas.BoolValue(false), nil
		}
		return schemas.Value{}, &valueError{fmt.Sprintf("%q is not a bool", short(text)), "write true or false"}
	case schemas.Timestamp:
		m, err := t.text(text)
		return schemas.TimestampValue(m), err
	}
	if k == schemas.Bytes {
		b, err := hex.DecodeString(text)
		if err != nil {
			return schemas.Value{}, &valueError{fmt.Sprintf("%q is not hexadecimal", short(text)), "write two digits for each byte, as in 00ff"}
		}
		return schemas.BytesValue(string(b)), nil
	}
	return schemas.Value{}, &valueError{fmt.Sprintf("a %s cannot be written in CSV", k), "use a Parquet file"}
}
