package offline

import (
	"errors"
	"io/fs"
	"os"

	"github.com/tallystick/tallystick/store/files"
)

// temporaryPrefix begins the names of files that wait for their own.
const temporaryPrefix = ".tmp-"

// openBlob opens a file for reading.
func openBlob(fs files.Files, path string) (Blob, error) {
	f, err := fs.Open(path)
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

func listDir(dir string) ([]Entry, error) {
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
