//go:build real

package real

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/integration/servers"
	"github.com/tallystick/tallystick/integration/testbed"
)

var write = flag.Bool("write", false, "put the figures into docs/reliability.md")

// suite is what the tests share: the program, one Kafka that no test harms for
// long, and the figures.
type suite struct {
	dir     string
	binary  func() (string, error)
	kafka   func() (*servers.Kafka, error)
	started *servers.Kafka // nil until it is asked for
	commit  string         // that the tests run
	figures results
}

// shared is set by TestMain, which ends what it started.
var shared *suite

func TestMain(m *testing.M) {
	flag.Parse()
	testbed.CleanEnvironment()
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// quiet keeps go-redis from telling what it does: what fails fails a test.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func runSuite(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "tallystick-real-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	redis.SetLogger(quiet{})
	commit, err := commitOf()
	if err != nil && *write {
		return 1, err
	}
	s := &suite{dir: dir, commit: commit}
	s.binary = sync.OnceValues(s.build)
	s.kafka = sync.OnceValues(func() (*servers.Kafka, error) {
		k, err := servers.StartKafka(context.Background(), servers.KafkaOptions{Control: true})
		s.started = k
		return k, err
	})
	shared = s
	code := m.Run()
	if s.started != nil {
		s.started.Close()
	}
	if code == 0 && *write {
		return code, s.figures.write("../../docs/reliability.md", s.commit)
	}
	return code, nil
}

// build builds the program once.
func (s *suite) build() (string, error) {
	path := filepath.Join(s.dir, "tallystick")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/tallystick")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
}
