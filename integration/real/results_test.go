//go:build real

package real

import (
	"fmt"
	"strings"
	"sync"
)

// result is what a test has to tell.
type result struct {
	Test     string
	Evidence []string // that the fault happened
	Figures  []string
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
	x.result.Evidence = append(x.result.Evidence, fmt.Sprintf("%s: %d", what, n))
}

// figure notes a number that is worth telling.
func (x *rig) figure(what string, n int64) {
	x.result.Figures = append(x.result.Figures, fmt.Sprintf("%s: %d", what, n))
}

// report hands in what a test that passed has to tell.
func (x *rig) report() {
	if x.Failed() || x.Skipped() {
		return
	}
	x.Logf("%s | %s", strings.Join(x.result.Evidence, ", "), strings.Join(x.result.Figures, ", "))
	shared.figures.mu.Lock()
	defer shared.figures.mu.Unlock()
	shared.figures.list = append(shared.figures.list, x.result)
}

func (r *results) write(string) error { return nil }
