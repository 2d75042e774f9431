package offline

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"
	"sync"

	"github.com/tallystick/tallystick/store/spill"
)

// Work is where the units of one view's replay leave their rows for later units,
// and say that they are finished (B4). A unit that is run twice, or by two at once,
// is harmless: each attempt writes a file of its own, and the first one to finish has
// the record, which names the file that counts. Two that finish at once may both write
// it; they were run at once, and hold the same rows.
//
// Nothing is made durable: what a power failure leaves half-written is told by its
// size and checksums, and its unit counts as not finished.
type Work struct {
	store Store
	dir   string
	disk  *spill.Disk
	alone bool // the store holds work areas of one view and nothing else

	buffers sync.Pool // *[]byte of up to keptBuffer, what blocks are read into

	mu     sync.Mutex
	opened map[string]*workFile // by unit
	asked  uint64               // counts acquire
}

// keptBuffer is that of a block of more than one row, at most, in bytes. One that held a
// large row is given up: nobody counts what a pool keeps (B3).
const keptBuffer = 1 << 20

// NewWork returns the work area in a directory of a store. disk bounds what is
// written; nil = no limit. Close it.
func NewWork(store Store, dir string, disk *spill.Disk) *Work {
	return &Work{store: store, dir: dir, disk: disk, opened: map[string]*workFile{}}
}

// siblings are the other work areas of the same view; none where the store is not
// one for work areas alone.
func (w *Work) siblings(ctx context.Context) (dirs []string, err error) {
	if !w.alone {
		return nil, nil
	}
	entries, err := w.store.List(ctx, ".")
	if err != nil {
		return nil, fmt.Errorf("work area: %w", err)
	}
	for _, e := range entries {
		if e.Dir && e.Name != w.dir && !strings.HasPrefix(e.Name, elsewhere) {
			dirs = append(dirs, e.Name)
		}
	}
	return dirs, nil
}

// Size is how many bytes the area holds: of a run that goes on.
func (w *Work) Size(ctx context.Context) (n int64, err error) {
	entries, err := w.store.List(ctx, w.dir)
	if err != nil {
		return 0, fmt.Errorf("work area: %w", err)
	}
	for _, e := range entries {
		n += e.Size
	}
	return n, nil
}

// Account takes what the area holds off the disk, once.
func (w *Work) Account(ctx context.Context) error {
	n, err := w.Size(ctx)
	if err != nil {
		return err
	}
	if err := w.disk.Take(n); err != nil {
		return fmt.Errorf("work area: what is left of an earlier run: %w", err)
	}
	return nil
}

// unitRecord says that a unit is finished. It is one line of JSON.
type unitRecord struct {
	Unit string          `json:"unit"`
	File string          `json:"file,omitempty"` // of rows, none for a unit that leaves none
	Size int64           `json:"size,omitempty"` // bytes
	Data json.RawMessage `json:"data,omitempty"`
	// Behind them, as the last field, stands crc32c: of all that is before its comma.
	// Later units go by what a record says, so one that has changed must not pass for
	// what was written.
}

const recordSum = `,"crc32c":`

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line returns the record as it is written.
func (r *unitRecord) line() ([]byte, error) {
	b, err := marshal(r)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSuffix(b, []byte("}"))
	return fmt.Appendf(b, "%s%d}\n", recordSum, crc32.Checksum(b, castagnoli)), nil
}

// parseRecord returns the record of a unit, nil where the line is not what was written.
func parseRecord(unit string, line []byte) *unitRecord {
	at := max(0, bytes.LastIndex(line, []byte(recordSum)))
	want := fmt.Appendf(nil, "%s%d}\n", recordSum, crc32.Checksum(line[:at], castagnoli))
	var r unitRecord
	if !bytes.Equal(line[at:], want) || json.Unmarshal(line, &r) != nil || r.Unit != unit {
		return nil
	}
	return &r
}

func (w *Work) path(name string) string { return w.dir + "/" + name }

// Record reads what a finished unit recorded into v; false: the unit is not
// finished.
func (w *Work) Record(ctx context.Context, unit string, v any) (bool, error) {
	r, err := w.record(ctx, unit)
	if err != nil || r == nil {
		return false, err
	}
	if v == nil {
		return true, nil
	}
	if err := json.Unmarshal(r.Data, v); err != nil {
		return false, fmt.Errorf("unit %s: its record: %w", unit, err)
	}
	return true, nil
}

