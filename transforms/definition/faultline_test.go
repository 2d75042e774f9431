package definition

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A fault of YAML is told at the line that spoils the file, wherever it stands
// and whatever stands around it (V12: what is wrong, and where).
func TestFaultLine(t *testing.T) {
	const flow = "    list: [1,\n      2,\n      3]\n"
	before := []string{"", "# a comment\n\n", "z:\n  y:\n" + flow + "    text: \"one\n      two\"\n", strings.Repeat("# line\n", 300) + strings.Repeat("w:\n", 1)}
	for _, c := range []struct {
		text string
		line int // of text
	}{
		{"a:\n  b:\n    c: 1\n   d: 2\n    e: 3\n", 4},
		{"a:\n  b:\n    c: 1\n     d: 2\n", 4},
		{"a:\n  b:\n    c: 1\n    d\n    e: 3\n", 4},
		{"a:\n  b: 1\n- c\n", 3},
		{"a:\n  b: 1\n\tc: 2\n", 3},
		{"a:\n" + flow + "   c: 2\n", 5},
		{"a:\n  b: [1, 2\n  c: 2\n", 2},
		{"a:\n  b: [1, 2]]\n  c: 2\n", 2},
		{"a:\n  b: 'it's'\n  c: 2\n", 2},
		{"a:\n  b: \"it\n  c: 2\n", 2},
		{"a:\n  b: *\n", 2},
	} {
		for i, head := range before {
			_, err := Parse("f.yaml", []byte(head+c.text), read)
			var faults *Errors
			want := fmt.Sprintf("f.yaml:%d:1: this is not YAML", strings.Count(head, "\n")+c.line)
			if !errors.As(err, &faults) || len(faults.List) != 1 || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("after %d, %q:\n got %v\nwant %s", i, c.text, err, want)
			}
		}
	}
}
