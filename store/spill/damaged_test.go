package spill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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

// B3: a length that has changed takes no memory that its run does not have.
func TestChangedLengthTakesNoMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	s := New(Options{Path: path, Compare: bytes.Compare})
	for i := range 20_000 {
		if err := s.Add(fmt.Appendf(nil, "%07d", i)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(binary.AppendUvarint(nil, 1<<30), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = s.Each(t.Context(), func([]byte) error { return nil })
	runtime.ReadMemStats(&after)
	var d *DamagedError
	if took := after.TotalAlloc - before.TotalAlloc; !errors.As(err, &d) || took > 1<<20 {
		t.Errorf("B3: %v, after %d bytes", err, took)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
