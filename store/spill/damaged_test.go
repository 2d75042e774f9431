package spill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// damagedSorter has 20,000 rows of 7 bytes in runs, and takes no others.
func damagedSorter(t *testing.T) (s *Sorter, each func() error) {
	t.Helper()
	s = New(Options{Path: filepath.Join(t.TempDir(), "rows"), Compare: bytes.Compare, Prefix: func(row []byte) Prefix { return PrefixOf(row[:7]) }})
	t.Cleanup(func() { s.Close() })
	for i := range 20_000 {
		if err := s.Add(fmt.Appendf(nil, "%07d", i)); err != nil {
			t.Fatal(err)
		}
	}
	return s, func() error {
		n := -1
		return s.Each(t.Context(), func(row []byte) error {
			i, err := strconv.Atoi(string(row))
			if err != nil || i <= n || len(row) != 7 {
				t.Errorf("V8: %q comes after row %d", row, n)
			}
			n = i
			return nil
		})
	}
}

// B3, V8: what a disk gives back otherwise than it was written is told, whatever bit it
// is, and no row is looked at that was not written: it need not parse, and would count for
// another one. Nor does it take memory that its run does not have.
func TestChangedRunIsTold(t *testing.T) {
	s, each := damagedSorter(t)
	whole, err := os.ReadFile(s.o.Path)
	if err != nil {
		t.Fatal(err)
	}
	told := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(s.o.Path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := each()
		runtime.ReadMemStats(&after)
		var d *DamagedError
		if took := after.TotalAlloc - before.TotalAlloc; !errors.As(err, &d) || took > 1<<20 {
			t.Errorf("B3: %s: %v, after %d bytes", what, err, took)
		}
	}
	for at := 0; at < len(whole); at += 1 + at/10 {
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		told(fmt.Sprintf("byte %d of %d", at, len(whole)), b)
	}
	for _, n := range []int{0, 1, pageSize, len(whole) - pageSize, len(whole) - 1} {
		told(fmt.Sprintf("%d bytes of %d", n, len(whole)), whole[:n])
	}
	b := bytes.Clone(whole)
	copy(b[pageSize:], whole[:pageSize])
	told("a page in the place of another", b)
	told("a length", append(binary.AppendUvarint(nil, 1<<30), whole[5:]...))
	if err := errors.Join(os.WriteFile(s.o.Path, whole, 0o600), each()); err != nil {
		t.Errorf("as it was written: %v", err)
	}
}
