package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// LeastRetain is the least time that GC keeps what it might remove. What a job has
// moved to its place and not named yet must be younger, by any clock.
const LeastRetain = 24 * time.Hour

// GCOptions say what GC removes.
type GCOptions struct {
	// Retain keeps files that are younger, and those of versions that were the
	// newest within it. At least LeastRetain.
	Retain time.Duration
	Now    time.Time
	Views  []string // nil = every view below the root
	DryRun bool     // remove nothing
	// File is told each file that is removed, or would be; nil = nobody.
	File func(name string)
}

// GCTable is what GC found in a table.
type GCTable struct {
	Table    string `json:"table"`
	Versions int64  `json:"versions"` // kept: their files are
	Kept     int64  `json:"kept"`     // files that these name
	Young    int64  `json:"young"`    // files that nothing names and that are not old enough
	Removed  int64  `json:"removed"`  // files
	Bytes    int64  `json:"bytes"`    // of the files removed
	Staged   int64  `json:"staged"`   // runs removed that were killed before they published
	Uploads  int64  `json:"uploads"`  // given up, begun by a run that was killed
}

// LostFileError says that a job has published a file while GC removed its equal.
type LostFileError struct {
	Table   string
	Version int64
	Path    string
}

func (e *LostFileError) Error() string {
	return fmt.Sprintf("table %s: version %d, published while gc ran, names %s, whose equal from an earlier run gc has just removed: run the same replay again, which puts it back", e.Table, e.Version, e.Path)
}

// GC removes the files that no version names which readers may still ask for: of
// runs that were killed, and of versions that were superseded long ago. The log
// stays whole. It lists directory by directory, leaves first, as it may run beside
// jobs and readers.
func (r *Root) GC(ctx context.Context, opt GCOptions) ([]GCTable, error) {
	if opt.Retain < LeastRetain {
		return nil, fmt.Errorf("files are kept for %v at least, as a job may be about to publish younger ones", LeastRetain)
	}
	views, err := r.views(ctx, opt.Views)
	if err != nil {
		return nil, err
	}
	var out []GCTable
	for _, v := range views {
		tables, err := r.gcView(ctx, v, &opt)
		out = append(out, tables...)
		if err != nil {
			return out, err
		}
	}
	works, err := r.gcWorks(ctx, &opt)
	return append(out, works...), err
}

// gcWorks removes the work areas of replays that were killed.
func (r *Root) gcWorks(ctx context.Context, opt *GCOptions) ([]GCTable, error) {
	all, err := r.store(replays)
	if err != nil {
		return nil, err
	}
	views, err := all.List(ctx, ".")
	if err != nil {
		return nil, err
	}
	var out []GCTable
	for _, v := range views {
		if !v.Dir || opt.Views != nil && !slices.Contains(opt.Views, v.Name) {
			continue
		}
		s, err := r.store(replays, v.Name)
		if err != nil {
			return out, err
		}
		c := &collector{t: NewTable(s, replays+"/"+v.Name), opt: opt, before: opt.Now.Add(-opt.Retain)}
		c.out.Table = c.t.name
		err = c.runs(ctx, ".")
		if err == nil {
			err = c.uploads(ctx, ".")
		}
		if err != nil {
			return out, err
		}
		if c.out.Staged+c.out.Uploads > 0 {
			out = append(out, c.out)
		}
	}
	return out, nil
}

// NoViewError says that there are no tables of a view below a root.
type NoViewError struct{ View, Root string }

func (e *NoViewError) Error() string {
	return fmt.Sprintf("there are no tables of a view %s in %s: name the directory of one that is there", e.View, e.Root)
}

// views returns the directories of the root that may be views.
func (r *Root) views(ctx context.Context, only []string) ([]string, error) {
	s, err := r.store()
	if err != nil {
		return nil, err
	}
	entries, err := s.List(ctx, ".")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.Dir && !hidden(e.Name) && (only == nil || slices.Contains(only, e.Name)) {
			out = append(out, e.Name)
		}
	}
	for _, v := range only {
		if !slices.Contains(out, v) {
			return nil, &NoViewError{v, r.String()}
		}
	}
	return out, nil
}

