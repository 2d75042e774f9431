package offline

import (
	"errors"
	"io/fs"
	"os"
)

// files are the file operations that Local needs; tests make them fail.
type files interface {
	read(path string) ([]byte, error)
	open(path string) (Blob, error)
	create(dir string) (file, error) // a new file of a name that nobody uses
	link(from, to string) error
	rename(from, to string) error
	remove(path string) error
	removeAll(path string) error
	list(dir string) ([]Entry, error)
	mkdirAll(dir string) error
	syncDir(dir string) error
	syncFile(path string) error
}

type file interface {
	Name() string
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

// temporaryPrefix begins the names of files that wait for their own.
const temporaryPrefix = ".tmp-"

type osFiles struct{}

func (osFiles) read(path string) ([]byte, error) { return os.ReadFile(path) }
func (osFiles) create(dir string) (file, error)  { return os.CreateTemp(dir, temporaryPrefix+"*") }
func (osFiles) link(from, to string) error       { return os.Link(from, to) }
func (osFiles) rename(from, to string) error     { return os.Rename(from, to) }
func (osFiles) remove(path string) error         { return os.Remove(path) }
func (osFiles) removeAll(path string) error      { return os.RemoveAll(path) }

func (osFiles) open(path string) (Blob, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &localBlob{f, st.Size()}, nil
}

type localBlob struct {
	*os.File
	size int64
}

func (b *localBlob) Size() int64 { return b.size }

func (osFiles) list(dir string) ([]Entry, error) {
	found, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []Entry
	for _, f := range found {
		st, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, entryOf(st))
	}
	return out, nil
}

// mkdirAll makes the directories that lack; Sync makes them durable.
func (osFiles) mkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

func (osFiles) syncDir(dir string) error { return syncPath(dir) }

func (osFiles) syncFile(path string) error { return syncPath(path) }

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
