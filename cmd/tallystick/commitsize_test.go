package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// B3, B5: the ledger by day, which grows with each day that was ever read, stands in the
// commits of features alone: every reader of a table reads all its commits.
func TestDaysStandInFeaturesAlone(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(3, nil)
	g.replay(exitOK, "daily")
	info := func(version int) int {
		b, err := os.ReadFile(filepath.Join(g.dir, "daily", "v", "tiles", "_delta_log", fmt.Sprintf("%020d.json", version)))
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := bytes.Cut(b, []byte("\n"))
		return len(line)
	}
	var sizes []int
	for n := range 12 {
		g.days(1, nil)
		g.replay(exitOK, "daily", "--continue")
		sizes = append(sizes, info(n+1))
	}
	if first, last := sizes[0], sizes[len(sizes)-1]; last > first*3/2 {
		t.Errorf("B5: what daily commits of table tiles, of three partitions, say of the log takes bytes: %d", sizes)
	}
}