// hidden tells whether a name is none of a partition's directory or file.
func hidden(name string) bool { return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") }

// gcView looks at features first, as its versions name those of the others.
func (r *Root) gcView(ctx context.Context, view string, opt *GCOptions) ([]GCTable, error) {
	pinned := map[TableName]map[int64]bool{}
	for _, name := range tableOrder {
		pinned[name] = map[int64]bool{}
	}
	var out []GCTable
	for _, name := range slices.Backward(tableOrder[:]) {
		s, err := r.store(view, string(name))
		if err != nil {
			return out, err
		}
		c := &collector{t: NewTable(s, view+"/"+string(name)), opt: opt, before: opt.Now.Add(-opt.Retain), live: map[string]bool{}, gone: map[string]bool{}}
		c.out.Table = c.t.name
		there, err := c.collect(ctx, name == Features, pinned, pinned[name])
		if err != nil {
			return out, err
		}
		if there {
			out = append(out, c.out)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// collector removes what a table does not need.
type collector struct {
	t      *Table
	opt    *GCOptions
	before time.Time       // what is older may go
	live   map[string]bool // paths that versions kept name
	gone   map[string]bool // paths removed
	last   *loading        // the newest version when live was made
	out    GCTable
}

// collect returns false where there is no table.
func (c *collector) collect(ctx context.Context, features bool, pinned map[TableName]map[int64]bool, pins map[int64]bool) (bool, error) {
	kept, err := c.versions(ctx)
	if err != nil || kept == nil {
		return false, err
	}
	if features {
		if err := c.pin(ctx, kept, pinned); err != nil {
			return false, err
		}
	}
	c.last = newLoading()
	err = c.t.load(ctx, c.last, Latest, func() error {
		if v := c.last.Version; kept(v) || pins[v] {
			c.out.Versions++
			for path := range c.last.files {
				c.live[path] = true
			}
		}
		return nil
	})
	needed := Latest
	for v := range pins {
		if v > c.last.Version { // the files of a commit that is lost would look unused
			needed = max(needed, v)
		}
	}
	if err == nil {
		err = c.t.checkEnd(ctx, c.last.Version, needed)
	}
	if err != nil {
		return false, err
	}
	for _, step := range []func(context.Context) error{func(ctx context.Context) error { return c.sweep(ctx, ".") }, func(ctx context.Context) error { return c.runs(ctx, staging) }, c.temporary, func(ctx context.Context) error { return c.uploads(ctx, staging) }, c.check} {
		if err := step(ctx); err != nil {
			return true, fmt.Errorf("table %s: %w", c.t.name, err)
		}
	}
	return true, nil
}

// versions tells which versions are kept: the newest, and those that were it
// within the time that is retained. nil = there is no table.
func (c *collector) versions(ctx context.Context) (func(int64) bool, error) {
	entries, err := c.t.store.List(ctx, "_delta_log")
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", c.t.name, err)
	}
	written := map[string]time.Time{}
	for _, e := range entries {
		written["_delta_log/"+e.Name] = e.Modified
	}
	if _, there := written[logName(0)]; !there {
		return nil, nil
	}
	return func(v int64) bool {
		next, superseded := written[logName(v+1)]
		return !superseded || next.After(c.before)
	}, nil
}

// pin keeps the versions of all tables that belong to the publications which the
// kept versions of features show.
func (c *collector) pin(ctx context.Context, kept func(int64) bool, pinned map[TableName]map[int64]bool) error {
	s := newLoading()
	return c.t.load(ctx, s, Latest, func() error {
		if !kept(s.Version) {
			return nil
		}
		info, err := s.said()
		if info == nil {
			return err
		}
		pinned[Features][s.InfoVersion] = true
		for name, v := range info.Tables {
			if pinned[name] != nil {
				pinned[name][v] = true
			}
		}
		return nil
	})
}

// sweep removes files below a directory, of directories within it first.
func (c *collector) sweep(ctx context.Context, dir string) error {
	entries, err := c.t.store.List(ctx, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Dir && !hidden(e.Name) {
			if err := c.sweep(ctx, path.Join(dir, e.Name)); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		if e.Dir || hidden(e.Name) {
			continue
		}
		if name := path.Join(dir, e.Name); c.live[name] {
			c.out.Kept++
		} else if err := c.remove(ctx, name, e); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file that is old. It looks again just before, as a job may have
// put an equal one in its place.
func (c *collector) remove(ctx context.Context, name string, e Entry) (err error) {
	if !c.opt.DryRun && c.old(e) {
		if e, err = c.t.store.Stat(ctx, name); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if !c.old(e) {
		c.out.Young++
		return nil
	}
	if !c.opt.DryRun {
		if err := c.t.store.Remove(ctx, name); err != nil {
			return err
		}
	}
	c.gone[name] = true
	c.out.Removed++
	c.out.Bytes += e.Size
	c.tell(name)
	return nil
}

func (c *collector) old(e Entry) bool { return e.Modified.Before(c.before) }

func (c *collector) tell(name string) {
	if c.opt.File != nil {
		c.opt.File(c.t.name + "/" + name)
	}
}

// runs removes what runs have left in a directory, each in one of its own, that are
// not heard of any more.
func (c *collector) runs(ctx context.Context, dir string) error {
	runs, err := c.t.store.List(ctx, dir)
	if err != nil {
		return err
	}
	for _, run := range runs {
		name := path.Join(dir, run.Name)
		newest, err := c.newest(ctx, name, run)
		if err != nil {
			return err
		}
		if !newest.Before(c.before) {
			continue
		}
		if !c.opt.DryRun {
			if err := c.t.store.RemoveAll(ctx, name); err != nil {
				return err
			}
		}
		c.out.Staged++
		c.tell(name)
	}
	return nil
}

// newest is when something was last written below a name.
func (c *collector) newest(ctx context.Context, name string, e Entry) (time.Time, error) {
	at := e.Modified
	if !e.Dir {
		return at, nil
	}
	entries, err := c.t.store.List(ctx, name)
	if err != nil {
		return at, err
	}
	for _, e := range entries {
		t, err := c.newest(ctx, name+"/"+e.Name, e)
		if err != nil {
			return at, err
		}
		if t.After(at) {
			at = t
		}
	}
	return at, nil
}

// temporary removes commits that were never given their names.
func (c *collector) temporary(ctx context.Context) error {
	entries, err := c.t.store.List(ctx, "_delta_log")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name, temporaryPrefix) && c.old(e) {
			if err := c.remove(ctx, "_delta_log/"+e.Name, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// uploader is a Store that keeps what uploads have brought which nobody ends.
type uploader interface {
	// AbortUploads gives up those that began before an instant, and counts them.
	AbortUploads(ctx context.Context, dir string, before time.Time, dryRun bool) (int64, error)
}

func (c *collector) uploads(ctx context.Context, dir string) (err error) {
	if u, ok := c.t.store.(uploader); ok {
		c.out.Uploads, err = u.AbortUploads(ctx, dir, c.before, c.opt.DryRun)
	}
	return err
}

// check looks whether a version that was published meanwhile names a file that was
// removed: between the last look at a file and its end a job may take its place.
func (c *collector) check(ctx context.Context) error {
	if c.opt.DryRun || len(c.gone) == 0 {
		return nil
	}
	return c.t.load(ctx, c.last, Latest, func() error {
		for path := range c.last.files {
			if c.gone[path] {
				return &LostFileError{c.t.name, c.last.Version, path}
			}
		}
		return nil
	})
}
