package testbed

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// room is the free memory in bytes from which on temporary files go there.
const room = 4 << 30

// CleanEnvironment takes the addresses of servers out of the environment: who has set
// them as the README says would have the tests write to those servers. What says where
// the tests' own servers come from stays.
func CleanEnvironment() {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "TALLYSTICK_") &&
			!strings.HasPrefix(name, "TALLYSTICK_TEST_") && name != "TALLYSTICK_REAL" {
			os.Unsetenv(name)
		}
	}
}

// Run runs the tests of a package that make small heaps, or many small files, and
// returns its exit code. Temporary files are kept in memory where the system has a
// directory for that and there is room: creating one on a disk takes up to 1 ms, and
// a third of the tests' time. Programs that the tests start find the same directory,
// and collect garbage as they do elsewhere.
func Run(m *testing.M) int {
	CleanEnvironment()
	debug.SetGCPercent(400)
	if os.Getenv("TMPDIR") == "" && freeInMemory() >= room {
		if dir, err := os.MkdirTemp(memoryDir, "tallystick-tests-"); err == nil {
			defer os.RemoveAll(dir)
			os.Setenv("TMPDIR", dir)
		}
	}
	return m.Run()
}
