package offline

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

// B3: values as large as a topic takes by default, such as those of records that are
// quarantined, are not held 64 at a time: rowGroupBytes bounds what a file holds.
func TestLargeValuesAreNotHeld(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	row := []schemas.Value{schemas.BytesValue(strings.Repeat("x", 1<<20))}
	before := heap()
	w, err := NewWriter(io.Discard, []Column{{Name: "value", Kind: schemas.Bytes}}, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	most := int64(0)
	for range 3 * writeRows {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
		most = max(most, heap()-before)
	}
	if most > 2*rowGroupBytes {
		t.Errorf("B3: the writer holds %d MB of rows of 1 MB", most>>20)
	}
	runtime.KeepAlive(w)
}
