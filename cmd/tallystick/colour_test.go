package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// Verdicts are coloured on a terminal, and what else is printed stays as it is;
// files and pipes get no colours.
func TestColours(t *testing.T) {
	var b strings.Builder
	w := painter{&b}
	for _, line := range []string{"view v\n", "equal, to the bit: 3 tiles\n", "DIFFERS in 2 places\n", `{"verdict": "equal"}` + "\n", "equal, to the bit"} {
		if n, err := io.WriteString(w, line); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	want := "view v\n\x1b[32mequal, to the bit: 3 tiles\x1b[0m\n\x1b[31mDIFFERS in 2 places\x1b[0m\n{\"verdict\": \"equal\"}\nequal, to the bit"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if coloured(f) != io.Writer(f) || coloured(&b) != io.Writer(&b) {
		t.Error("colours go where nobody sees them")
	}
}
