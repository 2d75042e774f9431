package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// What is to be written is looked at before any work is done: a job of hours
// must not end at a directory that does not exist.

// checkFile refuses a file, named by a flag, that could not be written.
func checkFile(flag, path string) error {
	if path == "" {
		return nil
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return usagef("%s: %s is a directory: name a file", flag, path)
	}
	return checkDir(flag, filepath.Dir(path))
}

// checkDir refuses a directory that does not exist or takes no files.
func checkDir(flag, dir string) error {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usagef("%s: there is no directory %s: create it", flag, dir)
	case errors.Is(err, syscall.ENOTDIR), err == nil && !st.IsDir():
		return usagef("%s: %s is not a directory: name another path", flag, dir)
	case err != nil:
		return usagef("%s: %w", flag, err)
	}
	f, err := os.CreateTemp(dir, ".tallystick-*")
	if err != nil {
		var e *fs.PathError // its path is one that nobody has named
		if errors.As(err, &e) {
			err = e.Err
		}
		return usagef("%s: cannot write into the directory %s: %w", flag, dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// checkTree refuses a directory that neither exists nor can be created. A URL
// is left to the store that it names.
func checkTree(flag, path string) error {
	if path == "" || strings.Contains(path, "://") {
		return nil
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); !missing || dir == filepath.Dir(dir) {
			return checkDir(flag, dir)
		}
	}
}
