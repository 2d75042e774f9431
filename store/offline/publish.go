package offline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sort"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Mode says what becomes of the rows that a table already has.
type Mode string

// The modes.
const (
	// ReplaceTable: the new files are the table. A replay from scratch.
	ReplaceTable Mode = "replace table"
	// ReplaceDates: files of the dates written, or of Publication.Dates, are
	// replaced. Dates of table open are those of cuts.
	ReplaceDates Mode = "replace dates"
	// RepairDates: files of Publication.Dates are replaced, and written anew also where
	// their equals are named already, as these may be damaged. All else that the
	// publication before says stays, table open with it.
	RepairDates Mode = "repair dates"
	// AppendFiles: nothing is replaced.
	AppendFiles Mode = "append"
)

// Publication is what the commits of one run say of it. It holds nothing that
// depends on the wall clock.
type Publication struct {
	Mode  Mode             `json:"mode"`
	Topic string           `json:"topic"`
	Cut   schemas.TopicCut `json:"cut"` // as given to Write, with the clocks at its end
	// Dates are replaced in every table, also where nothing is written for them.
	Dates *DateRange `json:"dates,omitempty"`
	// Boundary is the closed boundary at which states were trimmed; nil while a
	// partition is empty.
	Boundary *schemas.Micros `json:"boundary,omitempty"`
	// ValidFrom: windows that begin at or before it are incomplete (K8).
	ValidFrom *schemas.Micros `json:"valid_from,omitempty"`
	FinalOnly bool            `json:"final_only,omitempty"` // features has no row that can change
	// Entities: the tables and ledgers have these alone.
	Entities *EntityRange  `json:"entities,omitempty"`
	Ledgers  []rows.Ledger `json:"ledgers"`
	// Days stands in features only: it grows with the history. A commit has those that have
	// changed (Info.DaysUpon), as every reader of a table reads all its commits.
	Days []DayEntry `json:"days,omitempty"`
	// Gate is what B6 found, who accepted it, and what the next run is held against;
	// any JSON. It stands in features only, and does not name the publication.
	Gate json.RawMessage `json:"gate,omitempty"`
	// Carry is for the caller: what the next run needs besides table open.
	Carry json.RawMessage `json:"carry,omitempty"`
}

// DateRange is YYYY-MM-DD to YYYY-MM-DD, both inclusive.
type DateRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// EntityRange is a range of entities by their first key field, as text: From included, To
// not; nil is no bound.
type EntityRange struct {
	From *string `json:"from,omitempty"`
	To   *string `json:"to,omitempty"`
}

