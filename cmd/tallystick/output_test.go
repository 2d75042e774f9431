package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a command writes is a file of its own: a pipe, a device or a link that
// stands at the path is refused and left as it is, not replaced (B2).
func TestOutputsReplaceFilesOnly(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(at("file"), []byte("x"), 0o600), os.Symlink("file", at("link")), os.Symlink("nothing", at("dangling")), os.Mkdir(at("dir"), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, refused := range map[string]string{"pipe": "no regular file", "link": "a symbolic link", "dangling": "a symbolic link", "dir": "a directory", "file": "", "new": ""} {
		err := checkFile("--output", at(name))
		if refused == "" && err != nil || refused != "" && (err == nil || !strings.Contains(err.Error(), "--output: "+at(name)+" is "+refused)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	out, errs := tally(t, exitUsage, "cut", "-f", "../../examples/flights/tallystick.yaml", "--brokers", "127.0.0.1:1", "-o", at("pipe"))
	if st, err := os.Lstat(at("pipe")); out != "" || err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is now %v, %v; %s%s", st, err, out, errs)
	}
}
