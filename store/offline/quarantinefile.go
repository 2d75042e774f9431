package offline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tallystick/tallystick/schemas"
)

// QuarantineWriter writes quarantined records into one plain Parquet file, with
// event_date and source_partition as its first columns. Rows come in any order,
// from any number of goroutines, and are sorted by partition and offset.
type QuarantineWriter struct {
	path    string
	topicID string
	spool   *spool
	bufs    sync.Pool
}

// QuarantineFile begins such a file; nothing is at path until Close. What does
// not fit memory is spilled into a directory beside it.
func QuarantineFile(path, topicID string, memory int) *QuarantineWriter {
	return &QuarantineWriter{path: path, topicID: topicID, spool: newSpool(path+".spill", memory, 0)}
}

// Quarantine takes a record.
func (w *QuarantineWriter) Quarantine(q Quarantined) error {
	b, _ := w.bufs.Get().(*rowBuffer)
	if b == nil {
		b = &rowBuffer{}
	}
	day := schemas.Value{}
	if d := dayOf(q.Clock); d != noDay {
		day = schemas.IntValue(d)
	}
	b.key = appendInt(appendKey(b.key[:0], Quarantine, 0, q.Partition), q.Offset)
	b.row = schemas.IntValue(int64(q.Partition)).Append(day.Append(b.row[:0]))
	for _, v := range quarantineRow(w.topicID, &q) {
		b.row = v.Append(b.row)
	}
	err := w.spool.add(b.key, b.row)
	w.bufs.Put(b)
	return err
}

// Close writes the file, whole or not at all, and returns what it holds.
func (w *QuarantineWriter) Close() (*FileInfo, error) {
	defer w.spool.close()
	f, err := os.CreateTemp(filepath.Dir(w.path), ".quarantine-*")
	if err != nil {
		return nil, fmt.Errorf("quarantine file: %w", err)
	}
	defer os.Remove(f.Name())
	info, err := w.write(f)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), w.path)
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine file %s: %w", w.path, err)
	}
	return info, nil
}

func (w *QuarantineWriter) write(f *os.File) (*FileInfo, error) {
	cols := append([]Column{dateColumn, partitionColumn}, quarantineColumns()...)
	pw, err := NewWriter(f, cols, WriterOptions{})
	if err != nil {
		return nil, err
	}
	var values []schemas.Value
	if err := w.spool.each(func(_, row []byte) error {
		if values, err = parseRow(values[:0], row, len(cols)); err != nil {
			return err
		}
		return pw.Write(values)
	}); err != nil {
		return nil, err
	}
	return pw.Close()
}

// Abort gives the file up.
func (w *QuarantineWriter) Abort() error { return w.spool.close() }
