package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Table is a Delta table in a store. Its log is one JSON file per version.
type Table struct {
	store Store
	name  string // for messages
}

// NewTable returns the table in a store, which need not exist yet.
func NewTable(store Store, name string) *Table { return &Table{store, name} }

// DataFile is a file that belongs to a version of a table.
type DataFile struct {
	Path      string             // within the table, as on disk
	Partition map[string]*string // column → value; nil = null
	Size      int64              // bytes
	Modified  int64              // ms
	Stats     string             // JSON
	Tags      map[string]string  // sha256 and content, hex, in our files
}

// Snapshot is one version of a table.
type Snapshot struct {
	Version  int64      // -1 = there is no table
	Files    []DataFile // by path
	Metadata *Metadata
	// Info is what we keep of the last commit of ours, nil when there is none.
	Info json.RawMessage
	Txn  map[string]int64
	// InfoVersion is the version of that commit, -1 for none.
	InfoVersion int64
	// writer is the least version of writers that may commit.
	writer int
	days   dayList // of the last commit of ours
}

// UnreadableError says that a table uses what we do not read.
type UnreadableError struct {
	Table   string
	Version int64
	Reason  string
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("table %s, version %d: %s", e.Table, e.Version, e.Reason)
}

func logName(version int64) string { return fmt.Sprintf("_delta_log/%020d.json", version) }

// Latest is the newest version.
const Latest = int64(-1)

// Snapshot reads the log up to a version, or to the Latest. A table that does
// not exist is an empty snapshot with Version -1 when asked for the Latest.
func (t *Table) Snapshot(ctx context.Context, version int64) (*Snapshot, error) {
	s := newLoading()
	if err := t.load(ctx, s, version, func() error { return nil }); err != nil {
		return nil, err
	}
	if err := t.checkEnd(ctx, s.Version, version); err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		s.Files = append(s.Files, s.files[path])
	}
	return &s.Snapshot, nil
}

// load reads the log on from where s stands, up to a version or the Latest, and
// calls each after every version.
func (t *Table) load(ctx context.Context, s *loading, version int64, each func() error) error {
	for version == Latest || s.Version < version {
		b, err := t.store.Read(ctx, logName(s.Version+1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil {
			s.Version++
			if err = s.apply(b); err == nil {
				err = each()
			}
		}
		if err != nil {
			return fmt.Errorf("table %s, version %d: %w", t.name, s.Version, err)
		}
	}
	return nil
}

// checkEnd tells the end of the log from a hole in it. A checkpoint says that
// there was more.
func (t *Table) checkEnd(ctx context.Context, have, want int64) error {
	b, err := t.store.Read(ctx, "_delta_log/_last_checkpoint")
	var last struct {
		Version int64 `json:"version"`
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("table %s: %w", t.name, err)
	default:
		if err := json.Unmarshal(b, &last); err != nil {
			return fmt.Errorf("table %s: _last_checkpoint: %w", t.name, err)
		}
		if last.Version > have && (want == Latest || want > have) {
			return &UnreadableError{t.name, have + 1, fmt.Sprintf("its JSON commit is gone; the Parquet checkpoint of version %d, which another engine wrote, is not read: restore _delta_log/*.json from a copy", last.Version)}
		}
	}
	if want == Latest || have < want {
		if err := t.checkGap(ctx, have+1); err != nil {
			return err
		}
	}
	if want != Latest && have < want {
		return fmt.Errorf("table %s has no version %d, the newest is %d, as its commit is gone: restore it from a copy, or replay without --continue", t.name, want, have)
	}
	return nil
}

// checkGap refuses a log that lacks a version and has one of the next two: who reads it to
// there would build upon what has been replaced since. Versions come one after the
// other, so one that has come meanwhile is there before those after it.
func (t *Table) checkGap(ctx context.Context, version int64) error {
	for next := version + 1; next <= version+2; next++ {
		if there, err := t.has(ctx, next); err != nil {
			return err
		} else if !there {
			continue
		}
		if there, err := t.has(ctx, version); there || err != nil {
			return err
		}
		return &UnreadableError{t.name, version, fmt.Sprintf("its commit is gone, that of version %d is there: %s", next, restoreCommit)}
	}
	return nil
}

func (t *Table) has(ctx context.Context, version int64) (bool, error) {
	_, err := t.store.Stat(ctx, logName(version))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("table %s: %w", t.name, err)
	}
	return true, nil
}

// loading is a snapshot while its log is read.
type loading struct {
	Snapshot
	files map[string]DataFile
	rows  map[string]int64 // of each file that tells them
}

// restoreCommit says what helps where a commit is damaged.
const restoreCommit = "restore it from a copy, or remove the tables of the view and replay anew"

// check tells whether a version of ours is whole, also where commits before it say
// nothing of their lines.
func (s *loading) check(info *Info) error {
	if info == nil || info.Mode != ReplaceTable {
		return nil // the rows of others may stand beside its own, or it is not ours
	}
	if len(s.rows) < len(s.files) {
		return nil // another engine has written the same name
	}
	rows := int64(0)
	for _, n := range s.rows {
		rows += n
	}
	if rows != info.Rows || s.Metadata == nil || s.Txn[info.appID()] != cutEnd(info.Cut) {
		return fmt.Errorf("its commit is damaged: it names files of %d rows, and was of %d, or lacks another line; %s", rows, info.Rows, restoreCommit)
	}
	return nil
}

func newLoading() *loading {
	return &loading{Snapshot: Snapshot{Version: -1, InfoVersion: -1, Txn: map[string]int64{}}, files: map[string]DataFile{}, rows: map[string]int64{}}
}

func (s *loading) apply(b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return fmt.Errorf("its commit is damaged: it is empty; %s", restoreCommit)
	}
	var info *Info
	whole, ours, others := b, false, false // signs that it is ours, or another engine's
	for n := 1; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var a action
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("its commit is damaged: line %d: %w; %s", n, err, restoreCommit)
		}
		if err := s.take(&a); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if a.ours() {
			var err error
			if info, err = s.sealed(whole); err != nil {
				return err
			}
		}
		ours = ours || a.Txn != nil && strings.HasPrefix(a.Txn.AppID, appPrefix)
		others = others || a.CommitInfo != nil && !strings.HasPrefix(a.CommitInfo.EngineInfo, engineName)
	}
	switch {
	case s.InfoVersion == s.Version:
	case ours && !others: // they may copy what is ours, as in a clone
		return fmt.Errorf("its commit is damaged: its first line is gone; %s", restoreCommit)
	default:
		return nil
	}
	s.days.follow(info)
	return s.check(info)
}

