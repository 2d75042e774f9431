package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
)

// A name that replay --out would refuse is said before anything is streamed.
func TestCheckWarnsOfColumns(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "v.yaml")
	text := strings.Replace(testbed.EventDefinition, "{ent: string}", "{boundary: {type: string, field: ent}}", 1)
	for name, content := range map[string]string{file: text, filepath.Join(dir, "ev.avsc"): testbed.EventSchema} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, notices := tally(t, exitOK, "check", "-f", file)
	if want := `replay --out refuses it: view v: table features would have two columns "boundary"`; !strings.Contains(notices, want) {
		t.Errorf("%s\nwant %s", notices, want)
	}
}

// Examples of ids are a list that can be read.
func TestReplayNamesIDs(t *testing.T) {
	ids := &batch.BrokenIDs{Count: 2, Examples: []batch.BrokenID{{ID: "a", Second: schemas.Position{Offset: 7}}, {ID: "b", Second: schemas.Position{Partition: 1}}}}
	var b strings.Builder
	(&replayOutput{Views: []replayedView{{View: "v", BrokenIDs: ids}}}).print(&b)
	if want := "for example \"a\" (partition 0 offset 0 and partition 0 offset 7), \"b\" (partition 0 offset 0 and partition 1 offset 0)\n"; !strings.Contains(b.String(), want) {
		t.Errorf("%s\nwant %s", b.String(), want)
	}
}