// Equal tells whether two ranges are the same; nil is all entities.
func (e *EntityRange) Equal(o *EntityRange) bool {
	same := func(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	return (e == nil) == (o == nil) && (e == nil || same(e.From, o.From) && same(e.To, o.To))
}

func (e *EntityRange) String() string {
	if e == nil {
		return "all entities"
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return "the entities " + text(e.From) + ".." + text(e.To)
}

// DayEntry is the ledger of one UTC day of event time in one partition. Day is
// "" for records without an event time.
type DayEntry struct {
	Partition int32  `json:"partition"`
	Day       string `json:"day"`
	transforms.Ledger
}

// Info is what commitInfo keeps under tallystick.
type Info struct {
	Format      int       `json:"format"`
	View        string    `json:"view"`
	Fingerprint string    `json:"fingerprint"`
	Table       TableName `json:"table"`
	// ID names the publication: equal in the four tables.
	ID string `json:"publication"`
	Publication
	Rows    int64  `json:"rows"`
	Content string `json:"content_sha256"` // over all rows of this run
	// Sum is over the commit but for itself; set by Commit.
	Sum string `json:"commit_sha256"`
	// Tables has the versions of the publication's other tables. It stands in
	// features only, whose commit completes the publication.
	Tables map[TableName]int64 `json:"tables,omitempty"`
	// DaysUpon, in a commit, is the publication before, of whose days Days are those that
	// have changed, or are new; "" where they are all.
	DaysUpon string `json:"days_upon,omitempty"`
}

// engineName begins the engine of our commits, appPrefix the application of their txn actions.
const (
	engineName = "tallystick/"
	appPrefix  = "tallystick:"
)

func (i *Info) appID() string { return appPrefix + i.View + ":" + i.Fingerprint }

// SchemaChangeError says that rows of another definition cannot join a table.
type SchemaChangeError struct{ Table, Have, Want string }

func (e *SchemaChangeError) Error() string {
	return fmt.Sprintf("table %s holds rows of definition %s, these are of %s: replay from scratch, or into another directory", e.Table, e.Have, e.Want)
}

// Publish makes the staged files visible, table by table, features last, and
// returns the versions. Where a table already stands at this publication,
// nothing is committed: a rerun is harmless, also after a kill in the middle.
// Nothing stays staged, of this run or of those killed before it. ErrConflict:
// another job has published since NewRun.
func (s *Staged) Publish(ctx context.Context, p Publication) (map[TableName]int64, error) {
	id, err := s.id(&p)
	if err != nil {
		return nil, err
	}
	before, err := s.r.Before()
	if err != nil {
		return nil, err
	}
	versions := map[TableName]int64{}
	for _, name := range tableOrder {
		info := Info{Format: infoFormat, View: s.r.t.view.Name, Fingerprint: s.r.t.view.Fingerprint, Table: name, ID: id, Publication: p,
			Content: digest(s.Files[name])}
		for _, f := range s.Files[name] {
			info.Rows += f.Info.Rows
		}
		if name == Features {
			info.Tables = versions
			info.upon(before)
		} else {
			info.Gate, info.Days = nil, nil
		}
		if p.Mode == RepairDates && name == Open {
			if err := s.r.keepRows(name, &info); err != nil {
				return nil, err
			}
		}
		v, err := s.publish(ctx, name, &info)
		if err != nil {
			return nil, err
		}
		if name == Features { // info.Tables must not name features itself
			versions = maps.Clone(versions)
		}
		versions[name] = v
	}
	s.r.moved = versions[Features] > s.r.base[Features].Version
	s.r.tidy(ctx, s.r.moved) // what stays is for the next run: the publication stands
	return versions, nil
}

// keepRows takes over what the version before says of its rows.
func (r *Run) keepRows(name TableName, info *Info) error {
	have, err := r.t.tables[name].Ours(r.base[name])
	if err == nil && have != nil {
		info.Rows, info.Content = have.Rows, have.Content
	}
	return err
}

// Published tells whether the version that is built upon is of this publication: then
// Publish changes nothing but what a kill has left undone.
func (s *Staged) Published(p Publication) (bool, error) {
	id, err := s.id(&p)
	if err != nil {
		return false, err
	}
	return s.r.t.tables[Features].published(s.r.base[Features], id)
}

// Before returns what the commit says that the run builds upon, nil for none.
func (r *Run) Before() (*Info, error) { return r.t.tables[Features].Ours(r.base[Features]) }

// id depends on everything that is published but the gate's words, which depend on
// what was published before. It puts p into its order.
func (s *Staged) id(p *Publication) (string, error) {
	sort.Slice(p.Ledgers, func(i, j int) bool {
		a, b := p.Ledgers[i], p.Ledgers[j]
		return a.Shard < b.Shard || a.Shard == b.Shard && a.Partition < b.Partition
	})
	sortDays(p.Days)
	p.Cut = s.cut
	named := *p
	named.Gate = nil
	b, err := marshal(&named)
	if err != nil {
		return "", fmt.Errorf("publication: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", s.r.t.view.Name, s.r.t.view.Fingerprint, b)
	for _, name := range tableOrder {
		for _, f := range s.Files[name] {
			fmt.Fprintf(h, "%s\n%s\n", name, f.Path)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func (s *Staged) publish(ctx context.Context, name TableName, info *Info) (int64, error) {
	t, base := s.r.t.tables[name], s.r.base[name]
	c, err := s.change(name, info)
	if err != nil {
		return 0, err
	}
	done, err := t.published(base, info.ID)
	if err != nil {
		return 0, err
	}
	paths, err := s.settle(ctx, name, info.Mode == RepairDates)
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	if done && len(c.Add) == 0 && len(c.Remove) == 0 && c.Metadata == nil {
		return base.InfoVersion, nil
	}
	if err := t.store.Sync(ctx, paths); err != nil { // before the log names them
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	return t.Commit(ctx, base, *c)
}

// published tells whether the last commit of ours is of this publication.
func (t *Table) published(base *Snapshot, id string) (bool, error) {
	have, err := base.said()
	if err != nil {
		return false, &UnreadableError{t.name, base.InfoVersion, err.Error()}
	}
	return have != nil && have.ID == id, nil
}

// settle moves the files of a table to their places and returns these; anew also those
// that the table names.
func (s *Staged) settle(ctx context.Context, name TableName, anew bool) ([]string, error) {
	t, named := s.r.t.tables[name], map[string]bool{}
	for _, f := range s.r.base[name].Files {
		named[f.Path] = !anew
	}
	files, paths := map[string]StagedFile{}, make([]string, len(s.Files[name]))
	for i, f := range s.Files[name] {
		files[f.Path], paths[i] = f, f.Path
	}
	return paths, inParallel(ctx, paths, func(path string) error { return s.settleFile(ctx, t, files[path], named[path]) })
}

// settleFile moves a file to its place. What stands there already, of an earlier
// version or of a run that was killed, is replaced by its equal: its name says its
// bytes, the store may have changed them, and GC goes by age. A file that the base names
// is no matter for GC: where to move is to copy, it stays if it has the same bytes.
func (s *Staged) settleFile(ctx context.Context, t *Table, f StagedFile, named bool) error {
	if named && copies(t.store) {
		if ok, err := s.same(ctx, t, &f); ok || err != nil {
			return err
		}
	}
	err := t.store.Move(ctx, s.r.staged(f.Path), f.Path)
	if errors.Is(err, fs.ErrNotExist) { // moved by Publish before, or removed by a job that has published
		if !named { // it may have stood there for days
			if err := t.store.Touch(ctx, f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if ok, e := f.published(ctx, t); ok || e != nil {
			return e
		}
	}
	return overtaken(err)
}

// same tells whether the file stands in its place with the bytes of the staged one, by
// the tags of their store.
func (s *Staged) same(ctx context.Context, t *Table, f *StagedFile) (bool, error) {
	there, err := t.store.Stat(ctx, f.Path)
	if err == nil && there.Size == f.Info.Bytes && there.Tag != "" {
		var staged Entry
		if staged, err = t.store.Stat(ctx, s.r.staged(f.Path)); err == nil {
			return there.Tag == staged.Tag, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return false, err
}

// published tells whether the file stands in its place.
func (f *StagedFile) published(ctx context.Context, t *Table) (bool, error) {
	e, err := t.store.Stat(ctx, f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && e.Size == f.Info.Bytes, err
}

// change compares the staged files with the table.
func (s *Staged) change(name TableName, info *Info) (*Change, error) {
	base, l := s.r.base[name], s.r.t.layout[name]
	millis := commitMillis(info.Cut)
	c := &Change{Millis: millis, Operation: "WRITE", Mode: "Overwrite", Info: info,
		Txn: &Txn{AppID: info.appID(), Version: cutEnd(info.Cut), LastUpdated: millis}}
	if info.Mode == AppendFiles {
		c.Mode = "Append"
	}
	if err := s.metadata(c, name, info, base, l); err != nil {
		return nil, err
	}
	have, touched := map[string]DataFile{}, map[string]bool{}
	for _, f := range base.Files {
		have[f.Path] = f
	}
	staged := map[string]bool{}
	for _, f := range s.Files[name] {
		staged[f.Path] = true
		touched[(&DataFile{Partition: f.Partition}).partitionValue(dateColumn.Name)] = true
		if _, there := have[f.Path]; there {
			continue
		}
		stats, err := deltaStats(l.cols, f.Info)
		if err != nil {
			return nil, err
		}
		c.Add = append(c.Add, DataFile{Path: f.Path, Partition: f.Partition, Size: f.Info.Bytes, Stats: stats,
			Tags: map[string]string{"sha256": f.Info.SHA256, "content_sha256": f.Info.Content}})
	}
	for _, f := range base.Files {
		date := f.partitionValue(dateColumn.Name)
		replaced := touched[date] || info.Dates != nil && date >= info.Dates.From && date <= info.Dates.To
		if !staged[f.Path] && (info.Mode == ReplaceTable || (info.Mode == ReplaceDates || info.Mode == RepairDates) && replaced) {
			c.Remove = append(c.Remove, f)
		}
	}
	return c, nil
}

// metadata describes a new table, or one whose definition has changed.
func (s *Staged) metadata(c *Change, name TableName, info *Info, base *Snapshot, l layout) error {
	m, err := newMetadata(s.r.t.tables[name].name, l.partition, l.cols, c.Millis)
	if err != nil {
		return err
	}
	if base.Metadata == nil {
		c.Metadata = m
		return nil
	}
	if info.Mode != ReplaceTable {
		if have, err := base.said(); err == nil && have != nil && have.Fingerprint != info.Fingerprint {
			return &SchemaChangeError{s.r.t.tables[name].name, have.Fingerprint, info.Fingerprint}
		}
	}
	if m.SchemaString == base.Metadata.SchemaString {
		return nil
	}
	if info.Mode != ReplaceTable {
		return &SchemaChangeError{s.r.t.tables[name].name, "with other columns", info.Fingerprint}
	}
	m.ID, m.CreatedTime = base.Metadata.ID, base.Metadata.CreatedTime
	c.Metadata = m
	return nil
}

// commitMillis is the greatest clock of a cut in ms, 0 when it has none.
func commitMillis(cut schemas.TopicCut) int64 {
	var at schemas.Micros
	for _, p := range cut.Partitions {
		if p.Clock != nil {
			at = max(at, min(*p.Clock, maxInstant))
		}
	}
	return int64(at / 1000)
}

// cutEnd is the sum of a cut's end offsets: it grows with the cut.
func cutEnd(cut schemas.TopicCut) int64 {
	var n int64
	for _, p := range cut.Partitions {
		n += p.End
	}
	return n
}
