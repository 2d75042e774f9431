// Package files is the way of jobs to the files of this machine: what they leave on a
// disk goes through Files, so that tests can have any of it fail, and what a disk that
// is full or broken says is told in the same words everywhere (*Error).
package files

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Files are the operations that jobs do on files. Errors that the disk is to blame
// for are *Error.
type Files interface {
	Read(path string) ([]byte, error)
	Open(path string) (*os.File, error) // for reading
	// Create returns a file that is empty, whatever was there.
	Create(path string) (File, error)
	// CreateTemp returns a new file of a name that nobody uses; see os.CreateTemp.
	CreateTemp(dir, pattern string) (File, error)
	MkdirAll(dir string) error
	Link(from, to string) error
	Rename(from, to string) error
	Remove(path string) error
	RemoveAll(path string) error
	Sync(path string) error // of a file or a directory
}

// File is a file that is being written.
type File interface {
	Name() string
	io.Writer
	io.WriterAt
	io.ReaderAt
	Chmod(mode os.FileMode) error
	Sync() error
	Close() error
}

// OS are the files of the operating system.
type OS struct{}

// Read implements Files.
func (OS) Read(path string) ([]byte, error) { return os.ReadFile(path) }

// Open implements Files.
func (OS) Open(path string) (*os.File, error) { return os.Open(path) }

// Create implements Files.
func (OS) Create(path string) (File, error) { return file(os.Create(path)) }

// CreateTemp implements Files.
func (OS) CreateTemp(dir, pattern string) (File, error) { return file(os.CreateTemp(dir, pattern)) }

// MkdirAll implements Files.
func (OS) MkdirAll(dir string) error { return Told(os.MkdirAll(dir, 0o755)) }

// Link implements Files.
func (OS) Link(from, to string) error { return Told(os.Link(from, to)) }

// Rename implements Files.
func (OS) Rename(from, to string) error { return Told(os.Rename(from, to)) }

// Remove implements Files.
func (OS) Remove(path string) error { return Told(os.Remove(path)) }

// RemoveAll implements Files.
func (OS) RemoveAll(path string) error { return Told(os.RemoveAll(path)) }

// Sync implements Files.
func (OS) Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return Told(err)
	}
	return Told(errors.Join(f.Sync(), f.Close()))
}

type osFile struct{ *os.File }

func file(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, Told(err)
	}
	return osFile{f}, nil
}

func (f osFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, Told(err)
}

func (f osFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	return n, Told(err)
}

func (f osFile) Chmod(mode os.FileMode) error { return Told(f.File.Chmod(mode)) }
func (f osFile) Sync() error                  { return Told(f.File.Sync()) }
func (f osFile) Close() error                 { return Told(f.File.Close()) }

// Save writes a file that others may read, whole or not at all: fn writes it beside
// its place.
func Save(fs Files, path string, fn func(w io.Writer) error) error {
	f, err := fs.CreateTemp(filepath.Dir(path), ".tallystick-*")
	if err != nil {
		return err
	}
	err = fn(f)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(f.Name(), path)
	}
	if err != nil {
		_ = fs.Remove(f.Name()) // why there is no file is what matters
	}
	return err
}

// SaveJSON writes a file of JSON, whole or not at all.
func SaveJSON(fs Files, path string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	return Save(fs, path, func(w io.Writer) error {
		_, err := w.Write(b.Bytes())
		return err
	})
}
