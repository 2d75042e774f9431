package offline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/rows"
)

// QuarantineWriter writes quarantined records into one plain Parquet file, with
// event_date and source_partition as its first columns. Rows come in any order,
// from any number of goroutines, and are sorted by partition and offset.
type QuarantineWriter struct {
	path  string
	spool *spool
}

// QuarantineFile begins such a file; nothing is at path until Close. What does
// not fit memory is spilled into a file beside it.
func QuarantineFile(path string, memory int) *QuarantineWriter {
	return &QuarantineWriter{path: path, spool: newSpool(path+".spill", memory, nil)}
}

// Quarantine takes a record.
func (w *QuarantineWriter) Quarantine(q rows.Quarantined) error {
	b := w.spool.buffer(Quarantine, 0, q.At.Partition)
	day := schemas.Value{}
	if d := dayOf(q.Clock); d != noDay {
		day = schemas.IntValue(d)
	}
	b.key = appendInt(b.key, q.At.Offset)
	b.row = schemas.IntValue(int64(q.At.Partition)).Append(day.Append(b.row))
	for _, v := range quarantineRow(&q) {
		b.row = v.Append(b.row)
	}
	return w.spool.add(b)
}

// Close writes the file, whole or not at all, and returns what it holds.
func (w *QuarantineWriter) Close(ctx context.Context) (*FileInfo, error) {
	defer w.spool.Close()
	f, err := os.CreateTemp(filepath.Dir(w.path), ".quarantine-*")
	if err != nil {
		return nil, fmt.Errorf("quarantine file: %w", err)
	}
	defer os.Remove(f.Name())
	info, err := w.write(ctx, f)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), w.path)
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine file %s: %w", w.path, err)
	}
	return info, nil
}

func (w *QuarantineWriter) write(ctx context.Context, f *os.File) (*FileInfo, error) {
	cols := append([]Column{dateColumn, partitionColumn}, quarantineColumns()...)
	pw, err := NewWriter(f, cols, WriterOptions{})
	if err != nil {
		return nil, err
	}
	var values []schemas.Value
	if err := w.spool.each(ctx, func(_ rowKey, row []byte) error {
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
func (w *QuarantineWriter) Abort() error { return w.spool.Close() }
