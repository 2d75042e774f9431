package definition

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the expected messages of testdata/malformed.txt")

const base = `sources:
  flights:
    schema: schemas/flight.v2.avsc
    event_time: event_time
views:
  v:
    source: flights
    entity: {dest: string}
    features:
      n: {count: "*", over: 24h}
`

// TestMalformed runs testdata/malformed.txt. Its cases are separated by blank
// lines: a comment, then the line of base to replace (`*` = all of it), `=>`,
// what stands in its place, `----`, and the exact messages.
func TestMalformed(t *testing.T) {
	const file = "testdata/malformed.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("f.yaml", []byte(base), read); err != nil {
		t.Fatalf("the base itself: %v", err)
	}
	var out []string
	cases := strings.Split(strings.TrimSpace(string(text)), "\n\n")
	for _, c := range cases {
		spec, _, _ := strings.Cut(c, "\n----\n")
		def, want := malformed(t, c)
		got := "it is accepted"
		if _, err := Parse("f.yaml", []byte(def), read); err != nil {
			got = strings.TrimSpace(err.Error())
		}
		if got != want && !*rewrite || got == "it is accepted" {
			t.Errorf("%s\n got: %s\nwant: %s", spec, got, want)
		}
		out = append(out, spec+"\n----\n"+got)
	}
	if len(cases) < 60 {
		t.Errorf("only %d cases", len(cases))
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n\n")+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// malformed returns the definition of a case and the messages that it is to give.
func malformed(t *testing.T, c string) (def, want string) {
	t.Helper()
	spec, want, _ := strings.Cut(c, "\n----\n")
	comment, body, _ := strings.Cut(spec, "\n")
	old, with, ok := strings.Cut(body, "\n=>\n")
	if !ok {
		t.Fatalf("not a case: %q", c)
	}
	if def = with; old != "*" {
		if !strings.Contains(base, old+"\n") {
			t.Fatalf("%s: base has no line %q", comment, old)
		}
		def = strings.Replace(base, old+"\n", with+"\n", 1)
	}
	return unescape(def), want
}

// unescape spells what a line-based file cannot hold.
func unescape(s string) string {
	s = strings.ReplaceAll(s, "<empty>", "")
	s = strings.ReplaceAll(s, "<tab>", "\t")
	return strings.ReplaceAll(s, "<long>", strings.Repeat("x", 120))
}
