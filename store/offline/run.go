package offline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
)

// Run publishes what the units of one replay have left in a work area, in units of
// its own. What it needs from the caller:
//
//	run, err := tables.NewRun(ctx, work, opt)   // fixes the versions that are built upon
//	out, err := work.Begin(…); out.Tile(…) …; out.Finish(…)   // for every unit of opt.Units
//	run.Write(ctx, i, cut) …                    // for every i below WriteUnits; files, nothing is visible
//	staged, err := run.Staged(ctx, cut)
//	staged.Figures(ctx, day, …) …               // of RunOptions.Figures, for the gate (B6)
//	versions, err := staged.Publish(ctx, publication)
//	err = run.Clean(ctx)
type Run struct {
	t       *Tables
	work    *Work
	opt     RunOptions
	base    map[TableName]*Snapshot
	staging string                 // the run's own directory, in each table
	before  map[TableName][]string // what was in staging when the run began
	others  []string               // work areas that were there when the run began

	moved bool // Publish has moved the tables on

	mu    sync.Mutex
	wrote map[int]bool // write units that this Run finished
	sound map[int]bool // whose files it has read
}

// RunOptions say what a Run writes and bound it.
type RunOptions struct {
	// ID is the plan's: runs of one ID share work and staged files.
	ID string
	// Units leave rows of tables in the work area, in this order: those of a table
	// ascend over them, but for quarantine.
	Units []string
	// Base are the versions that are built upon; nil = the newest ones.
	Base map[TableName]int64
	// SpillDir, an existing directory that is the run's own, takes quarantined
	// records that do not fit Memory while they are sorted.
	SpillDir string
	Memory   int         // bytes; 0 = 64 MB
	Disk     *spill.Disk // what may be spilled; nil = no limit
	// Figures returns what counts the rows of one date and table as they are written;
	// nil = nothing does.
	Figures func() Figures
	// Brake is called every some rows, by each who writes a unit: it may wait while memory
	// is short. It may be nil.
	Brake func()
}

// WriteUnits is into how many units the writing of files is divided.
const WriteUnits = 16

// WriteUnit names one of them.
func WriteUnit(i int) string { return fmt.Sprintf("write-%03d", i) }

