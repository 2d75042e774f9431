package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tallystick/tallystick/store/files"
)

// Store is where the files of one table lie. Names are slash-separated paths
// below the table's root, as they are on disk. Readers list nothing (B2). A file
// that does not exist gives an error that is fs.ErrNotExist.
type Store interface {
	// Read returns a whole, small file.
	Read(ctx context.Context, name string) ([]byte, error)
	// PutIfAbsent creates a file with these bytes, whole and durable, or fails
	// with fs.ErrExist when there is one of that name.
	PutIfAbsent(ctx context.Context, name string, data []byte) error
	// Create begins a file that is there, whole, once it is committed under a name.
	Create(ctx context.Context, dir string) (Upload, error)
	// Move renames a file. It replaces one of the new name, and is young from then on: GC
	// goes by age, and it may have been staged for days.
	Move(ctx context.Context, from, to string) error
	// Touch makes a file young that stands in its place, as Move would have.
	Touch(ctx context.Context, name string) error
	// Sync makes files and their names durable, after Create and Move.
	Sync(ctx context.Context, names []string) error
	// Open opens a file for reading.
	Open(ctx context.Context, name string) (Blob, error)
	// Stat describes a file.
	Stat(ctx context.Context, name string) (Entry, error)
	// List returns what a directory holds, by name, "." for the root; one that is
	// not there holds nothing.
	List(ctx context.Context, dir string) ([]Entry, error)
	// Remove removes a file; one that is not there is no error.
	Remove(ctx context.Context, name string) error
	// RemoveAll removes a directory or a file; one that is not there is no error.
	RemoveAll(ctx context.Context, name string) error
}

// Entry is a file or a directory.
type Entry struct {
	Name     string // within its directory
	Dir      bool
	Size     int64     // bytes, of a file
	Modified time.Time // of a file: by the clock of the store
	// Tag, of Stat, is equal for files of equal bytes alone; "" where the store has none.
	Tag string
}

// Upload is a file that is being written.
type Upload interface {
	io.Writer
	// Commit gives the file its name; it replaces one of that name.
	Commit(ctx context.Context, name string) error
	// Abort gives the file up. It does nothing after Commit.
	Abort()
}

// Blob is a file open for reading.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// RootError says why a directory cannot hold tables: some readers would not
// find the files in it, or return nothing without an error.
type RootError struct{ Root, Reason string }

func (e *RootError) Error() string {
	return fmt.Sprintf("tables cannot lie in %q: %s; choose a path of plain ASCII letters, digits and . _ - only", e.Root, e.Reason)
}

// CheckRoot tells whether all readers of Delta tables find those below root, a
// local directory or a URL.
func CheckRoot(root string) error {
	for i := range len(root) {
		switch c := root[i]; {
		case c >= 0x80:
			return &RootError{root, "Polars does not read tables below a name that is not ASCII"}
		case c <= ' ' || c == 0x7f:
			return &RootError{root, "Polars does not read tables below a name with a space or a control character in it"}
		case c == '%':
			return &RootError{root, "delta-rs, Polars and DuckDB read a % in it as an escape"}
		case c == '=':
			return &RootError{root, "Polars takes a directory named key=value for a partition"}
		}
	}
	return nil
}

// Local is a Store in a directory, which need not exist yet.
type Local struct {
	root  string
	files files.Files
}

// NewLocal returns a store of the table in dir. The error is a *RootError when
// the absolute path of dir cannot hold tables.
func NewLocal(dir string) (*Local, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", dir, err)
	}
	if err := CheckRoot(filepath.ToSlash(abs)); err != nil {
		return nil, err
	}
	return &Local{root: abs, files: files.OS{}}, nil
}

// NewScratch returns a store in dir of what only we read, for a while: dir may have
// any name.
func NewScratch(dir string) *Local { return &Local{root: dir, files: files.OS{}} }

// On returns the store on other files than the operating system's.
func (l *Local) On(fs files.Files) *Local { return &Local{root: l.root, files: fs} }

func (l *Local) path(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("%q is no path within a table", name)
	}
	return filepath.Join(l.root, filepath.FromSlash(name)), nil
}

// Read implements Store.
func (l *Local) Read(_ context.Context, name string) ([]byte, error) {
	p, err := l.path(name)
	if err != nil {
		return nil, err
	}
	return l.files.Read(p)
}

// PutIfAbsent implements Store: a link either takes the name or finds it taken,
// and never shows half a file.
func (l *Local) PutIfAbsent(_ context.Context, name string, data []byte) error {
	p, err := l.path(name)
	if err != nil {
		return err
	}
	tmp, err := l.write(filepath.Dir(p), data)
	if tmp != "" {
		defer l.files.Remove(tmp)
	}
	if err != nil {
		return err
	}
	if err := l.syncAbove(); err != nil {
		return err
	}
	if err := l.files.Link(tmp, p); err != nil {
		return err
	}
	dir := filepath.Dir(p)
	return errors.Join(l.files.Sync(dir), l.files.Sync(filepath.Dir(dir))) // dir may be new
}

