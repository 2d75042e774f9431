package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
)

// parts is a plan and the tables that processes write by it.
type parts struct {
	*testing.T
	common []string
	plan   string
	root   string
}

// start runs a part of the replay as a process of its own; what it says comes later.
func (p *parts) start(part string, more ...string) (wait func() (said string, ok bool)) {
	p.Helper()
	args := append(append([]string{"replay", part, "--plan", p.plan, "--out", p.root}, p.common...), more...)
	cmd := exec.CommandContext(p.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var said testbed.Heard
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	return func() (string, bool) {
		err := cmd.Wait()
		return said.String(), err == nil
	}
}

func (p *parts) ok(wait func() (string, bool), want string) {
	p.Helper()
	if said, ok := wait(); !ok || !strings.Contains(said, want) {
		p.Errorf("%v, want %q: %s", ok, want, said)
	}
}

func (p *parts) refused(wait func() (string, bool), want string) {
	p.Helper()
	if said, ok := wait(); ok || !strings.Contains(said, want) {
		p.Errorf("succeeded %v, want %q: %s", ok, want, said)
	}
}

// B4: processes that share a plan leave, once it is published, the files of one
// replay, to the byte: all of them, twice each, or with one that never comes. Nothing
// is published that is not whole, or of another build, definition or plan.
func TestReplayInParts(t *testing.T) {
	t.Parallel()
	definition, brokers := killedProject(t)
	dir := t.TempDir()
	k := &killed{T: t, root: filepath.Join(dir, "whole")}
	common := []string{"-f", definition, "--brokers", brokers}
	cut := filepath.Join(dir, "cut.json")
	k.program(append([]string{"cut", "-o", cut}, common...)...)
	k.program(append([]string{"replay", "--cut", cut, "--out", k.root}, common...)...)
	want := k.files()

	newParts := func(name string) *parts {
		p := &parts{T: t, common: common, plan: filepath.Join(dir, name+".json"), root: filepath.Join(dir, name)}
		k.program(append([]string{"replay", "plan", "--cut", cut, "--out", p.root, "-o", p.plan, "--unit-records", "700"}, common...)...)
		if _, err := os.Stat(p.root); err == nil {
			t.Error("a plan writes to the tables")
		}
		return p
	}
	same := func(p *parts) {
		t.Helper()
		k.root = p.root
		if got := k.files(); !maps.Equal(got, want) {
			t.Errorf("B4: %s: the files differ in %v", p.root, differing(got, want))
		}
	}

	p := newParts("all")
	p.refused(p.start("publish"), "is not finished: run `tallystick replay run`")
	var wg sync.WaitGroup
	for i := range 6 { // each share twice at once
		wg.Go(func() { p.ok(p.start("run", "--unit", fmt.Sprintf("%d/3", i%3)), "units were run") })
	}
	wg.Wait()
	p.ok(p.start("publish"), "feature rows")
	same(p)
	p.ok(p.start("publish"), "published already")
	p.ok(p.start("run", "--unit", "0/3"), "published already")
	same(p)

	p = newParts("alone")
	p.ok(p.start("run", "--unit", "1/3", "--unit-timeout", "500ms", "--unit-retries", "100"), "0 were finished before, 12000 records read, of 12000 offsets")
	p.ok(p.start("run", "--unit", "0/3"), "records read, of 12000 offsets; publish them with `tallystick replay publish`\ntables in "+p.root+"; ")
	p.ok(p.start("publish"), "feature rows")
	same(p)

	p = newParts("refused")
	p.refused(p.start("run"), "--unit: say which")
	for _, unit := range []string{"3/3", "-1/3", "1", "a/b", "0/0"} {
		p.refused(p.start("run", "--unit", unit), "is not I/N")
	}
	p.change("build", `"other"`, "is of another build (other)")
	p.change("views.fingerprint", `"0123"`, "is of another definition of view v")
	p.change("views.unit_records", "9", "was changed after it was written")
	p.change("views.unit_records", "0", "is not a plan")
	p.change("cut", "null", "is not a plan")
	p.change("surplus", "1", "is not a plan")
	p.change("views.units", "9", "was changed after it was written")
	p.change("views.continued", "true", "was changed after it was written")
	p.change("sum", `""`, "was changed after it was written")
	p.plan = ""
	p.refused(p.start("publish"), "--plan: its value is empty")
	if k.root = p.root; len(k.files()) > 0 {
		t.Error("what is refused writes")
	}
}

// change runs with a plan that is another one.
func (p *parts) change(field, value, want string) {
	p.Helper()
	b, err := os.ReadFile(p.plan)
	if err != nil {
		p.Fatal(err)
	}
	var plan map[string]any
	if err := json.Unmarshal(b, &plan); err != nil {
		p.Fatal(err)
	}
	at := plan
	if rest, ok := strings.CutPrefix(field, "views."); ok {
		at, field = plan["views"].([]any)[0].(map[string]any), rest
	}
	at[field] = json.RawMessage(value)
	if b, err = json.Marshal(plan); err != nil {
		p.Fatal(err)
	}
	other := *p
	other.plan = p.plan + "-other"
	if err := os.WriteFile(other.plan, b, 0o600); err != nil {
		p.Fatal(err)
	}
	p.refused(other.start("run", "--unit", "0/1"), want)
	p.refused(other.start("publish"), want)
}
