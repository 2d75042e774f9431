package offline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// fileRows is after how many rows a partition goes on in another file: a
// multiple of the row group, a constant of the layout (B1).
const fileRows = 128 * rowGroupRows

// staging is where files wait for their publication, in a directory for each
// run: what a run removes is its own. Vacuums of other engines spare directories
// that begin with _.
const staging = "_staging"

// Staged are the files of one run, written and not published yet.
type Staged struct {
	w     *ViewWriter
	cut   schemas.TopicCut
	Files map[TableName][]StagedFile // by date, shard or partition, number
}

// StagedFile is a file that waits for its publication.
type StagedFile struct {
	Table     TableName
	Path      string // in the table, once it is published
	Day       int64  // days since the epoch; NoDate = null
	Part      int32  // shard of features, else source partition
	Info      *FileInfo
	partition map[string]*string
}

// NoDate is the Day of files whose event_date is null.
const NoDate = noDay

// Stage sorts the rows and writes the files. The greatest log clock of the cut
// is the date of table open. A kill at any point leaves the tables as they were;
// a rerun writes the same files. ErrConflict: as of Publish.
func (w *ViewWriter) Stage(ctx context.Context, cut schemas.TopicCut) (*Staged, error) {
	s := &stager{ctx: ctx, w: w, openDay: dayOf(cutClock(cut)), out: &Staged{w: w, cut: cut, Files: map[TableName][]StagedFile{}}}
	defer s.abort()
	if err := w.spool.each(ctx, s.row); err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	return s.out, w.spool.Close()
}

// DuplicateError says that two rows have the same primary key (B6).
type DuplicateError struct {
	Table string
	Key   []byte
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("table %s: two rows have the key %x", e.Table, e.Key)
}

// stager writes one file after the other.
type stager struct {
	ctx     context.Context
	w       *ViewWriter
	openDay int64
	out     *Staged

	file   *StagedFile
	number int // of the file within its partition
	upload Upload
	writer *Writer
	last   rowKey // of the last row
	prefix rowKey // of the open file
	values []schemas.Value
}

func (s *stager) row(k rowKey, row []byte) error {
	if bytes.Equal(k, s.last) {
		return &DuplicateError{string(tableOrder[k[0]]), bytes.Clone(k[keyPrefix:])}
	}
	s.last = append(s.last[:0], k...)
	same := bytes.Equal(k[:keyPrefix], s.prefix)
	if !same || s.writer != nil && s.writer.info.Rows == fileRows {
		if err := s.end(); err != nil {
			return err
		}
		if !same {
			s.number = 0
			s.prefix = append(s.prefix[:0], k[:keyPrefix]...)
		}
		if err := s.begin(k); err != nil {
			return err
		}
	}
	var err error
	if s.values, err = parseRow(s.values[:0], row, len(s.writer.cols)); err != nil {
		return fmt.Errorf("table %s: %w", s.file.Table, err)
	}
	if err := s.writer.Write(s.values); err != nil {
		return fmt.Errorf("table %s: %w", s.file.Table, err)
	}
	return nil
}

func (s *stager) begin(k rowKey) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	name, day, part := k.prefix()
	if name == Open {
		day = s.openDay
	}
	l := s.w.t.layout[name]
	text := [2]*string{nil, new(strconv.Itoa(int(part)))}
	if day != noDay {
		text[0] = new(dateText(day))
	}
	s.file = &StagedFile{Table: name, Day: day, Part: part, Path: partitionDir(l.partition, text[:]),
		partition: map[string]*string{l.partition[0].Name: text[0], l.partition[1].Name: text[1]}}
	var err error
	if s.upload, err = s.w.t.tables[name].store.Create(s.ctx, s.w.staging); err != nil {
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
		err = overtaken(s.upload.Commit(s.ctx, s.w.staged(s.file.Path)))
	}
	if err != nil {
		return fmt.Errorf("table %s: staging: %w", s.file.Table, err)
	}
	s.out.Files[s.file.Table] = append(s.out.Files[s.file.Table], *s.file)
	s.number++
	s.writer, s.upload, s.file = nil, nil, nil
	return nil
}

func (s *stager) abort() {
	if s.upload != nil {
		s.upload.Abort()
	}
}

// staged returns where a file of the run waits: all in one directory, as a
// replay has thousands of partitions.
func (w *ViewWriter) staged(path string) string {
	return w.staging + "/" + strings.ReplaceAll(path, "/", ",")
}

// overtaken makes ErrConflict of a staged file that is gone: only a run that has
// published since NewWriter removes what others have staged.
func overtaken(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w, and has removed what was staged: %w", ErrConflict, err)
	}
	return err
}

// tidy removes what the run has staged. Once it has published, runs that had
// begun to stage before it can publish nothing else any more: they are killed,
// or will be told ErrConflict, or are of the same publication, whose files are
// in their places. What they have staged goes too.
func (w *ViewWriter) tidy(ctx context.Context, published bool) error {
	var errs []error
	for name, t := range w.t.tables {
		dirs := []string{w.staging}
		if published {
			dirs = append(dirs, w.before[name]...)
		}
		for _, dir := range dirs {
			errs = append(errs, t.store.RemoveAll(ctx, dir))
		}
	}
	return errors.Join(errs...)
}

// digest is the content digest over the files of a table: it holds across
// builds (B1).
func digest(files []StagedFile) string {
	h := sha256.New()
	for _, f := range files {
		dir := f.Path[:strings.LastIndexByte(f.Path, '/')]
		fmt.Fprintf(h, "%s\n%s\n%d\n", dir, f.Info.Content, f.Info.Rows)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// validText replaces what is not UTF-8.
func validText(s string) schemas.Value { return schemas.StringValue(strings.ToValidUTF8(s, "\ufffd")) }
