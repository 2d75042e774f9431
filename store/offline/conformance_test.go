package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// oddNames are what partition values become in directories, and what a store has
// to keep apart and whole (B2).
var oddNames = []string{"region=a%2Fb", "region=a%2fb", "region=a%252Fb", "region=50%", "region=" + hiveNull, "region=München", "region=Ab", "region=aB", "region=日本 🙂",
	"region=a b", "region=a+b", "region=a&b", "region=a;b", "region=a,b", "region=(a)", "region=$a@b!", "region=a~b"}

func conformance(t *testing.T, newStore func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){"whole": wholeFiles, "uploads": uploads, "move": moves, "touch": touches, "lists": lists, "names": names, "race": race} {
		t.Run(name, func(t *testing.T) { test(t, newStore(t)) })
	}
}

// B2: what every store must do, held against a directory here and against a real
// server by TestS3 with the build tag real.
func TestLocalConforms(t *testing.T) {
	for _, calls := range []*Calls{nil, NewCalls(0)} {
		conformance(t, func(t *testing.T) Store {
			r, err := OpenRoot(t.TempDir(), RootOptions{Calls: calls})
			if err != nil {
				t.Fatal(err)
			}
			s, err := r.store("v", "features")
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	}
}

func read(t *testing.T, s Store, name string) string {
	t.Helper()
	b, err := s.Read(t.Context(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wholeFiles(t *testing.T, s Store) {
	ctx := t.Context()
	if got := read(t, s, "d/x"); got != "-" {
		t.Errorf("%q of a file that is not there", got)
	}
	if _, err := s.Stat(ctx, "d/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}
	if _, err := s.Open(ctx, "d/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	for _, text := range []string{"", "first"} {
		name := "d/" + text + ".json"
		if err := s.PutIfAbsent(ctx, name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		for _, again := range []string{text, "second"} {
			if err := s.PutIfAbsent(ctx, name, []byte(again)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second put: %v", err)
			}
		}
		if got := read(t, s, name); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	for _, bad := range []string{"", "../x", "/x", "a//b", "a/"} {
		if err := s.PutIfAbsent(ctx, bad, nil); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("%q is written: %v", bad, err)
		}
	}
}

// Files of any size are whole once they are committed, and not seen before.
func uploads(t *testing.T, s Store) {
	ctx := t.Context()
	for i, size := range []int{0, 1, partSize - 1, partSize, partSize + 1, 2*partSize + 12345} {
		want := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i)}).Read(want)
		name := fmt.Sprintf("d/e/%d", size)
		u, err := s.Create(ctx, "_staging/run")
		if err != nil {
			t.Fatal(err)
		}
		for left := want; len(left) > 0; {
			n := min(len(left), 1+rand.IntN(1<<20))
			if m, err := u.Write(left[:n]); m != n || err != nil {
				t.Fatalf("%d of %d, %v", m, n, err)
			}
			left = left[n:]
		}
		if _, err := s.Stat(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is seen before it is committed: %v", name, err)
		}
		if err := u.Commit(ctx, name); err != nil {
			t.Fatal(err)
		}
		u.Abort()
		if _, err := u.Write([]byte("more")); err == nil {
			t.Error("an upload that has ended takes more")
		}
		readAt(t, s, name, want)
	}
	u, err := s.Create(ctx, "_staging/run")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, 2*partSize)); err != nil {
		t.Fatal(err)
	}
	u.Abort()
	u.Abort()
	if left, err := s.List(ctx, "_staging/run"); len(left) > 0 || err != nil {
		t.Errorf("%v stay of uploads, %v", left, err)
	}
}

// readAt reads a file as a Parquet file is read.
func readAt(t *testing.T, s Store, name string, want []byte) {
	t.Helper()
	e, err := s.Stat(t.Context(), name)
	if err != nil || e.Size != int64(len(want)) || e.Dir || e.Modified.IsZero() {
		t.Errorf("%s: %+v, %v; it has %d bytes", name, e, err, len(want))
	}
	b, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
	}
	if len(want) > 10 {
		p := make([]byte, 7)
		if _, err := b.ReadAt(p, int64(len(want)-8)); err != nil || !bytes.Equal(p, want[len(want)-8:len(want)-1]) {
			t.Errorf("%s: its end reads otherwise: %v", name, err)
		}
	}
}

func put(t *testing.T, s Store, name, text string) {
	t.Helper()
	u, err := s.Create(t.Context(), "_staging/run")
	if err == nil {
		_, err = io.WriteString(u, text)
	}
	if err == nil {
		err = u.Commit(t.Context(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func moves(t *testing.T, s Store) {
	put(t, s, "_staging/run/a", "new")
	put(t, s, "d/b", "old")
	if err := s.Move(t.Context(), "_staging/run/a", "d/b"); err != nil {
		t.Fatal(err)
	}
	if a, b := read(t, s, "_staging/run/a"), read(t, s, "d/b"); a != "-" || b != "new" {
		t.Errorf("moved: %q, %q", a, b)
	}
	if err := s.Move(t.Context(), "_staging/run/a", "d/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is nothing to move: %v", err)
	}
	if err := s.Sync(t.Context(), []string{"d/b"}); err != nil {
		t.Error(err)
	}
}

// B2: a file that is touched is young, and stays what it was; so does a large one.
func touches(t *testing.T, s Store) {
	ctx := t.Context()
	for name, text := range map[string]string{"d/small": "text", "d/large": strings.Repeat("x", 2*partSize+1)} {
		put(t, s, name, text)
		before, err := s.Stat(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		for after, end := before, time.Now().Add(10*time.Second); !after.Modified.After(before.Modified); { // a server counts in seconds
			if err = s.Touch(ctx, name); err == nil {
				after, err = s.Stat(ctx, name)
			}
			if err != nil || time.Now().After(end) {
				t.Fatalf("%s: modified %v, then %v, %v", name, before.Modified, after.Modified, err)
			}
		}
		if read(t, s, name) != text {
			t.Errorf("%s has become another", name)
		}
	}
	if err := s.Touch(ctx, "d/none"); !errors.Is(err, fs.ErrNotExist) || read(t, s, "d/none") != "-" {
		t.Errorf("there is nothing to touch: %v", err)
	}
	if left, err := s.List(ctx, staging); err != nil || slices.ContainsFunc(left, func(e Entry) bool { return !e.Dir }) {
		t.Errorf("%v stays, %v", left, err)
	}
}

func listed(t *testing.T, s Store, dir string) string {
	t.Helper()
	entries, err := s.List(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Dir {
			out = append(out, e.Name+"/")
			continue
		}
		if age := time.Since(e.Modified); age > time.Hour || age < -time.Hour {
			t.Errorf("%s: modified %v", e.Name, e.Modified)
		}
		out = append(out, fmt.Sprint(e.Name, e.Size))
	}
	return strings.Join(out, " ")
}

func lists(t *testing.T, s Store) {
	for _, name := range []string{"a/b/1", "a/b/2", "a/bc/1", "a/b.c", "z"} {
		put(t, s, name, name)
	}
	for dir, want := range map[string]string{"a": "b/ b.c5 bc/", "a/b": "15 25", "none": "", "a/b/1/2": ""} {
		if dir == "a/b/1/2" {
			continue // below a file: stores differ, nobody asks
		}
		if got := listed(t, s, dir); got != want {
			t.Errorf("%s holds %q, want %q", dir, got, want)
		}
	}
	if got := listed(t, s, "."); !strings.Contains(got, "a/") || !strings.HasSuffix(got, "z1") {
		t.Errorf("the root holds %q", got)
	}
	for range 2 {
		if err := s.Remove(t.Context(), "a/b.c"); err != nil {
			t.Error(err)
		}
		if err := s.RemoveAll(t.Context(), "a/b"); err != nil {
			t.Error(err)
		}
	}
	if got := listed(t, s, "a"); got != "bc/" {
		t.Errorf("%q stays", got)
	}
	if err := s.RemoveAll(t.Context(), "z"); err != nil || read(t, s, "z") != "-" {
		t.Errorf("RemoveAll of a file: %v", err)
	}
}

func names(t *testing.T, s Store) {
	for _, n := range oddNames {
		put(t, s, n+"/from", n)
		if err := s.Move(t.Context(), n+"/from", n+"/to"); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	for _, n := range oddNames {
		if got := read(t, s, n+"/to"); got != n {
			t.Errorf("%s holds %q", n, got)
		}
		if got := listed(t, s, n); got != fmt.Sprint("to", len(n)) {
			t.Errorf("%s lists %q", n, got)
		}
	}
	entries, err := s.List(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if !hidden(e.Name) {
			got = append(got, e.Name)
		}
	}
	if want := slices.Sorted(slices.Values(oddNames)); !slices.Equal(got, want) {
		t.Errorf("the root lists\n%q, want\n%q", got, want)
	}
}

// B2: of twenty jobs that publish one version one wins, the others are told.
func race(t *testing.T, s Store) {
	ctx := context.Background()
	table := NewTable(s, "t")
	for round := range 10 {
		base, err := table.Snapshot(ctx, Latest)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		errs := make([]error, 20)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = table.Commit(ctx, base, Change{Operation: "WRITE", Info: fmt.Sprint("job ", i)})
			})
		}
		wg.Wait()
		won := slices.Index(errs, nil)
		for i, err := range errs {
			if (i == won) != (err == nil) || err != nil && !errors.Is(err, ErrConflict) {
				t.Errorf("B2: round %d, job %d: %v", round, i, err)
			}
		}
		now, err := table.Snapshot(ctx, Latest)
		if err != nil || now.Version != base.Version+1 || string(now.Info) != fmt.Sprintf("%q", fmt.Sprint("job ", won)) {
			t.Fatalf("B2: version %d, %s, the winner is job %d, %v", now.Version, now.Info, won, err)
		}
	}
}
