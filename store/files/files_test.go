package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// B2: what a disk is to blame for is told with the file and what to do; what a name or
// a right is to blame for stays what it was.
func TestTold(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // "" = as it was
	}{
		{&fs.PathError{Op: "write", Path: "/a", Err: syscall.ENOSPC}, "the file /a cannot be written (write: no space left on device); make room"},
		{&os.LinkError{Op: "rename", Old: "/a", New: "/b", Err: syscall.EIO}, "the file /b cannot be written (rename: input/output error); its disk"},
		{&fs.PathError{Op: "open", Path: "/a", Err: syscall.EROFS}, "mounted read-only"},
		{&fs.PathError{Op: "write", Path: "/a", Err: syscall.EDQUOT}, "quota"},
		{&fs.PathError{Op: "write", Path: "/a", Err: syscall.EFBIG}, "ulimit -f"},
		{&fs.PathError{Op: "open", Path: "/a", Err: syscall.EMFILE}, "ulimit -n"},
		{&fs.PathError{Op: "open", Path: "/a", Err: syscall.ENOENT}, ""},
		{nil, ""},
	} {
		got := Told(c.err)
		var e *Error
		if c.want == "" && got != c.err || c.want != "" && (!errors.As(got, &e) || !strings.Contains(got.Error(), c.want)) {
			t.Errorf("%v is told as %v", c.err, got)
		}
	}
}

// B2: a file is saved whole, for others to read, or not at all.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := SaveJSON(OS{}, path, map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	if err := Save(OS{}, path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	left, _ := os.ReadDir(dir)
	if err != nil || string(b) != "{\n  \"a\": 1\n}\n" || len(left) != 1 {
		t.Errorf("%s, %v, %d files", b, err, len(left))
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}