// sealed returns what a commit of ours says, where it is the one that was written: a file
// that is not named would be missing without a word, one that is not removed would be there
// twice. nil: who needs to know is told why not.
func (s *loading) sealed(commit []byte) (*Info, error) {
	info, err := s.said()
	if has, sound := checkSeal(commit); has && !sound || !has && err == nil && info.Format > firstInfoFormat {
		return nil, fmt.Errorf("its commit is damaged: it is not what was written; %s", restoreCommit)
	}
	if err != nil {
		return nil, nil
	}
	return info, nil
}

func (s *loading) take(a *action) error {
	switch {
	case a.ours():
		s.Info, s.InfoVersion = a.CommitInfo.Tallystick, s.Version
	case a.Protocol != nil:
		s.writer = a.Protocol.MinWriter
		if a.Protocol.MinReader > 1 {
			return fmt.Errorf("it needs readers of protocol version %d, we read version 1: another engine has upgraded the table", a.Protocol.MinReader)
		}
	case a.MetaData != nil:
		s.Metadata = a.MetaData
	case a.Txn != nil:
		s.Txn[a.Txn.AppID] = a.Txn.Version
	case a.Remove != nil:
		path, err := decodePath(a.Remove.Path)
		if err != nil {
			return err
		}
		delete(s.files, path)
		delete(s.rows, path)
	case a.Add != nil:
		path, err := decodePath(a.Add.Path)
		if err != nil {
			return err
		}
		if dv := a.Add.DeletionVector; len(dv) > 0 && string(dv) != "null" {
			return fmt.Errorf("file %s has a deletion vector, which is not read", path)
		}
		s.files[path] = DataFile{path, a.Add.PartitionValues, a.Add.Size, a.Add.ModificationTime, a.Add.Stats, a.Add.Tags}
		if n := statedRows(a.Add.Stats); n >= 0 {
			s.rows[path] = n
		} else {
			delete(s.rows, path)
		}
	}
	return nil
}

// Columns returns the columns of the table, partition columns included, by
// Delta type name.
func (s *Snapshot) Columns() (map[string]string, error) {
	if s.Metadata == nil {
		return nil, errors.New("the table has no schema")
	}
	var d deltaSchema
	if err := json.Unmarshal([]byte(s.Metadata.SchemaString), &d); err != nil {
		return nil, fmt.Errorf("schemaString: %w", err)
	}
	out := map[string]string{}
	for _, f := range d.Fields {
		name, ok := f.Type.(string)
		if !ok {
			name = "nested"
		}
		out[f.Name] = name
	}
	return out, nil
}

// partitionValue returns the text of a file's partition value, "" for null.
func (f *DataFile) partitionValue(col string) string {
	for k, v := range f.Partition {
		if v != nil && strings.EqualFold(k, col) {
			return *v
		}
	}
	return ""
}