// syncAbove makes the name of the root durable, and those of the directories above it:
// they may be new, and Sync looks no higher than the root. A directory that cannot be
// listed, or whose file system is of a kind that keeps nothing, is not one that we made.
func (l *Local) syncAbove() error {
	for d := filepath.Dir(l.root); ; d = filepath.Dir(d) {
		if err := l.files.Sync(d); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// write makes a temporary file and returns its name, also with an error.
func (l *Local) write(dir string, data []byte) (string, error) {
	u, err := l.create(dir)
	if err != nil {
		return "", err
	}
	_, err = u.Write(data)
	return u.f.Name(), errors.Join(err, u.f.Sync(), u.f.Close())
}

// Create implements Store.
func (l *Local) Create(_ context.Context, dir string) (Upload, error) {
	p, err := l.path(dir)
	if err != nil {
		return nil, err
	}
	u, err := l.create(p)
	if err != nil {
		return nil, err // not a nil *localUpload in an Upload
	}
	return u, nil
}

func (l *Local) create(dir string) (*localUpload, error) {
	if err := l.files.MkdirAll(dir); err != nil {
		return nil, err
	}
	f, err := l.files.CreateTemp(dir, temporaryPrefix+"*")
	if err != nil {
		return nil, err
	}
	return &localUpload{l: l, f: f}, nil
}

type localUpload struct {
	l    *Local
	f    files.File
	done bool
}

func (u *localUpload) Write(b []byte) (int, error) { return u.f.Write(b) }

// Commit implements Upload.
func (u *localUpload) Commit(_ context.Context, name string) error {
	to, err := u.l.path(name)
	if err != nil {
		return err
	}
	if err := u.f.Close(); err != nil {
		return err
	}
	if err := u.l.rename(u.f.Name(), to); err != nil {
		return err
	}
	u.done = true
	return nil
}

// Abort implements Upload.
func (u *localUpload) Abort() {
	if !u.done {
		u.done = true
		u.f.Close() // closed already after a failed Commit
		u.l.files.Remove(u.f.Name())
	}
}

// Move implements Store.
func (l *Local) Move(_ context.Context, from, to string) error {
	a, err := l.path(from)
	if err != nil {
		return err
	}
	b, err := l.path(to)
	if err != nil {
		return err
	}
	_ = touch(a) // where it cannot be, it can still be moved
	return l.rename(a, b)
}

// Touch implements Store. What is another user's, or on a file system that keeps no
// times, stays as old as it is.
func (l *Local) Touch(_ context.Context, name string) error {
	p, err := l.path(name)
	if err != nil {
		return err
	}
	if err := touch(p); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

func touch(path string) error {
	now := time.Now()
	return files.Told(os.Chtimes(path, now, now))
}

func (l *Local) rename(from, to string) error {
	if err := l.files.MkdirAll(filepath.Dir(to)); err != nil {
		return err
	}
	return l.files.Rename(from, to)
}

// syncing is how many files are synced at once: a disk takes their writes
// together, one after the other each would wait for its own.
const syncing = 32

// Sync implements Store. New directories are made durable with the files in them.
func (l *Local) Sync(ctx context.Context, names []string) error {
	dirs := map[string]bool{}
	paths := make([]string, len(names))
	for i, name := range names {
		p, err := l.path(name)
		if err != nil {
			return err
		}
		paths[i] = p
		for d := filepath.Dir(p); !dirs[d] && len(d) >= len(l.root); d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	if err := inParallel(ctx, paths, l.files.Sync); err != nil {
		return err
	}
	return inParallel(ctx, slices.Sorted(maps.Keys(dirs)), l.files.Sync)
}

// inParallel calls fn with every path and returns the first error.
func inParallel(ctx context.Context, paths []string, fn func(string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(syncing, len(paths)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(paths)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := fn(paths[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Open implements Store.
func (l *Local) Open(_ context.Context, name string) (Blob, error) {
	p, err := l.path(name)
	if err != nil {
		return nil, err
	}
	return openBlob(l.files, p)
}

// Stat implements Store.
func (l *Local) Stat(_ context.Context, name string) (Entry, error) {
	p, err := l.path(name)
	if err != nil {
		return Entry{}, err
	}
	st, err := os.Stat(p)
	if err != nil {
		return Entry{}, err
	}
	return entryOf(st), nil
}

func entryOf(st fs.FileInfo) Entry {
	return Entry{Name: st.Name(), Dir: st.IsDir(), Size: st.Size(), Modified: st.ModTime()}
}

// Remove implements Store.
func (l *Local) Remove(_ context.Context, name string) error {
	p, err := l.path(name)
	if err != nil {
		return err
	}
	if err := l.files.Remove(p); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements Store.
func (l *Local) List(_ context.Context, dir string) ([]Entry, error) {
	p, err := l.path(dir)
	if err != nil {
		return nil, err
	}
	return listDir(p)
}

// RemoveAll implements Store.
func (l *Local) RemoveAll(_ context.Context, name string) error {
	p, err := l.path(name)
	if err != nil {
		return err
	}
	return l.files.RemoveAll(p)
}

// String returns the directory.
func (l *Local) String() string { return strings.TrimSuffix(filepath.ToSlash(l.root), "/") }
