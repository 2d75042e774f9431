package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/examples/orders"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// definitionFile and tablesDir are where a project has its definition and its
// tables.
const (
	definitionFile = "tallystick.yaml"
	tablesDir      = "tables"
)

// schemaInRepository is what the examples tell editors where their schema is.
const schemaInRepository = "$schema=../../docs/" + definition.SchemaFile

// project is an example that can be unpacked: a definition and its schemas.
type project struct{ files fs.FS }

func ordersProject() project  { return project{orders.Files} }
func flightsProject() project { return project{flights.Files} }

// projectFile is a file of a project; its path has slashes.
type projectFile struct {
	path string
	text []byte
}

// read returns the files of a project, the definition last: where that stands,
// all of them do.
func (p project) read() ([]projectFile, error) {
	var out []projectFile
	err := fs.WalkDir(p.files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(name, "data/") {
			return err
		}
		text, err := fs.ReadFile(p.files, name)
		out = append(out, projectFile{name, text})
		return err
	})
	if err != nil {
		return nil, err
	}
	schema, err := definition.Schema()
	if err != nil {
		return nil, err
	}
	for i := range out { // the schema stands beside the definition, for editors
		out[i].text = bytes.Replace(out[i].text, []byte(schemaInRepository), []byte("$schema="+definition.SchemaFile), 1)
	}
	out = append(out, projectFile{definition.SchemaFile, schema})
	slices.SortStableFunc(out, func(a, b projectFile) int {
		last := func(f projectFile) int {
			if f.path == definitionFile {
				return 1
			}
			return 0
		}
		return last(a) - last(b)
	})
	return out, nil
}

// checkTablesIn refuses a project's directory that cannot be written or cannot
// hold tables. flag names it in messages.
func checkTablesIn(flag, dir string) error {
	if dir == "" {
		return usagef("%s: name a directory", flag)
	}
	if err := checkTree(flag, dir); err != nil {
		return err
	}
	tables, err := filepath.Abs(filepath.Join(dir, tablesDir))
	if err != nil {
		return usagef("%s: %w", flag, err)
	}
	if err := offline.CheckRoot(filepath.ToSlash(tables)); err != nil {
		return usagef("%s: %w", flag, err)
	}
	return nil
}

// checkUnchanged refuses a directory in which somebody has changed a file of the
// project.
func (p project) checkUnchanged(flag, dir string) error {
	files, err := p.read()
	if err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.path))
		theirs, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return usagef("%s: %w", flag, err)
		case !bytes.Equal(theirs, f.text):
			return usagef("%s: %s is not the demo's own and would be overwritten: name another directory, or remove the file", flag, name)
		}
	}
	return nil
}

// writeText writes a file of a project; its directory is made.
func writeText(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// unpack writes the files of the project into dir, over those that are there.
func (p project) unpack(dir string, write func(name string, text []byte) error) error {
	files, err := p.read()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := write(filepath.Join(dir, filepath.FromSlash(f.path)), f.text); err != nil {
			return err
		}
	}
	return nil
}

// create unpacks the project into a directory that is new or empty. Where that
// fails it leaves nothing behind.
func (p project) create(dir string, write func(name string, text []byte) error) (err error) {
	made, err := missing(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(dir, made))
		}
	}()
	return p.unpack(dir, write)
}

// missing returns dir and those above it that do not exist, dir first.
func missing(dir string) ([]string, error) {
	var out []string
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return out, err
		}
		out = append(out, dir)
	}
}

// removeAll takes back what create has written: dir was empty, so all of it is ours.
func removeAll(dir string, made []string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	for _, d := range made {
		if err := os.Remove(d); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// list names the files of the project, for people.
func (p project) list() (string, error) {
	files, err := p.read()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "  %s\n", path.Clean(f.path))
	}
	return b.String(), nil
}
