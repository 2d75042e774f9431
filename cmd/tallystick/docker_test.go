//go:build docker

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDocker starts all of docker-compose.yml with make up, waits until the
// reconciler finds every view equal, reads a feature through the published port, has
// four processes share a replay, whose tables are those of the one that runs by itself,
// and stops it with make down, which leaves nothing. KAFKA_IMAGE, REDIS_IMAGE,
// COMPOSE and COMPOSE_FILE are those of the environment.
func TestDocker(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Fatalf("no Docker engine answers: start one, or name one in DOCKER_HOST (docker version: %v: %s)", err, strings.TrimSpace(string(out)))
	}
	if left := dockerLeft(t); left != "" {
		t.Fatalf("there already, and this test would remove it: make down first\n%s", left)
	}
	t.Cleanup(func() { // also after a failure; make down finds nothing to do after a success
		if t.Failed() {
			dockerLogs(t)
		}
		if out, err := dockerMake(context.Background(), "down"); err != nil {
			t.Errorf("make down: %v\n%s", err, out)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // images are downloaded at first
	defer cancel()
	if out, err := dockerMake(ctx, "up"); err != nil {
		t.Fatalf("make up: %v\n%s", err, out)
	}
	for page := ""; strings.Count(page, "Equal, to the bit") != 3; {
		select {
		case <-ctx.Done():
			t.Fatalf("no verdict of equality on all three views: %d bytes of report", len(page))
		case <-time.After(200 * time.Millisecond):
		}
		b, _ := os.ReadFile(filepath.Join(repository, "tallystick-compose", "report", "report.html"))
		page = string(b)
	}
	text, _ := tally(t, exitOK, "get", "-f", filepath.Join(repository, "examples/flights/tallystick.yaml"), "--redis", "127.0.0.1:6379",
		"--at", "2014-01-01T00:00:00Z", "--json", "dest_delays", "dest=SFO")
	var got getOutput
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range got.Features {
		found = found || f == gotFeature{"flights_7d", 135.0, "PRESENT"} // counted in flights.csv.gz
	}
	if !found {
		t.Errorf("no 135 flights to SFO in seven days: %s", text)
	}
	if out, err := dockerMake(ctx, "replay-parts"); err != nil {
		t.Fatalf("make replay-parts: %v\n%s", err, out)
	}
	shared, alone := dockerTables(t, "parts/tables"), dockerTables(t, "tables")
	if len(alone) < 1000 || !slices.Equal(shared, alone) { // a file's name says its bytes
		t.Errorf("B4: four processes leave %d files, one %d, and they differ", len(shared), len(alone))
	}
	if out, err := dockerMake(ctx, "down"); err != nil {
		t.Fatalf("make down: %v\n%s", err, out)
	}
	if left := dockerLeft(t); left != "" {
		t.Errorf("make down leaves\n%s", left)
	}
}

// dockerTables lists the files of tables that a replay has published.
func dockerTables(t *testing.T, dir string) []string {
	t.Helper()
	root := filepath.Join(repository, "tallystick-compose", dir)
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "_") {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".parquet") {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func dockerMake(ctx context.Context, target string) (string, error) {
	out, err := exec.CommandContext(ctx, "make", "-C", repository, target).CombinedOutput()
	return string(out), err
}

// dockerLeft lists what belongs to the project, "" for nothing.
func dockerLeft(t *testing.T) string {
	t.Helper()
	var left strings.Builder
	project := "label=com.docker.compose.project=" + cmp.Or(os.Getenv("COMPOSE_PROJECT_NAME"), "tallystick")
	for _, args := range [][]string{{"ps", "--all"}, {"volume", "ls"}, {"network", "ls"}} {
		out, err := exec.CommandContext(t.Context(), "docker", append(args, "--quiet", "--filter", project)...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %s: %v\n%s", args, err, out)
		}
		for id := range strings.FieldsSeq(string(out)) {
			left.WriteString("docker " + strings.Join(args, " ") + ": " + id + "\n")
		}
	}
	if _, err := os.Stat(filepath.Join(repository, "tallystick-compose")); err == nil {
		left.WriteString("the directory tallystick-compose\n")
	}
	return left.String()
}

// dockerLogs tells how the containers ended.
func dockerLogs(t *testing.T) {
	ctx := context.Background()
	project := "label=com.docker.compose.project=" + cmp.Or(os.Getenv("COMPOSE_PROJECT_NAME"), "tallystick")
	out, _ := exec.CommandContext(ctx, "docker", "ps", "--all", "--filter", project, "--format", "{{.Names}}").Output()
	for name := range strings.FieldsSeq(string(out)) {
		state, _ := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{json .State}}", name).Output()
		log, _ := exec.CommandContext(ctx, "docker", "logs", "--tail", "20", name).CombinedOutput()
		t.Logf("%s: %s%s", name, state, log)
	}
}
