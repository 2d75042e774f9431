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
	for _, in := range []input{{"definition", at("file")}, {"label file", filepath.Join(dir, ".", "dir", "..", "file")}} {
		if err := checkFile("--output", at("file"), in); err == nil || !strings.Contains(err.Error(), "is the "+in.what+", which would be overwritten") {
			t.Errorf("%v: %v", in, err)
		}
	}
	if err := checkFile("--output", "-"); err == nil || !strings.Contains(err.Error(), "--output: - names no file") {
		t.Error(err)
	}
	out, errs := tally(t, exitUsage, "cut", "-f", "../../examples/flights/tallystick.yaml", "--brokers", "127.0.0.1:1", "-o", at("pipe"))
	if st, err := os.Lstat(at("pipe")); out != "" || err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is now %v, %v; %s%s", st, err, out, errs)
	}
}

// No command writes its output over the definition that it was given, and a flag
// whose value is empty, as by a variable that is not set, is not taken for one
// that was left out (B2).
func TestOutputsSpareInputs(t *testing.T) {
	dir := t.TempDir()
	tally(t, exitOK, "init", filepath.Join(dir, "shop"))
	file := filepath.Join(dir, "shop", "tallystick.yaml")
	labels := filepath.Join(dir, "l.csv")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(labels, []byte("customer,ts\nc1,2026-01-20T00:00:00Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	train := []string{"train", "--labels", labels, "--view", "customers"}
	for _, args := range [][]string{
		{"cut", "-o", file},
		{"reconcile", "--html", file, "--out", dir, "--redis", "127.0.0.1:1"},
		{"replay", "--save-cut", file},
		append(train, "-o", file),
		append(train, "-o", filepath.Join(dir, "x.parquet"), "--save-cut", file),
	} {
		if out, errs := tally(t, exitUsage, append(args, "-f", file, "--brokers", "127.0.0.1:1")...); out != "" || !strings.Contains(errs, "is the definition, which would be overwritten: name another") {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
	tables := filepath.Join(dir, "t")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"is the cut file", []string{"replay", "plan", "--out", tables, "--cut", labels, "-o", labels}},
		{"is the directory of the tables", []string{"replay", "plan", "--out", tables, "-o", tables}},
		{"is the directory of the tables", []string{"replay", "--out", tables, "--save-cut", tables + "/"}},
	} {
		args := append(c.args, "-f", file, "--brokers", "127.0.0.1:1")
		if out, errs := tally(t, exitUsage, args...); out != "" || !strings.Contains(errs, c.want+", which would be overwritten: name another") {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
	for _, args := range [][]string{
		{"replay", "--out", ""},
		{"replay", "--cut="},
		{"run", "--out", ""},
		{"stream", "--until", "", "--redis", "127.0.0.1:1"},
		append(train, "-o", filepath.Join(dir, "x.parquet"), "--timezone", ""),
	} {
		if out, errs := tally(t, exitUsage, append(args, "-f", file, "--brokers", "127.0.0.1:1")...); out != "" || !strings.Contains(errs, "its value is empty: name one, or leave the flag out") {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the definition is now %q, %v", after, err)
	}
}

// full is a disk that takes nothing more.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Output that cannot be written is not taken for written: it ends with 1
// and one sentence, text and JSON alike.
func TestOutputThatCannotBeWritten(t *testing.T) {
	file := "../../examples/flights/tallystick.yaml"
	for _, args := range [][]string{
		{"--version"}, {"--help"}, {"check", "-f", file}, {"check", "-f", file, "--json"}, {"check", "-f", file, "--explain", "dest_delays.flights_24h"},
		{"init", filepath.Join(t.TempDir(), "shop")},
	} {
		var errs strings.Builder
		code := run(t.Context(), args, full{}, &errs)
		if want := "tallystick: the output cannot be written: no space left on device\n"; code != exitFailed || !strings.HasSuffix(errs.String(), want) {
			t.Errorf("%s: %d, %s", args, code, errs.String())
		}
	}
}
