package offline

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/tallystick/tallystick/schemas"
)

// stager writes one file after the other.
type stager struct {
	ctx     context.Context
	r       *Run
	openDay int64
	files   []StagedFile
	figures figuring
	handled int // bytes since Brake was called

	file   *StagedFile
	number int // of the file within its partition
	upload Upload
	writer *Writer
	last   rowKey // of the last row
	prefix rowKey // of the open file
	rows   tableRows
}

// brakeEvery is how many bytes of rows are written between two calls of Brake.
const brakeEvery = 64 << 10

// OrderError says that a unit has left rows out of their order.
type OrderError struct {
	Table string
	Key   []byte
}

func (e *OrderError) Error() string {
	return fmt.Sprintf("table %s: the row with the key %x is out of order", e.Table, e.Key)
}

func (s *stager) row(k rowKey, row []byte) error {
	if s.handled += len(row); s.r.opt.Brake != nil && s.handled >= brakeEvery {
		s.handled = 0
		s.r.opt.Brake()
	}
	switch c := bytes.Compare(k, s.last); {
	case c == 0:
		return &DuplicateError{string(tableOrder[k[0]]), bytes.Clone(k[keyPrefix:])}
	case c < 0:
		return &OrderError{string(tableOrder[k[0]]), bytes.Clone(k[keyPrefix:])}
	}
	s.last = append(s.last[:0], k...)
	name := tableOrder[k[0]]
	err := s.rows.parse(k, row, len(s.r.t.layout[name].cols), func(values []schemas.Value) error { return s.write(k, values) })
	if err != nil {
		return fmt.Errorf("table %s: %w", name, err)
	}
	if name == Tiles { // the key is that of the first of several
		s.last = appendInt(s.last[:len(s.last)-8], s.rows.start)
	}
	return nil
}

// write writes a row into the file that it belongs to.
func (s *stager) write(k rowKey, values []schemas.Value) error {
	if same := bytes.Equal(k[:keyPrefix], s.prefix); !same || s.writer != nil && s.writer.info.Rows == fileRows {
		if err := s.end(); err != nil {
			return err
		}
		if !same {
			s.number = 0
			s.prefix = append(s.prefix[:0], k[:keyPrefix]...)
			if err := s.figures.begin(k); err != nil {
				return err
			}
		}
		if err := s.begin(k); err != nil {
			return err
		}
	}
	if err := s.writer.WriteAfter(values, s.rows.same); err != nil {
		return err
	}
	return s.figures.row(values)
}

func (s *stager) begin(k rowKey) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	name, day, part := k.prefix()
	if name == Open {
		day = s.openDay
	}
	l := s.r.t.layout[name]
	text := [2]*string{nil, new(strconv.Itoa(int(part)))}
	if day != noDay {
		text[0] = new(dateText(day))
	}
	s.file = &StagedFile{Table: name, Day: day, Part: part, Path: partitionDir(l.partition, text[:]),
		Partition: map[string]*string{l.partition[0].Name: text[0], l.partition[1].Name: text[1]}}
	var err error
	if s.upload, err = s.r.t.tables[name].store.Create(s.ctx, s.r.staging); err != nil {
		return fmt.Errorf("table %s: staging: %w", name, err)
	}
	s.writer, err = NewWriter(s.upload, l.cols, WriterOptions{})
	return err
}

// end finishes the open file. Its name says its bytes, so that a name in a
// table never stands for two contents.
func (s *stager) end() error {
	if s.writer == nil {
		return nil
	}
	info, err := s.writer.Close()
	if err == nil {
		s.file.Info = info
		s.file.Path += fmt.Sprintf("/part-%05d-%s.parquet", s.number, info.SHA256[:32])
		err = overtaken(s.upload.Commit(s.ctx, s.r.staged(s.file.Path)))
	}
	if err != nil {
		return fmt.Errorf("table %s: staging: %w", s.file.Table, err)
	}
	s.files = append(s.files, *s.file)
	s.number++
	s.writer, s.upload, s.file = nil, nil, nil
	return nil
}

func (s *stager) abort() {
	if s.upload != nil {
		s.upload.Abort()
	}
}
