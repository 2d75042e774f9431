package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/tallystick/tallystick/store/files"
)

// fault is how a disk fails.
type fault struct {
	name  string
	err   syscall.Errno
	stays bool // whatever takes room fails from then on, as on a full disk
	short bool // a write leaves half of its bytes before it fails
}

// faultyFiles fails at one operation that changes files, and tells which ones it sees.
type faultyFiles struct {
	files.OS
	fault fault
	at    int // which one, from 0; -1 = none

	mu     sync.Mutex
	n      int
	failed []operation // what failed
	seen   map[operation]bool
}

// operation is what is done to a file, whose name is without what is random in it.
type operation struct{ op, path string }

var random = regexp.MustCompile(`(tmp-|tallystick-|spill-)[0-9*]+|-[A-Z2-7]{10}\.rows`)

func newFaultyFiles(f fault, at int) *faultyFiles {
	return &faultyFiles{fault: f, at: at, seen: map[operation]bool{}}
}

// tidies tells whether an operation only removes what nobody needs any more. Work may
// go on without.
func (o operation) tidies() bool {
	spilled := strings.HasSuffix(o.path, ".spill") || strings.Contains(o.path, "/quarantine-")
	return o.op == "remove" || o.op == "close" && spilled
}

// fails tells whether an operation has to fail. What tidies up may fail without a word,
// and then the next operation fails, too.
func (f *faultyFiles) fails(op, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := operation{op, random.ReplaceAllString(path, "$1")}
	hit := f.n == f.at
	if n := len(f.failed); n > 0 {
		hit = f.fault.stays && op != "remove" || f.failed[n-1].tidies() && !o.tidies()
	}
	f.n++
	f.seen[o] = true
	if !hit {
		return nil
	}
	f.failed = append(f.failed, o)
	return files.Told(&os.PathError{Op: op, Path: path, Err: f.fault.err})
}

// first is the operation that was meant to fail.
func (f *faultyFiles) first() operation {
	if len(f.failed) == 0 {
		return operation{}
	}
	return f.failed[0]
}

func (f *faultyFiles) create(path string, fn func() (files.File, error)) (files.File, error) {
	if err := f.fails("create", path); err != nil {
		return nil, err
	}
	x, err := fn()
	if err != nil {
		return nil, err
	}
	return faultyFile{x, f}, nil
}

func (f *faultyFiles) Create(path string) (files.File, error) {
	return f.create(path, func() (files.File, error) { return f.OS.Create(path) })
}

func (f *faultyFiles) CreateTemp(dir, pattern string) (files.File, error) {
	return f.create(filepath.Join(dir, pattern), func() (files.File, error) { return f.OS.CreateTemp(dir, pattern) })
}

func (f *faultyFiles) do(op, path string, fn func() error) error {
	if err := f.fails(op, path); err != nil {
		return err
	}
	return fn()
}

func (f *faultyFiles) MkdirAll(dir string) error {
	return f.do("mkdir", dir, func() error { return f.OS.MkdirAll(dir) })
}

func (f *faultyFiles) Link(from, to string) error {
	return f.do("link", to, func() error { return f.OS.Link(from, to) })
}

func (f *faultyFiles) Rename(from, to string) error {
	return f.do("rename", to, func() error { return f.OS.Rename(from, to) })
}

func (f *faultyFiles) Remove(path string) error {
	return f.do("remove", path, func() error { return f.OS.Remove(path) })
}

func (f *faultyFiles) RemoveAll(path string) error {
	return f.do("remove", path, func() error { return f.OS.RemoveAll(path) })
}

// Nobody pulls the plug on a test.
func (f *faultyFiles) Sync(path string) error { return f.fails("sync", path) }

type faultyFile struct {
	files.File
	f *faultyFiles
}

func (x faultyFile) Write(b []byte) (int, error) {
	if err := x.f.fails("write", x.Name()); err != nil {
		return x.torn(x.File, b), err
	}
	return x.File.Write(b)
}

func (x faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if err := x.f.fails("write", x.Name()); err != nil {
		return x.torn(io.NewOffsetWriter(x.File, at), b), err
	}
	return x.File.WriteAt(b, at)
}

// torn is what a write that fails has left.
func (x faultyFile) torn(w io.Writer, b []byte) int {
	if !x.f.fault.short {
		return 0
	}
	n, _ := w.Write(b[:len(b)/2])
	return n
}

func (x faultyFile) Sync() error { return x.f.fails("sync", x.Name()) }

// Close closes the file in any case, as the operating system does.
func (x faultyFile) Close() error {
	err := x.f.fails("close", x.Name())
	if e := x.File.Close(); err == nil {
		err = e
	}
	return err
}
