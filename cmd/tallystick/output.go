package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// What is to be written is looked at before any work is done: a job of hours
// must not end at a directory that does not exist.

// checkFile refuses a file, named by a flag, that could not be written, or that
// is one of the inputs.
func checkFile(flag, path string, inputs ...input) error {
	switch path {
	case "":
		return nil
	case "-":
		return usagef("%s: - names no file: a file is written beside its place and moved there; ./- is one of that name", flag)
	}
	for _, in := range inputs {
		if sameFile(path, in.path) {
			return usagef("%s: %s is the %s, which would be overwritten: name another", flag, path, in.what)
		}
	}
	if err := checkRegular(flag, path); err != nil {
		return err
	}
	return checkDir(flag, filepath.Dir(path))
}

// input is a file that a command reads, "" = none.
type input struct{ what, path string }

// checkRegular refuses what stands at an output's path and is no file: a file is
// written beside its path and moved there, which would put it in the place of a
// device or a pipe, not into it.
func checkRegular(flag, path string) error {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		what := "no regular file"
		switch {
		case st.IsDir():
			what = "a directory"
		case st.Mode()&fs.ModeSymlink != 0:
			what = "a symbolic link"
		}
		return usagef("%s: %s is %s: name a file", flag, path, what)
	}
	return nil
}

// checkReadable refuses an input file, named by a flag, that cannot be read.
func checkReadable(flag, path string) error {
	if path == "" {
		return usagef("%s: name a file", flag)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return usagef("%s: %w", flag, told(path, "file", err))
	case st.IsDir():
		return usagef("%s: %s is a directory: name a file", flag, path)
	case !st.Mode().IsRegular():
		return nil // a pipe is read once
	}
	f, err := os.Open(path)
	if err != nil {
		return usagef("%s: %w", flag, told(path, "file", err))
	}
	return f.Close()
}

// told says in our words why the operating system refuses a path.
func told(path, what string, err error) error {
	var e *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s %s", what, path)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("there is no %s %s: a part of its path is a file", what, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not access %s: change its permissions", path)
	case errors.As(err, &e):
		return fmt.Errorf("%s: %w", path, e.Err)
	}
	return err
}

// sameFile tells whether two paths name one file, which need not exist.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, errX := filepath.Abs(a)
	y, errY := filepath.Abs(b)
	if errX == nil && errY == nil && x == y {
		return true
	}
	s, errS := os.Stat(a)
	t, errT := os.Stat(b)
	return errS == nil && errT == nil && os.SameFile(s, t)
}

// checkDir refuses a directory that does not exist or takes no files.
func checkDir(flag, dir string) error {
	st, err := os.Stat(dir)
	switch {
	case dir == "":
		return usagef("%s: name a directory", flag)
	case errors.Is(err, fs.ErrNotExist):
		return usagef("%s: there is no directory %s: create it", flag, dir)
	case errors.Is(err, syscall.ENOTDIR), err == nil && !st.IsDir():
		return usagef("%s: %s is not a directory: name another path", flag, dir)
	case err != nil:
		return usagef("%s: %w", flag, told(dir, "directory", err))
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
		// No link: another process has made the directory meanwhile.
		if st, e := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) && e == nil && st.Mode().Type() == fs.ModeSymlink {
			return usagef("%s: the link %s leads nowhere: create what it names, or name another path", flag, dir)
		}
		if missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); !missing || dir == filepath.Dir(dir) {
			return checkDir(flag, dir)
		}
	}
}
