package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
)

// Files is a Resolver over files read when it was made.
type Files struct {
	where string
	byID  map[int]*Writer
}

// FromFiles reads the .avsc file of each id; paths that are not absolute lie
// under dir. It reports the faults of all files at once.
func FromFiles(dir string, ids map[int]string) (*Files, error) {
	f := &Files{where: dir, byID: make(map[int]*Writer, len(ids))}
	var errs []error
	if len(ids) == 0 {
		errs = append(errs, errors.New("no writer schemas: name at least one id with its .avsc file"))
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		path := ids[id]
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if id < 0 || id > math.MaxInt32 {
			errs = append(errs, fmt.Errorf("schema id %d of %s: ids go from 0 to 2147483647", id, path))
			continue
		}
		text, err := readText(path)
		if err == nil {
			err = f.add(id, path, text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("schema id %d: %w", id, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return f, nil
}

// pathReason leaves out the operation and the path, which the message has.
func pathReason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// FromDirectory reads the .avsc files of a directory that have an id: in a
// top-level "id" attribute, or in the file name as 7.avsc, trip.7.avsc,
// trip-7.avsc. Files without one, such as the reader schema, are left alone. It
// reports all faults at once.
func FromDirectory(dir string) (*Files, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("schema directory %s cannot be read: %w", dir, pathReason(err))
	}
	f := &Files{where: dir, byID: map[int]*Writer{}}
	files := map[int]string{} // id → file name
	var errs []error
	for _, e := range entries { // sorted by name
		if e.IsDir() || filepath.Ext(e.Name()) != ".avsc" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		text, err := readText(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		id, found, err := fileID(e.Name(), text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("schema file %s: %w", path, err))
		case !found:
		case files[id] != "":
			errs = append(errs, fmt.Errorf("schema directory %s: %s and %s both have id %d; correct one of them", dir, files[id], e.Name(), id))
		default:
			files[id] = e.Name()
			if err := f.add(id, path, text); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) == 0 && len(files) == 0 {
		errs = append(errs, fmt.Errorf("schema directory %s: no .avsc file in it has an id; name files <id>.avsc or <name>.<id>.avsc, or add a top-level \"id\": 7", dir))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return f, nil
}

func (f *Files) add(id int, path string, text []byte) error {
	s, err := avro.ParseAny(path, text)
	if err != nil {
		return err
	}
	f.byID[id] = &Writer{ID: id, Name: strings.TrimSuffix(filepath.Base(path), ".avsc"), Schema: s}
	return nil
}

// Writer implements Resolver; its only error is ErrUnknownID.
func (f *Files) Writer(_ context.Context, id int) (*Writer, error) {
	if w := f.byID[id]; w != nil {
		return w, nil
	}
	return nil, &IDError{ID: id, Where: f.where, Kind: ErrUnknownID,
		Hint: fmt.Sprintf("known ids: %s; add the .avsc file that the record was written with", list(f.IDs()))}
}

// IDs returns the known ids, ascending.
func (f *Files) IDs() []int { return slices.Sorted(maps.Keys(f.byID)) }

func list(ids []int) string {
	var parts []string
	for i, id := range ids {
		if i == 20 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, strconv.Itoa(id))
	}
	return strings.Join(parts, ", ")
}

// readText reads a schema file, no more of it than a schema may have.
func readText(path string) ([]byte, error) {
	text, err := schemas.ReadFile(path, avro.MaxSchemaBytes)
	if err != nil {
		return nil, fmt.Errorf("schema file: %w", err)
	}
	return text, nil
}

var idInName = regexp.MustCompile(`(?:^|[.-])(0|[1-9][0-9]*)\.avsc$`)

// fileID finds the id of a schema file, in its name or in its text.
func fileID(name string, text []byte) (id int, found bool, err error) {
	inText, hasText, err := textID(text)
	if err != nil {
		return 0, false, err
	}
	m := idInName.FindStringSubmatch(name)
	if m == nil {
		return inText, hasText, nil
	}
	id, err = parseID(m[1])
	if err == nil && hasText && id != inText {
		err = fmt.Errorf("its name says id %d, its \"id\" attribute %d; correct one of them", id, inText)
	}
	return id, true, err
}

func textID(text []byte) (id int, found bool, err error) {
	var top any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&top); err != nil {
		return 0, false, fmt.Errorf("not JSON: %w", err)
	}
	obj, _ := top.(map[string]any)
	attr, found := obj["id"]
	if !found {
		return 0, false, nil
	}
	num, _ := attr.(json.Number)
	id, err = parseID(num.String())
	return id, true, err
}

func parseID(s string) (int, error) {
	id, err := strconv.ParseInt(s, 10, 32)
	if err != nil || id < 0 {
		return 0, errors.New("its id is not a whole number from 0 to 2147483647")
	}
	return int(id), nil
}
