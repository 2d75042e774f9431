package offline

import (
	"context"
	"fmt"
	"io"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms/rows"
)

// QuarantineWriter writes quarantined records into one plain Parquet file, with
// event_date and source_partition as its first columns. Rows come in any order and are
// sorted by partition and offset. It is for one goroutine.
type QuarantineWriter struct {
	files files.Files
	path  string
	spool *spool
}

// QuarantineFile begins such a file; nothing is at path until Close. What does
// not fit memory is spilled into a file beside it.
func QuarantineFile(fs files.Files, path string, memory int) *QuarantineWriter {
	return &QuarantineWriter{files: fs, path: path, spool: newSpool(path+".spill", memory, &spill.Disk{Files: fs})}
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
	var info *FileInfo
	err := files.Save(w.files, w.path, func(f io.Writer) (err error) {
		info, err = w.write(ctx, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("quarantine file %s: %w", w.path, err)
	}
	return info, nil
}

func (w *QuarantineWriter) write(ctx context.Context, f io.Writer) (*FileInfo, error) {
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
