package spill

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// B3, V8: what a disk gives back otherwise than it was written is told, whatever bit it
// is: a row that has changed counts for another one.
func TestChangedRunIsTold(t *testing.T) {
	for _, at := range []int64{0, 1, 9, 100, 70_000, -1} {
		path := filepath.Join(t.TempDir(), "rows")
		s := New(Options{Path: path, Compare: bytes.Compare})
		for i := range 20_000 {
			if err := s.Add(fmt.Appendf(nil, "%07d", i)); err != nil {
				t.Fatal(err)
			}
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if at < 0 {
			at += st.Size()
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x80
		if _, err := f.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := s.Each(t.Context(), func([]byte) error { return nil }); err == nil {
			t.Errorf("byte %d of %d has changed, and nobody says so", at, st.Size())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
