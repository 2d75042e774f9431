package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/transforms/definition"
)

// B4: units of two definitions never share a work area where their rows differ, also
// where their fingerprints are one. What no row depends on changes nothing.
func TestRulesOfRows(t *testing.T) {
	dir := t.TempDir()
	rules := func(text, schema, registry string) (rules, fingerprint string) {
		t.Helper()
		for name, text := range map[string]string{"ev.avsc": testbed.EventSchema, "w.avsc": schema, "d.yaml": strings.Replace(text, "1: ev.avsc", "1: w.avsc", 1)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		def, err := definition.Load(filepath.Join(dir, "d.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := (&common{registry: registry}).rulesOf(def.Views[0])
		if err != nil {
			t.Fatal(err)
		}
		return r, def.Views[0].Fingerprint
	}
	const text = testbed.EventDefinition
	replaced := func(old, new string) string {
		t.Helper()
		if strings.Count(text, old) != 1 {
			t.Fatalf("%q is not there once", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	was, print := rules(text, testbed.EventSchema, "")
	const s, l = "      s: {sum: amt, over: 24h}\n", "      l: {last: amt, over: lifetime}\n"
	for name, c := range map[string]struct{ text, schema, registry string }{
		"a feature's name":    {replaced("      s: {", "      t: {"), testbed.EventSchema, ""},
		"the order":           {replaced(s+l, l+s), testbed.EventSchema, ""},
		"close_idle":          {replaced("    lateness: 1h\n", "    lateness: 1h\n    close_idle: 30m\n"), testbed.EventSchema, ""},
		"a writer schema":     {text, strings.Replace(testbed.EventSchema, `"name":"amt"`, `"name":"sum"`, 1), ""},
		"another registry":    {text, testbed.EventSchema, "http://registry:8081"},
		"nothing but remarks": {"# a remark\n" + text, testbed.EventSchema, ""},
	} {
		now, p := rules(c.text, c.schema, c.registry)
		if want := strings.HasPrefix(name, "nothing"); (now == was) != want || p != print {
			t.Errorf("B4: with another %s the rules are the same: %v; the fingerprint: %v", name, now == was, p == print)
		}
	}
}
