package offline

import (
	"os"
	"path/filepath"
)

// files are the file operations that Local needs; tests make them fail.
type files interface {
	read(path string) ([]byte, error)
	open(path string) (Blob, error)
	create(dir string) (file, error) // a new file of a name that nobody uses
	link(from, to string) error
	rename(from, to string) error
	remove(path string) error
	mkdirAll(dir string) error
	syncDir(dir string) error
}

type file interface {
	Name() string
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

type osFiles struct{}

func (osFiles) read(path string) ([]byte, error) { return os.ReadFile(path) }
func (osFiles) create(dir string) (file, error)  { return os.CreateTemp(dir, ".tmp-*") }
func (osFiles) link(from, to string) error       { return os.Link(from, to) }
func (osFiles) rename(from, to string) error     { return os.Rename(from, to) }
func (osFiles) remove(path string) error         { return os.Remove(path) }

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

// mkdirAll makes the directories that lack and syncs each into its parent.
func (o osFiles) mkdirAll(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := o.mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	return o.syncDir(parent)
}

func (osFiles) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