// NewRun begins a run, or goes on with one of the same ID.
func (t *Tables) NewRun(ctx context.Context, work *Work, opt RunOptions) (*Run, error) {
	if opt.Memory == 0 {
		opt.Memory = 64 << 20
	}
	r := &Run{t: t, work: work, opt: opt, base: map[TableName]*Snapshot{}, staging: staging + "/" + opt.ID, before: map[TableName][]string{}, wrote: map[int]bool{}, sound: map[int]bool{}}
	var err error
	if r.others, err = work.siblings(ctx); err != nil {
		return nil, err
	}
	for name, table := range t.tables {
		runs, err := table.store.List(ctx, staging) // before the snapshot: see tidy
		if err != nil {
			return nil, fmt.Errorf("table %s: staging: %w", table.name, err)
		}
		for _, run := range runs {
			r.before[name] = append(r.before[name], staging+"/"+run.Name)
		}
		version := Latest
		if opt.Base != nil {
			version = opt.Base[name]
		}
		if opt.Base != nil && version < 0 { // there was no table
			r.base[name] = &Snapshot{Version: -1, InfoVersion: -1}
			continue
		}
		if r.base[name], err = table.Snapshot(ctx, version); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Base returns the versions that the run builds upon, -1 for a table that is not
// there yet.
func (r *Run) Base() map[TableName]int64 {
	out := map[TableName]int64{}
	for name, s := range r.base {
		out[name] = s.Version
	}
	return out
}

// writeUnit is the unit that writes a stream's files: those of a table's date are
// divided over few units, each of which leaves figures of it.
func writeUnit(s spill.Stream) int {
	const few = 4
	t, day, part := rowKey(s[:]).prefix()
	return int(uint64(few*(int64(t.index())+day)+int64(part)%few) % WriteUnits)
}

// Write writes the files of a unit, which wait for their publication; nothing is
// visible. The greatest log clock of the cut is the date of table open. It writes
// the same files each time.
func (r *Run) Write(ctx context.Context, unit int, cut schemas.TopicCut) error {
	out, err := r.work.Begin(ctx, WriteUnit(unit), 0, Keep{})
	if err != nil {
		return err
	}
	defer out.Abort()
	s := &stager{ctx: ctx, r: r, openDay: dayOf(cutClock(cut)), rows: tableRows{engine: r.t.engine}, figures: figuring{r: r, out: out}}
	defer s.abort()
	streams, err := r.streams(ctx, unit)
	if err != nil {
		return err
	}
	for _, stream := range streams {
		if err := r.stream(ctx, stream, s.row); err != nil {
			return err
		}
	}
	if err := errors.Join(s.end(), s.figures.end()); err != nil {
		return err
	}
	if err := r.sync(ctx, s.files); err != nil {
		return err
	}
	if err := out.Finish(ctx, s.files); err != nil {
		return err
	}
	r.mu.Lock()
	r.wrote[unit] = true
	r.mu.Unlock()
	return nil
}

// Recheck takes back that write units are finished whose files are gone or not what
// was written: a run that has published since, or GC, removes what others have staged.
// What this Run wrote itself is not looked at, nor what others finish meanwhile: records
// are read before files are listed, as files are there before their record is.
func (r *Run) Recheck(ctx context.Context) error {
	finished := map[int][]StagedFile{}
	for i := range WriteUnits {
		r.mu.Lock()
		own := r.wrote[i]
		r.mu.Unlock()
		if own {
			continue
		}
		var files []StagedFile
		if ok, err := r.work.Record(ctx, WriteUnit(i), &files); err != nil {
			return err
		} else if ok {
			finished[i] = files
		}
	}
	if len(finished) == 0 {
		return nil
	}
	waiting, err := r.waiting(ctx)
	if err != nil {
		return err
	}
	for _, i := range slices.Sorted(maps.Keys(finished)) {
		ok, err := r.stand(ctx, i, finished[i], waiting)
		if err == nil && !ok {
			err = r.work.forget(ctx, WriteUnit(i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// waiting lists what the run has staged, with the sizes.
func (r *Run) waiting(ctx context.Context) (map[TableName]map[string]int64, error) {
	out := map[TableName]map[string]int64{}
	for name, t := range r.t.tables {
		entries, err := t.store.List(ctx, r.staging)
		if err != nil {
			return nil, fmt.Errorf("table %s: staging: %w", t.name, err)
		}
		out[name] = map[string]int64{}
		for _, e := range entries {
			out[name][r.staging+"/"+e.Name] = e.Size
		}
	}
	return out, nil
}

// stand tells whether all files of a write unit are staged or, of a publication that
// was cut off, in their places, with the bytes that were written. A store that copies
// what is read answers for its bytes itself; those of a disk are read, once.
func (r *Run) stand(ctx context.Context, unit int, files []StagedFile, waiting map[TableName]map[string]int64) (bool, error) {
	for i := range files {
		f := &files[i]
		size, ok := waiting[f.Table][r.staged(f.Path)]
		if ok && size != f.Info.Bytes {
			return false, nil
		}
		unread := !r.sound[unit] && !copies(r.t.tables[f.Table].store)
		if ok, err := r.standsAt(ctx, f, ok, unread); !ok || err != nil {
			return false, err
		}
	}
	r.sound[unit] = true
	return true, nil
}

// standsAt is stand for one file, which was seen to be staged or not. Another process
// that publishes the same may have moved it since.
func (r *Run) standsAt(ctx context.Context, f *StagedFile, staged, unread bool) (bool, error) {
	t := r.t.tables[f.Table]
	if staged && !unread {
		return true, nil
	} else if staged {
		if ok, err := f.sound(ctx, t, r.staged(f.Path)); !errors.Is(err, fs.ErrNotExist) {
			return ok, err
		}
	}
	ok, err := f.published(ctx, t)
	if ok && err == nil && unread {
		ok, err = f.sound(ctx, t, f.Path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return ok, err
}

// sound tells whether the file at a path, else fs.ErrNotExist, has the bytes that were
// written.
func (f *StagedFile) sound(ctx context.Context, t *Table, path string) (bool, error) {
	b, err := t.store.Open(ctx, path)
	if err != nil {
		return false, fmt.Errorf("table %s: %w", t.name, err)
	}
	defer b.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(b, 0, b.Size())); err != nil {
		return false, fmt.Errorf("table %s, file %s: %w", t.name, path, err)
	}
	return hex.EncodeToString(h.Sum(nil)) == f.Info.SHA256, nil
}

// sync makes staged files durable: a record that outlives a power failure stands for
// whole ones.
func (r *Run) sync(ctx context.Context, files []StagedFile) error {
	names := map[TableName][]string{}
	for _, f := range files {
		names[f.Table] = append(names[f.Table], r.staged(f.Path))
	}
	for name, ns := range names {
		if err := overtaken(r.t.tables[name].store.Sync(ctx, ns)); err != nil {
			return fmt.Errorf("table %s: staging: %w", name, err)
		}
	}
	return nil
}

// streams returns the streams of tables that a unit writes, in ascending order.
func (r *Run) streams(ctx context.Context, unit int) ([]spill.Stream, error) {
	seen := map[spill.Stream]bool{}
	for _, u := range r.opt.Units {
		streams, err := r.work.streams(ctx, u)
		if err != nil {
			return nil, err
		}
		for _, s := range streams {
			if int(s[0]) < len(tableOrder) && writeUnit(s) == unit {
				seen[s] = true
			}
		}
	}
	out := make([]spill.Stream, 0, len(seen))
	for s := range seen {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b spill.Stream) int { return bytes.Compare(a[:], b[:]) })
	return out, nil
}

// stream calls fn with the rows of a stream in the order of their keys.
func (r *Run) stream(ctx context.Context, s spill.Stream, fn func(k rowKey, row []byte) error) error {
	var key rowKey
	each := func(joined []byte) error {
		k := keyOf(joined)
		key = append(append(key[:0], s[:]...), k...)
		return fn(key, joined[4+len(k):])
	}
	if s[0] != byte(Quarantine.index()) {
		for _, u := range r.opt.Units {
			if err := r.work.each(ctx, u, s, each); err != nil {
				return err
			}
		}
		return nil
	}
	sorted := newJoinedSorter(filepath.Join(r.opt.SpillDir, fmt.Sprintf("quarantine-%x", s)), r.opt.Memory, r.opt.Disk)
	defer sorted.Close()
	for _, u := range r.opt.Units {
		if err := r.work.each(ctx, u, s, func(joined []byte) error { return sorted.Add(joined) }); err != nil {
			return err
		}
	}
	return sorted.Each(ctx, each)
}

// newJoinedSorter sorts rows by their keys.
func newJoinedSorter(path string, memory int, disk *spill.Disk) *spill.Sorter {
	return spill.New(spill.Options{Path: path, Memory: memory, Disk: disk, Compare: compareKeys,
		Prefix: func(joined []byte) spill.Prefix { return spill.PrefixOf(keyOf(joined)) }})
}

// Staged returns the files of all units, which are finished, else *UnfinishedError.
func (r *Run) Staged(ctx context.Context, cut schemas.TopicCut) (*Staged, error) {
	if err := r.Recheck(ctx); err != nil {
		return nil, err
	}
	s := &Staged{r: r, cut: cut, Files: map[TableName][]StagedFile{}}
	for i := range WriteUnits {
		var files []StagedFile
		ok, err := r.work.Record(ctx, WriteUnit(i), &files)
		if err == nil && !ok {
			err = &UnfinishedError{WriteUnit(i)}
		}
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			s.Files[f.Table] = append(s.Files[f.Table], f)
		}
	}
	for name, files := range s.Files {
		slices.SortStableFunc(files, func(a, b StagedFile) int {
			ka, kb := appendKey(nil, name, a.Day, a.Part), appendKey(nil, name, b.Day, b.Part)
			return bytes.Compare(ka, kb) // files of one date and part stand in their order
		})
	}
	return s, nil
}

// Clean removes the work area of a run that has published, and what it has staged.
// Where it has moved the tables on, runs that had begun before it can publish nothing
// any more: their work areas go too.
func (r *Run) Clean(ctx context.Context) error {
	errs := []error{r.work.Remove(ctx), r.tidy(ctx, false)}
	if !r.moved {
		return errors.Join(errs...)
	}
	for _, dir := range r.others {
		errs = append(errs, r.work.store.RemoveAll(ctx, dir))
	}
	return errors.Join(errs...)
}

// Supersede removes what others have left that had begun before this run and have
// finished a unit, such as one that says that they wait for something, where fn says so
// of what the unit recorded.
func (r *Run) Supersede(ctx context.Context, unit string, fn func(data json.RawMessage) bool) error {
	for _, dir := range r.others {
		var data json.RawMessage
		done, err := NewWork(r.work.store, dir, nil).Record(ctx, unit, &data)
		if err != nil {
			return err
		}
		if !done || !fn(data) {
			continue
		}
		for name, t := range r.t.tables {
			if err := t.store.RemoveAll(ctx, staging+"/"+dir); err != nil {
				return fmt.Errorf("table %s: staging: %w", name, err)
			}
		}
		if err := r.work.store.RemoveAll(ctx, dir); err != nil {
			return fmt.Errorf("work area: %w", err)
		}
	}
	return nil
}

// staged returns where a file of the run waits: all in one directory, as a
// replay has thousands of partitions.
func (r *Run) staged(path string) string {
	return r.staging + "/" + strings.ReplaceAll(path, "/", ",")
}

// overtaken makes ErrConflict of a staged file that is gone: only a run that has
// published since NewRun removes what others have staged.
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
func (r *Run) tidy(ctx context.Context, published bool) error {
	var errs []error
	for name, t := range r.t.tables {
		dirs := []string{r.staging}
		if published {
			dirs = append(dirs, r.before[name]...)
		}
		for _, dir := range dirs {
			errs = append(errs, t.store.RemoveAll(ctx, dir))
		}
	}
	return errors.Join(errs...)
}
