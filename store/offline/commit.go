package offline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// ErrConflict says that another job published first: the version was taken by
// other bytes than ours. Nothing of ours is in the table.
var ErrConflict = errors.New("another job has published in between")

// Change is what a commit does to a table. The actions are written in a fixed
// order: info, protocol, metadata, txn, removes, adds.
type Change struct {
	Millis    int64 // every time in the commit, ms since the epoch, from the cut
	Operation string
	Mode      string
	Info      any       // kept in commitInfo as tallystick; of an *Info with what says that the commit is whole
	Metadata  *Metadata // nil = as it is
	Txn       *Txn
	Remove    []DataFile
	Add       []DataFile
}

// Create commits version 0 of a table.
func (t *Table) Create(ctx context.Context, c Change) error {
	if c.Metadata == nil {
		return fmt.Errorf("table %s: a new table needs metadata", t.name)
	}
	_, err := t.Commit(ctx, &Snapshot{Version: -1}, c)
	return err
}

// Commit publishes a change to the snapshot base and returns the new version.
// It is atomic: readers see all of it or nothing. When the version is taken by
// equal bytes, they are ours (or an identical job's) and that is success; else
// the error is ErrConflict. After any other error the commit may or may not
// have been published: to repeat it is safe.
func (t *Table) Commit(ctx context.Context, base *Snapshot, c Change) (int64, error) {
	if base.writer > 2 {
		return 0, &UnreadableError{t.name, base.Version, fmt.Sprintf("it needs writers of protocol version %d, we write version 2: another engine has upgraded the table", base.writer)}
	}
	version := base.Version + 1
	b, err := c.encode(version == 0)
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err = t.store.PutIfAbsent(ctx, logName(version), b)
	if errors.Is(err, fs.ErrExist) {
		var have []byte
		if have, err = t.store.Read(ctx, logName(version)); err == nil && !bytes.Equal(have, b) {
			return 0, fmt.Errorf("table %s, version %d: %w", t.name, version, ErrConflict)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("table %s: publishing version %d: %w", t.name, version, err)
	}
	return version, nil
}

func (c *Change) encode(create bool) ([]byte, error) {
	info, err := marshal(c.Info)
	if err != nil {
		return nil, err
	}
	first := action{CommitInfo: &CommitInfo{Timestamp: c.Millis, Operation: c.Operation, Parameters: map[string]string{"mode": c.Mode},
		EngineInfo: engineName + layoutVersion, BlindAdd: len(c.Remove) == 0, Tallystick: info}}
	var b bytes.Buffer
	for _, a := range append([]action{first}, c.actions(create)...) {
		if err := appendAction(&b, a); err != nil {
			return nil, err
		}
	}
	return seal(b.Bytes()), nil
}

// sumField is what stands before the digest of a commit: Info.Sum. Quotes within strings
// are escaped, so that it stands nowhere else.
const sumField = `"commit_sha256":"`

// seal fills in the digest of a commit of ours.
func seal(commit []byte) []byte {
	at := bytes.Index(commit, []byte(sumField+`"`))
	if at < 0 {
		return commit
	}
	at += len(sumField)
	return slices.Insert(commit, at, []byte(digestOf(commit, at, at))...)
}

// checkSeal tells whether a commit has a digest, and whether it is the one of what there is.
func checkSeal(commit []byte) (has, sound bool) {
	from := bytes.Index(commit, []byte(sumField)) + len(sumField)
	to := from + 2*sha256.Size
	if from < len(sumField) || to > len(commit) {
		return false, false
	}
	return true, string(commit[from:to]) == digestOf(commit, from, to)
}

// digestOf is the digest of a commit without commit[from:to] and the last line break.
func digestOf(commit []byte, from, to int) string {
	h := sha256.New()
	h.Write(commit[:from])
	h.Write(bytes.TrimSuffix(commit[to:], []byte("\n")))
	return hex.EncodeToString(h.Sum(nil))
}

// actions are the lines of a commit after its first.
func (c *Change) actions(create bool) (actions []action) {
	if create {
		actions = append(actions, action{Protocol: &protocol{1, 2}})
	}
	if c.Metadata != nil {
		actions = append(actions, action{MetaData: c.Metadata})
	}
	if c.Txn != nil {
		actions = append(actions, action{Txn: c.Txn})
	}
	for _, f := range c.Remove {
		actions = append(actions, action{Remove: &removeFile{encodePath(f.Path), c.Millis, true, true, f.Partition, f.Size}})
	}
	for _, f := range c.Add {
		actions = append(actions, action{Add: &addFile{Path: encodePath(f.Path), PartitionValues: f.Partition, Size: f.Size,
			ModificationTime: c.Millis, DataChange: true, Stats: f.Stats, Tags: f.Tags}})
	}
	return actions
}

// marshal is json.Marshal without HTML escapes.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
