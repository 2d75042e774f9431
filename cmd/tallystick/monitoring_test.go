package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"gopkg.in/yaml.v3"

	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/stream"
)

// exported is what the daemons export: names, types and labels as Prometheus
// gathers them, each with a value of every kind.
func exported(t *testing.T) map[string]string {
	t.Helper()
	m := newMonitor(nil)
	m.views["v"] = &watched{}
	m.watch("v", standing{list: []stream.PartitionStatus{{Stored: 1, Clock: 1, Newest: 1}}, last: time.Now()}, new(viewGuard))
	m.flushed("v")(stream.Flushed{})
	m.servers = []online.Server{{Addr: "a:1", Policy: "noeviction"}}
	r := newRoundsMonitor()
	r.reported([]*reconcile.Report{{View: "v"}})
	r.ended(nil, time.Second)
	defer (&memoryFlag{memory: leastMemory}).bound(ownProcess(t.Context()))()
	out := map[string]string{}
	for _, g := range []prometheus.Gatherer{m.registry(), r.registry} {
		families, err := g.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			var labels []string
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			slices.Sort(labels)
			out[f.GetName()] = strings.ToLower(f.GetType().String()) + "|" + strings.Join(labels, ", ")
		}
	}
	return out
}

// docs/operations.md has a row for every metric of ours: type, labels, in this
// order; and none for what there is not. Their names are as Prometheus has them.
func TestDocsMetrics(t *testing.T) {
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(tallystick_[a-z_]+)` \\| ([a-z]+) \\| (.*?) \\| .+ \\|$").FindAllStringSubmatch(readRepository(t, "docs/operations.md"), -1) {
		documented[m[1]] = m[2] + "|" + m[3]
	}
	for name, kind := range exported(t) {
		if !strings.HasPrefix(name, "tallystick_") {
			continue
		}
		if documented[name] != kind {
			t.Errorf("%s is %s, the page says %q", name, kind, documented[name])
		}
		delete(documented, name)
		if total := strings.HasSuffix(name, "_total"); total != strings.HasPrefix(kind, "counter|") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
	for name := range documented {
		t.Errorf("there is no %s", name)
	}
}

var metricName = regexp.MustCompile(`\b(tallystick|process|go|redis|kafka)_[a-z_]+\b`)

// checkExpression: an expression asks for what is exported, by labels that it has.
func checkExpression(t *testing.T, where, expr string, known map[string]string) {
	t.Helper()
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 && !strings.Contains(expr, "up{") {
		t.Errorf("%s asks for no metric: %s", where, expr)
	}
	for _, n := range names {
		base := strings.TrimSuffix(n, "_bucket")
		if _, ok := known[base]; !ok {
			t.Errorf("%s: nobody exports %s", where, n)
		}
		if n != base && !strings.HasPrefix(known[base], "histogram|") {
			t.Errorf("%s: %s is no histogram", where, base)
		}
		counter := strings.HasPrefix(known[base], "counter|")
		if over := regexp.MustCompile(`(?:rate|increase)\(` + n + `\b`).MatchString(expr); over != (counter || n != base) && base != "tallystick_stream_stored_offset" {
			t.Errorf("%s: %s is a %s, as of %q", where, n, known[base], expr)
		}
	}
	for _, m := range regexp.MustCompile(`(\w+)\{([^}]*)\}`).FindAllStringSubmatch(expr, -1) {
		for _, l := range regexp.MustCompile(`(\w+)(?:=~|=|!=)"`).FindAllStringSubmatch(m[2], -1) {
			_, labels, _ := strings.Cut(known[strings.TrimSuffix(m[1], "_bucket")], "|")
			if l[1] != "job" && !slices.Contains(strings.Split(labels, ", "), l[1]) {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: brackets in %s", where, expr)
	}
}

