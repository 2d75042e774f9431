//go:build real

package real

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/servers"
)

// result is what a test has to tell.
type result struct {
	test     string
	fault    string
	evidence []string // that the fault happened
	figures  []string
	took     time.Duration
	redis    string // which it is, and its version
}

// results are those of the tests that passed.
type results struct {
	mu   sync.Mutex
	list []result
}

// evidence notes that the fault happened n times; never is a failure.
func (x *rig) evidence(what string, n int64) {
	x.Helper()
	if n <= 0 {
		x.Errorf("the fault did not happen: %s: %d", what, n)
	}
	x.result.evidence = append(x.result.evidence, figure(what, n))
}

// figure notes a number that is worth telling.
func (x *rig) figure(what string, n int64) {
	x.result.figures = append(x.result.figures, figure(what, n))
}

func figure(what string, n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text + " " + what
}

// report hands in what a test that passed has to tell.
func (x *rig) report() {
	if x.Failed() || x.Skipped() {
		return
	}
	x.result.took = time.Since(x.begun)
	x.Logf("%s: %s | %s", x.result.fault, strings.Join(x.result.evidence, ", "), strings.Join(x.result.figures, ", "))
	shared.figures.mu.Lock()
	defer shared.figures.mu.Unlock()
	shared.figures.list = append(shared.figures.list, x.result)
}

// tableHead begins the table of docs/reliability.md; below it all is written here.
const tableHead = "| test | what happened | evidence | nothing differed in | s | commit |\n|---|---|---|---|---|---|\n"

// write puts the rows of this run into the page, in the place of older ones of the
// same tests.
func (r *results) write(path, commit string) error {
	if testing.Short() {
		return errors.New("-write goes without -short: the page has the full sizes")
	}
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, old, found := strings.Cut(string(page), tableHead)
	if !found {
		return fmt.Errorf("%s has no table", path)
	}
	rows, runs := map[string]string{}, map[string]string{} // runs by the kind of Redis
	old, last, _ := strings.Cut(old, "\n\n")
	for line := range strings.Lines(last) {
		kind, _, _ := strings.Cut(strings.TrimPrefix(line, "- "), " ")
		runs[kind] = strings.TrimSpace(line)
	}
	for line := range strings.Lines(old) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		rows[name] = strings.TrimSpace(line)
	}
	redis := ""
	for _, x := range r.list {
		if len(x.evidence) == 0 {
			continue // no fault
		}
		name := "`" + x.test + "`"
		if strings.HasPrefix(x.redis, "Valkey") {
			name += ", Valkey"
		}
		rows[name] = fmt.Sprintf("| %s | %s | %s | %s | %.0f | %s |", name, x.fault, strings.Join(x.evidence, "; "), strings.Join(x.figures, "; "), x.took.Seconds(), commit)
		redis = x.redis
	}
	var b strings.Builder
	b.WriteString(text + tableHead)
	for _, name := range sortedKeys(rows) {
		b.WriteString(rows[name] + "\n")
	}
	if kind, _, found := strings.Cut(redis, " "); found {
		runs[kind] = fmt.Sprintf("- %s, Kafka %s, %d processors, %s, last run %s", redis, servers.KafkaVersion(), runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	}
	b.WriteString("\n")
	for _, kind := range sortedKeys(runs) {
		b.WriteString(runs[kind] + "\n")
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// commitOf names the commit that runs, and that there is more than it.
func commitOf() (string, error) {
	out, err := exec.Command("git", "rev-parse", "--short=10", "HEAD").Output()
	if err != nil {
		return "", fmt.Errorf("git rev-parse: %w", err)
	}
	commit := strings.TrimSpace(string(out))
	changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no", "--", "../..", ":!../../docs/reliability.md").Output()
	if len(changed) > 0 {
		commit += " and changes"
	}
	return commit, err
}
