package main

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// repository is where this package's tests find the repository.
const repository = "../.."

// composeFile is docker-compose.yml, as far as it is held.
type composeFile struct {
	Services map[string]composeService
	Volumes  map[string]any
}

type composeService struct {
	Image, Build, Restart string
	WorkingDir            string `yaml:"working_dir"`
	ReadOnly              bool   `yaml:"read_only"`
	Command, Ports        []string
	Profiles              []string
	Healthcheck           struct{ Test []string }
	Volumes               []string
	Environment           map[string]string
	DependsOn             map[string]struct{ Condition string } `yaml:"depends_on"`
}

// ours is the image of this program.
const ours = "tallystick:dev"

func loadCompose(t *testing.T) composeFile {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var f composeFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// The services are the whole of the project, begin in the order in which they
// need each other, and no port is reached from outside the machine.
func TestCompose(t *testing.T) {
	f := loadCompose(t)
	for name, s := range f.Services {
		for _, p := range s.Ports {
			if !regexp.MustCompile(`^127\.0\.0\.1:\d+:\d+$`).MatchString(p) {
				t.Errorf("%s: port %s is not published on 127.0.0.1 alone", name, p)
			}
		}
		once := name == "fill" || slices.Equal(s.Profiles, []string{"replay"})
		if want := map[bool]string{true: "no", false: "unless-stopped"}[once]; s.Restart != want {
			t.Errorf("%s: restart: %q, want %q", name, s.Restart, want)
		}
		for on, d := range s.DependsOn {
			want := "service_healthy"
			switch {
			case on == "fill", strings.HasPrefix(on, "replay-"):
				want = "service_completed_successfully"
			case on == "prometheus":
				want = "service_started"
			}
			if _, ok := f.Services[on]; !ok || d.Condition != want {
				t.Errorf("%s depends on %s: %s, want %s", name, on, d.Condition, want)
			}
		}
	}
	for name, needs := range map[string][]string{"kafka": nil, "redis": nil, "fill": {"kafka"}, "stream": {"fill", "redis"}, "replay": {"fill"}, "reconcile": {"fill", "redis"}, "prometheus": nil, "grafana": {"prometheus"},
		"replay-plan": {"fill"}, "replay-0": {"replay-plan"}, "replay-1": {"replay-plan"}, "replay-2": {"replay-plan"}, "replay-3": {"replay-plan"},
		"replay-publish": {"replay-0", "replay-1", "replay-2", "replay-3"}} {
		s, ok := f.Services[name]
		if on := slices.Sorted(maps.Keys(s.DependsOn)); !ok || !slices.Equal(on, needs) {
			t.Errorf("%s: there %v, depends on %v, want %v", name, ok, on, needs)
		}
		var profiles []string // make up needs no image but Kafka's and Redis', and replays by itself
		switch {
		case name == "prometheus" || name == "grafana":
			profiles = []string{"monitoring"}
		case strings.HasPrefix(name, "replay-"):
			profiles = []string{"replay"}
		}
		if !slices.Equal(s.Profiles, profiles) {
			t.Errorf("%s: profiles %v", name, s.Profiles)
		}
		if server := needs == nil || name == "grafana"; server != strings.HasPrefix(s.Image, "${"+strings.ToUpper(name)+"_IMAGE:-") || server == (s.Image == ours) {
			t.Errorf("%s: image %s", name, s.Image)
		}
	}
	if n := len(f.Services); n != 14 {
		t.Errorf("%d services", n)
	}
	if f.Services["fill"].Build != "." {
		t.Errorf("fill, which all wait for, does not build %s", ours)
	}
	redis := strings.Join(f.Services["redis"].Command, " ")
	for _, want := range []string{"--maxmemory-policy noeviction", "--appendonly yes"} {
		if !strings.Contains(redis, want) {
			t.Errorf("redis: %q does not say %s", redis, want)
		}
	}
}

// Every command line of the services is one of ours, and what it names is
// mounted: its input is in the repository, its output can be written and is what
// make down removes.
func TestComposeCommands(t *testing.T) {
	f := loadCompose(t)
	listeners := f.Services["kafka"].Environment["KAFKA_ADVERTISED_LISTENERS"] + ","
	written := map[string]bool{"replay --out": true, "replay --spill-dir": true, "reconcile --html": true}
	for name := range f.Services { // all parts of a replay see one directory
		if strings.HasPrefix(name, "replay-") {
			written[name+" --out"] = true
			if name != "replay-plan" {
				written[name+" --spill-dir"] = true
			}
		}
	}
	for name, s := range f.Services {
		if s.Image != ours {
			continue
		}
		if b := s.Environment["TALLYSTICK_BROKERS"]; b == "" || !strings.Contains(listeners, "://"+b+",") {
			t.Errorf("%s: brokers %q, Kafka tells %s", name, b, listeners)
		}
		if r := s.Environment["TALLYSTICK_REDIS"]; r != "redis:6379" {
			t.Errorf("%s: Redis %q", name, r)
		}
		cmd := parsed(t, s.Command)
		runs := strings.ReplaceAll(name, "-", " ")
		if strings.ContainsAny(name, "0123456789") { // a share of a replay
			runs = "replay run"
		}
		if named(cmd) != runs {
			t.Errorf("%s runs %s", name, named(cmd))
		}
		check := func(fl *pflag.Flag) {
			if !slices.Contains([]string{"file", "out", "html", "spill-dir"}, fl.Name) {
				return
			}
			value, flag := fl.Value.String(), name+" --"+fl.Name
			if !path.IsAbs(value) {
				value = path.Join(s.WorkingDir, value)
			}
			host, writable := s.mounted(value)
			if writable != written[flag] {
				t.Errorf("%s %s: mounted from %q, writable %v", flag, value, host, writable)
			}
			delete(written, flag)
			if fl.Name != "file" {
				if !strings.HasPrefix(host, "./tallystick-compose/") {
					t.Errorf("%s %s is mounted from %q, which make down does not remove", flag, value, host)
				}
			} else if _, err := os.Stat(filepath.Join(repository, host)); host == "" || err != nil {
				t.Errorf("%s: the definition %s is not mounted: %v", name, value, err)
			}
		}
		cmd.Flags().Visit(check) // those given
		check(cmd.Flags().Lookup("file"))
	}
	if len(written) > 0 {
		t.Errorf("not seen: %v", written)
	}
}

// The profile replay is the contract of examples/k8s: a plan, each share of it once, a
// publication, all of one plan and one place that all see.
func TestComposeReplay(t *testing.T) {
	shares := map[string]bool{}
	for name, s := range loadCompose(t).Services {
		if !strings.HasPrefix(name, "replay-") {
			continue
		}
		cmd := parsed(t, s.Command)
		plan := cmd.Flag("plan")
		if plan == nil {
			plan = cmd.Flag("output")
		}
		out := cmd.Flag("out").Value.String()
		host, writable := s.mounted(plan.Value.String())
		if out != "/parts/tables" || host != "./tallystick-compose/parts/plan.json" || !writable {
			t.Errorf("%s: --out %s, the plan is %s, writable %v", name, out, host, writable)
		}
		if named(cmd) == "replay run" {
			unit := cmd.Flag("unit").Value.String()
			shares[unit] = true
			if _, of, err := parseShare(unit); err != nil || of != 4 || name != "replay-"+unit[:1] {
				t.Errorf("%s: --unit %s: %v", name, unit, err)
			}
		}
	}
	if len(shares) != 4 {
		t.Errorf("shares %v", shares)
	}
}

// Who is asked for his health listens where he is asked.
func TestComposeHealth(t *testing.T) {
	f := loadCompose(t)
	for name, s := range f.Services {
		if s.Image == ours && s.Restart != "no" && parsed(t, s.Command).Flag("listen").Value.String() != ":9464" {
			t.Errorf("%s does not listen at :9464, where prometheus.yml asks", name)
		}
	}
	test := f.Services["stream"].Healthcheck.Test
	if len(test) < 2 || test[0] != "CMD" || !strings.Contains(readRepository(t, "Dockerfile"), " "+test[1]+"\n") {
		t.Fatalf("%v is no probe that the image holds", test)
	}
	if cmd := parsed(t, test[2:]); cmd.Name() != "health" || listenExample != "127.0.0.1:9464" {
		t.Errorf("the probe is %v, of %s", test, listenExample)
	}
}

func readRepository(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mounted returns where a path in the container lies in the repository, "" if
// nowhere, and whether it can be written.
func (s *composeService) mounted(name string) (host string, writable bool) {
	for _, v := range s.Volumes {
		f := strings.Split(v, ":")
		rest, ok := strings.CutPrefix(name, f[1])
		if ok && (rest == "" || rest[0] == '/') {
			return f[0] + rest, len(f) == 2
		}
	}
	return "", false
}

// parsed reads a command line as the program does and connects to nothing.
func parsed(t *testing.T, args []string) *cobra.Command {
	t.Helper()
	cmd, rest, err := newRoot().Find(args)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Fatalf("tallystick %s: %v", strings.Join(args, " "), err)
	}
	return cmd
}

// What make up and docs/compose.md tell to type is a command of ours, and the
// files that it names are there; make up makes the directories that are mounted
// and the binary that is copied.
func TestComposeWords(t *testing.T) {
	read := func(name string) string { return readRepository(t, name) }
	makefile := read("Makefile")
	_, up, _ := strings.Cut(makefile, "\nup:\n")
	up, _, _ = strings.Cut(up, "\n\n")
	typed := regexp.MustCompile(`go run \./cmd/tallystick ([^'\n]+)`)
	for name, text := range map[string]string{"make up": up, "docs/compose.md": read("docs/compose.md")} {
		lines := typed.FindAllStringSubmatch(text, -1)
		if len(lines) == 0 {
			t.Errorf("%s tells no command", name)
		}
		for _, line := range lines {
			cmd := parsed(t, strings.Fields(line[1]))
			if _, err := os.Stat(filepath.Join(repository, cmd.Flag("file").Value.String())); err != nil {
				t.Errorf("%s: %s: %v", name, line[0], err)
			}
		}
	}
	for name, s := range loadCompose(t).Services {
		for _, v := range s.Volumes {
			dir := strings.TrimPrefix(strings.Split(v, ":")[0], "./")
			if strings.HasPrefix(dir, "tallystick-") && !slices.Contains(strings.Fields(up), dir) {
				t.Errorf("%s: make up does not make %s", name, dir)
			}
		}
	}
	docker := read("Dockerfile")
	for _, want := range []string{"FROM scratch\n", "COPY bin/linux/tallystick "} {
		if !strings.Contains(docker, want) || strings.Count(docker, want[:5]) != 1 {
			t.Errorf("the Dockerfile does not say %s once", want)
		}
	}
	for name, want := range map[string]string{"Makefile": "-o bin/linux/tallystick ", ".dockerignore": "!bin/linux/tallystick\n", ".gitignore": "/tallystick-compose/\n"} {
		if !strings.Contains(read(name), want) {
			t.Errorf("%s does not say %s", name, want)
		}
	}
}
