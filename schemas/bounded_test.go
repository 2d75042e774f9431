package schemas_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// A file is read whole up to its bound, and no byte beyond: a device has no end. What marks
// the order of its bytes is none of its text.
func TestReadFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("12345"), 0o666); err != nil {
		t.Fatal(err)
	}
	if b, err := schemas.ReadFile(name, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	for _, endless := range []string{name, "/dev/zero"} {
		if _, err := os.Stat(endless); err != nil {
			continue
		}
		if _, err := schemas.ReadFile(endless, 4); err == nil || !strings.Contains(err.Error(), "has more than 4 bytes") {
			t.Errorf("%s: %v", endless, err)
		}
	}
	if err := os.WriteFile(name, []byte("\ufeff\ufeff{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if b, err := schemas.ReadFile(name, 8); err != nil || string(b) != "\ufeff{}" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := schemas.ReadFile(name+"x", 4); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
