package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Error says that a disk did not take what was to be written, and what helps.
type Error struct {
	Op   string // as the operating system names it
	Path string
	Err  error
}

func (e *Error) Error() string {
	help := "its disk, or the way to it, fails: see the log of the system, then run the command again"
	switch {
	case errors.Is(e.Err, syscall.ENOSPC):
		help = "make room on its volume, then run the command again"
	case errors.Is(e.Err, syscall.EDQUOT):
		help = "raise the quota of this user there or remove files, then run the command again"
	case errors.Is(e.Err, syscall.EFBIG):
		help = "raise what a file may have there (ulimit -f, or its file system's limit), then run the command again"
	case errors.Is(e.Err, syscall.EMFILE), errors.Is(e.Err, syscall.ENFILE):
		help = "raise how many files may be open (ulimit -n), then run the command again"
	case errors.Is(e.Err, syscall.EROFS):
		help = "its volume is mounted read-only: mount it for writing, or name another place, then run the command again"
	}
	return fmt.Sprintf("the file %s cannot be written (%s: %v); %s", e.Path, e.Op, e.Err, help)
}

func (e *Error) Unwrap() error { return e.Err }

// disk are the errors that a disk or a limit is to blame for, not a name or a right.
var disk = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EFBIG, syscall.EMFILE, syscall.ENFILE}

// Told makes an *Error of what a disk or a limit is to blame for.
func Told(err error) error {
	if err == nil {
		return nil
	}
	for _, d := range disk {
		if !errors.Is(err, d) {
			continue
		}
		var p *fs.PathError
		var l *os.LinkError
		switch {
		case errors.As(err, &p):
			return &Error{p.Op, p.Path, p.Err}
		case errors.As(err, &l):
			return &Error{l.Op, l.New, l.Err}
		}
	}
	return err
}
