package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// B6: a place that cannot hold tables is told before anything is read, by its flag.
func TestPlacesOfTables(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(1, nil)
	err := errors.Join(os.Symlink("nowhere", g.at("dangling")), os.Mkdir(g.at("view"), 0o755), os.WriteFile(g.at("view/v"), nil, 0o600),
		os.MkdirAll(g.at("table/v"), 0o755), os.WriteFile(g.at("table/v/tiles"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"dangling":     "--out: the link " + g.at("dangling") + " leads nowhere",
		"dangling/sub": "--out: the link " + g.at("dangling") + " leads nowhere",
		"view":         "--out: " + g.at("view/v") + " is not a directory",
		"table":        "--out: " + g.at("table/v/tiles") + " is not a directory",
	} {
		if said := g.run(exitUsage, "replay", "--out", g.at(name)); !strings.Contains(said, want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: %s", name, said)
		}
	}
	for _, args := range [][]string{{"replay", "held"}, {"replay", "accept", "--reason", "r"}} {
		if said := g.run(exitUsage, append(args, "--out", g.at("none"))...); !strings.Contains(said, "--out: there is no directory "+g.at("none")) {
			t.Errorf("%s: %s", args, said)
		}
	}
}

// B5: where a file of tables is damaged or gone, who goes on from them is told what puts
// it back, and it does, also up to the same cut.
func TestDamagedTablesArePutBack(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(4, nil)
	cut := g.at("cut.json")
	g.run(exitOK, "replay", "--out", g.at("t"), "--save-cut", cut)
	g.days(1, nil)
	files, err := filepath.Glob(g.at("t/v/open/event_date=*/*/*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"changed": func() error {
			b := append([]byte{}, whole...)
			for i := 40; i < 80; i++ {
				b[i] ^= 0x55
			}
			return os.WriteFile(files[0], b, 0o600)
		},
		"cut":  func() error { return os.Truncate(files[0], int64(len(whole)/2)) },
		"gone": func() error { return os.Remove(files[0]) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if said := g.run(exitFailed, "replay", "--out", g.at("t"), "--continue"); !strings.Contains(said, "a replay without --continue puts it back") {
			t.Errorf("%s: %s", name, said)
		}
		g.run(exitOK, "replay", "--out", g.at("t"), "--cut", cut)
		if b, err := os.ReadFile(files[0]); err != nil || string(b) != string(whole) {
			t.Errorf("%s: it is not put back: %v", name, err)
		}
	}
	g.run(exitOK, "replay", "--out", g.at("t"), "--continue")
}

// B2, B5: a byte that has changed anywhere in a file of tables either leaves what is gone
// on to as it is, or is told with what puts it back.
func TestChangedByteInTables(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(4, nil)
	g.run(exitOK, "replay", "--out", g.at("t"))
	g.days(1, nil)
	goOn := func() (code int, said, files string) {
		out := g.at("u")
		if err := errors.Join(os.RemoveAll(out), os.CopyFS(out, os.DirFS(g.at("t")))); err != nil {
			t.Fatal(err)
		}
		var o, e strings.Builder
		code = run(t.Context(), append([]string{"replay", "--out", out, "--continue"}, g.common...), &o, &e)
		names, err := filepath.Glob(out + "/v/*/event_date=*/*/*.parquet") // their names say their bytes
		if err != nil {
			t.Fatal(err)
		}
		return code, e.String(), strings.Join(names, "\n")
	}
	_, _, want := goOn()
	for _, table := range []string{"open", "tiles", "features"} {
		files, err := filepath.Glob(g.at("t/v/" + table + "/event_date=*/*/*.parquet"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		file := files[len(files)-1]
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for i := 1; i < len(whole); i += 97 {
			b := bytes.Clone(whole)
			b[i] ^= 0x55
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			code, said, files := goOn()
			if code != exitOK {
				told++
			}
			if code == exitOK && files != want || code != exitOK && !strings.Contains(said, "a replay without --continue puts it back") {
				t.Errorf("%s, byte %d of %d: %d, %s", table, i, len(whole), code, said)
			}
		}
		if told == 0 {
			t.Errorf("%s: no change was seen", table)
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (g *gateRig) at(name string) string { return filepath.Join(g.dir, name) }

// B4: a directory that another process of a shared replay makes at this moment is no link
// that leads nowhere.
func TestTreeIsMadeMeanwhile(t *testing.T) {
	root, made := t.TempDir(), 0
	for i := range 3000 {
		dir := filepath.Join(root, strconv.Itoa(i))
		tried := make(chan error, 1)
		go func() { tried <- os.Mkdir(dir, 0o755) }()
		for range 3 {
			if err := checkTree("--out", dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(dir); err == nil {
				made++ // while it was looked at
				break
			}
		}
		if err := <-tried; err != nil {
			t.Fatal(err)
		}
	}
	if made == 0 {
		t.Error("no directory was made meanwhile")
	}
}
