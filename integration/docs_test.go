package integration

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/schemas"
)

// document is a page of docs whose examples a test runs.
type document struct {
	*testing.T
	name, text string
}

func newDocument(t *testing.T, name string) *document {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return &document{t, name, string(text)}
}

// block returns the fenced block whose opening line ends in this, such as
// "json cut".
func (d *document) block(name string) string {
	d.Helper()
	_, rest, found := strings.Cut(d.text, "\n```"+name+"\n")
	body, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		d.Fatalf("%s has no block %q", d.name, name)
	}
	return body + "\n"
}

// table returns the rows of the table whose heading begins with these columns,
// without backquotes.
func (d *document) table(columns string) (rows [][]string) {
	d.Helper()
	_, rest, found := strings.Cut(d.text, "\n| "+columns)
	if !found {
		d.Fatalf("%s has no table %q", d.name, columns)
	}
	lines := strings.Split(rest, "\n")
	for _, line := range lines[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "`", "")
		}
		rows = append(rows, cells)
	}
	if len(rows) == 0 {
		d.Fatalf("%s: table %q has no rows", d.name, columns)
	}
	return rows
}

var pairs = regexp.MustCompile(`^([0-9a-f]{2})( [0-9a-f]{2})*( {2,}|$)`)

// bytes returns the bytes that stand in front of each line of a block.
func (d *document) bytes(name string) []byte {
	d.Helper()
	var b []byte
	for line := range strings.Lines(d.block(name)) {
		line = strings.TrimSuffix(line, "\n")
		digits := pairs.FindString(line)
		if digits == "" && line != "" {
			d.Fatalf("%s: block %q: no bytes in front of %q", d.name, name, line)
		}
		b = append(b, d.hex(digits)...)
	}
	return b
}

func (d *document) hex(digits string) []byte {
	d.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		d.Fatalf("%s: %q: %v", d.name, digits, err)
	}
	return b
}

// is compares what the page says with what there is.
func (d *document) is(what, says, there string) {
	d.Helper()
	if says != there {
		d.Errorf("docs/%s, %s: the page says\n%s\nbut there is\n%s", d.name, what, says, there)
	}
}

// isBytes is is for bytes.
func (d *document) isBytes(what string, says, there []byte) {
	d.Helper()
	d.is(what, strings.TrimSpace(spaced(says)), strings.TrimSpace(spaced(there)))
}

// spaced writes bytes as pairs of digits.
func spaced(b []byte) string {
	var s strings.Builder
	for i, c := range b {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(hex.EncodeToString([]byte{c}))
	}
	return s.String()
}

// instantOf reads `2026-01-01 10:05`, with seconds or without.
func (d *document) instantOf(text string) schemas.Micros {
	d.Helper()
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02 15:04:05.000000"} {
		if t, err := time.Parse(layout, text); err == nil {
			return schemas.Micros(t.UnixMicro())
		}
	}
	d.Fatalf("%s: %q is no instant", d.name, text)
	return 0
}