// record returns the record of a finished unit, nil for none: also where a part of
// it is not there.
func (w *Work) record(ctx context.Context, unit string) (*unitRecord, error) {
	b, err := w.store.Read(ctx, w.path(unit+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unit %s: %w", unit, err)
	}
	r := parseRecord(unit, b)
	if r == nil || r.File == "" {
		return r, nil
	}
	e, err := w.store.Stat(ctx, w.path(r.File))
	if errors.Is(err, fs.ErrNotExist) || err == nil && e.Size != r.Size {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unit %s: %w", unit, err)
	}
	return r, nil
}

// finish records that a unit is finished.
func (w *Work) finish(ctx context.Context, r unitRecord, data any) error {
	var err error
	if r.Data, err = marshal(data); err != nil {
		return fmt.Errorf("unit %s: %w", r.Unit, err)
	}
	b, err := r.line()
	if err != nil {
		return fmt.Errorf("unit %s: %w", r.Unit, err)
	}
	u, err := w.store.Create(ctx, w.dir)
	if err != nil {
		return fmt.Errorf("unit %s: %w", r.Unit, err)
	}
	defer u.Abort()
	if _, err = u.Write(b); err == nil {
		err = u.Commit(ctx, w.path(r.Unit+".json"))
	}
	if err != nil {
		return fmt.Errorf("unit %s: %w", r.Unit, overtaken(err))
	}
	return nil
}

// Note records that a unit without rows is finished.
func (w *Work) Note(ctx context.Context, unit string, data any) error {
	return w.finish(ctx, unitRecord{Unit: unit}, data)
}

// maxOpen is how many files of rows stay open that nobody reads at the moment: units
// read those of all units, shard by shard.
const maxOpen = 256

// workFile is what a finished unit has left.
type workFile struct {
	unit string
	refs int    // readers
	used uint64 // when it was last asked for

	mu     sync.Mutex // held while it is opened
	ready  bool
	blob   Blob          // nil = the unit leaves none
	blocks *spill.Blocks // of the blob
	copied int64         // bytes of the disk that a copy of it takes
}

// acquire opens what a finished unit has left. Release it.
func (w *Work) acquire(ctx context.Context, unit string) (*workFile, error) {
	w.mu.Lock()
	f := w.opened[unit]
	if f == nil {
		f = &workFile{unit: unit}
		w.opened[unit] = f
	}
	w.asked++
	f.refs, f.used = f.refs+1, w.asked
	w.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ready {
		return f, nil
	}
	if err := f.open(ctx, w); err != nil {
		w.release(f)
		return nil, w.damaged(ctx, unit, err)
	}
	return f, nil
}

// release gives back what acquire returned. Of too many files the one that was asked
// for the longest time ago is closed.
func (w *Work) release(f *workFile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.refs--
	for len(w.opened) > maxOpen {
		var last *workFile
		for _, o := range w.opened {
			if o.refs == 0 && (last == nil || o.used < last.used) {
				last = o
			}
		}
		if last == nil {
			return
		}
		delete(w.opened, last.unit)
		_ = last.close(w.disk) // it was read to its end
	}
}

func (f *workFile) open(ctx context.Context, w *Work) error {
	r, err := w.record(ctx, f.unit)
	if err == nil && r == nil {
		err = &UnfinishedError{f.unit}
	}
	if err != nil {
		return err
	}
	if r.File != "" {
		err = f.openRows(ctx, w, r)
	}
	f.ready = err == nil
	return err
}

func (f *workFile) openRows(ctx context.Context, w *Work, r *unitRecord) error {
	if copies(w.store) {
		if err := w.disk.Take(r.Size); err != nil {
			return err
		}
		f.copied = r.Size
	}
	var err error
	if f.blob, err = w.store.Open(ctx, w.path(r.File)); err == nil {
		f.blocks, err = spill.OpenBlocks(f.blob, f.blob.Size())
	}
	if errors.Is(err, fs.ErrNotExist) { // whoever has published the same job has removed it just now
		err = &UnfinishedError{f.unit}
	}
	if err != nil {
		err = errors.Join(err, f.close(w.disk))
	}
	return err
}

// close closes the file, which nobody reads.
func (f *workFile) close(disk *spill.Disk) error {
	var err error
	if f.blob != nil {
		err = f.blob.Close()
	}
	disk.Give(f.copied)
	f.blob, f.blocks, f.copied, f.ready = nil, nil, 0, false
	return err
}

// copies tells whether a store copies to the local disk what is opened.
func copies(s Store) bool {
	if c, ok := s.(*counted); ok {
		s = c.store
	}
	_, ok := s.(*S3)
	return ok
}

// UnfinishedError says that a unit, whose rows are needed, is not finished.
type UnfinishedError struct{ Unit string }

func (e *UnfinishedError) Error() string { return fmt.Sprintf("unit %s is not finished", e.Unit) }

// damaged takes back that a unit is finished where its rows are damaged, so that
// the next run computes it again.
func (w *Work) damaged(ctx context.Context, unit string, err error) error {
	var d *spill.DamagedError
	if errors.As(err, &d) {
		if e := w.forget(ctx, unit); e != nil {
			return errors.Join(err, e)
		}
		return fmt.Errorf("unit %s: %w; run it again: the unit will be computed anew", unit, err)
	}
	return fmt.Errorf("unit %s: %w", unit, err)
}

// forget takes back that a unit is finished.
func (w *Work) forget(ctx context.Context, unit string) error {
	return w.store.Remove(ctx, w.path(unit+".json"))
}

// each calls fn with the rows of a stream of a finished unit, in their order.
func (w *Work) each(ctx context.Context, unit string, s spill.Stream, fn func(row []byte) error) error {
	f, err := w.acquire(ctx, unit)
	if err != nil {
		return err
	}
	defer w.release(f)
	if f.blocks == nil {
		return nil
	}
	buf, _ := w.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	err = f.blocks.Rows(ctx, s, buf, fn)
	if cap(*buf) <= keptBuffer {
		w.buffers.Put(buf)
	}
	var d *spill.DamagedError
	if errors.As(err, &d) {
		return w.damaged(ctx, unit, err)
	}
	return err
}

// streams returns the streams of the rows that a finished unit has left.
func (w *Work) streams(ctx context.Context, unit string) ([]spill.Stream, error) {
	f, err := w.acquire(ctx, unit)
	if err != nil {
		return nil, err
	}
	defer w.release(f)
	if f.blocks == nil {
		return nil, nil
	}
	return f.blocks.Streams(), nil
}

// Close closes the files that are open; nobody reads them. What is asked for later is
// opened again.
func (w *Work) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, f := range w.opened {
		errs = append(errs, f.close(w.disk))
	}
	w.opened = map[string]*workFile{}
	return errors.Join(errs...)
}

// Remove removes the work area.
func (w *Work) Remove(ctx context.Context) error {
	return errors.Join(w.Close(), w.store.RemoveAll(ctx, w.dir))
}

// attempt returns the name of a unit's file of rows, of this attempt alone.
func attempt(unit string) string { return unit + "-" + rand.Text()[:10] + ".rows" }