// Every rule asks for what is exported, has a severity and a summary, and a row in
// docs/operations.md; every metric of ours that tells of harm is in a rule.
func TestPrometheusRules(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(readRepository(t, "deploy/prometheus/rules.yml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	known, page := exported(t), readRepository(t, "docs/operations.md")
	all, seen := "", map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			checkExpression(t, r.Alert, r.Expr, known)
			all += r.Expr + "\n"
			if s := r.Labels["severity"]; seen[r.Alert] || r.Annotations["summary"] == "" || s != "page" && s != "ticket" || !strings.Contains(page, fmt.Sprintf("\n| `%s` | %s | ", r.Alert, s)) {
				t.Errorf("%s (%s) twice, without a summary or not in docs/operations.md", r.Alert, s)
			}
			if _, err := time.ParseDuration(r.For + "0s"); err != nil {
				t.Errorf("%s: for: %s", r.Alert, r.For)
			}
			seen[r.Alert] = true
		}
	}
	for _, n := range regexp.MustCompile("(?m)^\\| `(Tallystick[A-Za-z]+)` \\|").FindAllStringSubmatch(page, -1) {
		if !seen[n[1]] {
			t.Errorf("docs/operations.md tells of %s, which there is not", n[1])
		}
	}
	for _, n := range []string{"lag_records", "conflicts", "regressions_total", "records", "flush_duration_seconds"} {
		if !strings.Contains(all, "tallystick_stream_"+n) {
			t.Errorf("no rule looks at %s", n)
		}
	}
}

// Every panel of the dashboard asks for what is exported, and all that is ours is
// shown somewhere.
func TestGrafanaDashboard(t *testing.T) {
	var d struct {
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			Datasource  struct{ UID string }
			Targets     []struct{ Expr string }
			GridPos     struct{ X, Y, W, H int }
		}
	}
	text := readRepository(t, "deploy/grafana/dashboards/tallystick.json")
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	known, ids := exported(t), map[int]bool{}
	source := readRepository(t, "deploy/grafana/provisioning/datasources/prometheus.yml")
	for _, p := range d.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %s: id %d, at %+v", p.Title, p.ID, p.GridPos)
		}
		ids[p.ID] = true
		if p.Type != "row" && (len(p.Targets) == 0 || !strings.Contains(source, "uid: "+p.Datasource.UID+",")) {
			t.Errorf("panel %s asks %q for %d things", p.Title, p.Datasource.UID, len(p.Targets))
		}
		for _, q := range p.Targets {
			checkExpression(t, "panel "+p.Title, q.Expr, known)
		}
	}
	for name := range maps.Keys(known) {
		if strings.HasPrefix(name, "tallystick_") && !strings.Contains(text, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
	if !strings.Contains(readRepository(t, "docs/operations.md"), "/d/"+d.UID) {
		t.Errorf("docs/operations.md does not say where the dashboard %s is", d.UID)
	}
}

// What Prometheus and Grafana are told to read is mounted there, and whom
// Prometheus asks is a service that listens.
func TestMonitoringConfiguration(t *testing.T) {
	services := loadCompose(t).Services
	var config struct {
		Global    map[string]time.Duration
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			Job    string                       `yaml:"job_name"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(readRepository(t, "deploy/prometheus/prometheus.yml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&config); err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, s := range config.Scrape {
		name, port, _ := strings.Cut(s.Static[0].Targets[0], ":")
		asked[name] = true
		if s.Job != "tallystick-"+name || parsed(t, services[name].Command).Flag("listen").Value.String() != ":"+port {
			t.Errorf("job %s asks %s at %s", s.Job, name, port)
		}
	}
	for name, s := range services {
		if s.Image == ours && s.Restart != "no" && !asked[name] { // what ends by itself is not asked
			t.Errorf("nobody asks %s", name)
		}
	}
	prometheus, grafana := services["prometheus"], services["grafana"]
	for _, f := range []struct {
		s    composeService
		path string
	}{{prometheus, "/etc/prometheus/prometheus.yml"}, {prometheus, path.Join("/etc/prometheus", config.RuleFiles[0])},
		{grafana, "/etc/grafana/dashboards/tallystick.json"}, {grafana, "/etc/grafana/provisioning/datasources/prometheus.yml"}, {grafana, "/etc/grafana/provisioning/dashboards/tallystick.yml"}} {
		host, _ := f.s.mounted(strings.TrimSuffix(f.path, ":ro"))
		if _, err := os.Stat(filepath.Join(repository, host)); host == "" || err != nil {
			t.Errorf("%s is not mounted: %q %v", f.path, host, err)
		}
	}
	if !strings.Contains(readRepository(t, "deploy/grafana/provisioning/dashboards/tallystick.yml"), "path: /etc/grafana/dashboards}") {
		t.Error("Grafana does not look where the dashboard is mounted")
	}
	// Nothing there is an address outside.
	err := fs.WalkDir(os.DirFS(filepath.Join(repository, "deploy")), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		for _, url := range regexp.MustCompile(`https?://[^"\s]+`).FindAllString(readRepository(t, path.Join("deploy", name)), -1) {
			if url != "http://prometheus:9090" {
				t.Errorf("%s names %s", name, url)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
