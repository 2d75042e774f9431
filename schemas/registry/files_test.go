package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const trip = `{"type":"record","name":"x.Trip","fields":[{"name":"fare","type":"double"}]}`

func withID(id string) string { return `{"id":` + id + "," + trip[1:] }

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// S1: ids come from file names or an attribute.
func TestFromDirectory(t *testing.T) {
	dir := write(t, map[string]string{"7.avsc": trip, "trip.8.avsc": trip, "trip-9.avsc": trip, "trip.avsc": withID("10"),
		"trip-v2.avsc": trip, "trip.11.avsc": withID("11"), "notes.txt": "no schema"})
	f, err := FromDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.IDs(); !slices.Equal(got, []int{7, 8, 9, 10, 11}) {
		t.Errorf("ids are %v", got)
	}
	w, err := f.Writer(context.Background(), 10)
	if err != nil || w.Name != "trip" || w.ID != 10 || w.Schema.FullName() != "x.Trip" {
		t.Errorf("Writer gives %+v, %v", w, err)
	}
	if _, err := f.Writer(context.Background(), 12); !errors.Is(err, ErrUnknownID) || !strings.Contains(err.Error(), "7, 8, 9, 10, 11") {
		t.Errorf("error is %v", err)
	}
}

func TestFromDirectoryFaults(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"same id":  {map[string]string{"7.avsc": trip, "trip.avsc": withID("7")}, []string{"7.avsc", "trip.avsc", "id 7"}},
		"no id":    {map[string]string{"trip.avsc": trip}, []string{"<id>.avsc"}},
		"empty":    {nil, []string{"no .avsc file"}},
		"disagree": {map[string]string{"trip.7.avsc": withID("8")}, []string{"trip.7.avsc", "id 7", "8"}},
		"bad id":   {map[string]string{"trip.avsc": withID(`"7"`)}, []string{"whole number"}},
		"huge id":  {map[string]string{"trip.avsc": withID("4294967296")}, []string{"whole number"}},
		"not JSON": {map[string]string{"a.avsc": "{", "7.avsc": trip}, []string{"a.avsc", "not JSON"}},
		"no type":  {map[string]string{"7.avsc": `"integer"`}, []string{"7.avsc", "unknown type"}},
		"two":      {map[string]string{"7.avsc": `"integer"`, "8.avsc": "["}, []string{"7.avsc", "8.avsc"}},
	} {
		_, err := FromDirectory(write(t, c.files))
		for _, says := range c.says {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: error is %v, want one with %q", name, err, says)
			}
		}
	}
	if _, err := FromDirectory(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestFromFiles(t *testing.T) {
	dir := write(t, map[string]string{"trip.avsc": trip, "bad.avsc": "["})
	f, err := FromFiles(dir, map[int]string{1: "trip.avsc", 2: filepath.Join(dir, "trip.avsc")})
	if err != nil {
		t.Fatal(err)
	}
	if w, err := f.Writer(context.Background(), 2); err != nil || w.Name != "trip" || w.ID != 2 {
		t.Errorf("Writer gives %+v, %v", w, err)
	}
	if f, err = FromFiles("", map[int]string{1: filepath.Join(dir, "trip.avsc")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Writer(context.Background(), 9); err == nil || !strings.HasPrefix(err.Error(), "unknown schema id 9; known ids: 1;") {
		t.Errorf("an id that no file has: %v", err)
	}
	_, err = FromFiles(dir, map[int]string{1: "none.avsc", 2: "bad.avsc", -1: "trip.avsc"})
	for _, says := range []string{"none.avsc", "bad.avsc", "-1"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error is %v, want one with %q", err, says)
		}
	}
	if _, err := FromFiles(dir, nil); err == nil {
		t.Error("no files at all are accepted")
	}
}
