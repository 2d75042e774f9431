package integration

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
)

var (
	e2eSeeds = flag.Int("e2e", 5, "how many random projects the end-to-end judge runs")
	e2eFrom  = flag.Uint64("e2e-from", 1, "the first of their seeds")
	e2eKeep  = flag.String("e2e-keep", "", "directory that keeps the projects; those that fail are kept anyway")
)

// TestMain has the program go with the tests.
func TestMain(m *testing.M) {
	code := testbed.Run(m)
	if e2eDir != "" {
		os.RemoveAll(e2eDir)
	}
	os.Exit(code)
}

// e2eDir is where e2eBinary has put the program.
var e2eDir string

// e2eBinary builds the program once per run of the tests.
var e2eBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tallystick-e2e-")
	if err != nil {
		return "", err
	}
	e2eDir = dir
	path := filepath.Join(dir, "tallystick")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/tallystick")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

// e2eRig is Kafka and Redis inside this process, and the program beside it.
type e2eRig struct {
	*testing.T
	ctx     context.Context
	binary  string
	brokers string
	redis   string
	kafka   *log.Client
	plain   *kgo.Client
	txn     *kgo.Client
	cluster *kfake.Cluster
	server  *miniredis.Miniredis
}

func newE2ERig(t *testing.T) *e2eRig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	t.Cleanup(cancel)
	x := &e2eRig{T: t, ctx: ctx}
	var err error
	x.binary, err = e2eBinary()
	x.must(err)
	k := testbed.Kafka(t)
	x.brokers = strings.Join(k.ListenAddrs(), ",")
	x.kafka, err = log.Open(ctx, log.Options{Brokers: k.ListenAddrs(), Extra: testbed.KafkaOptions()})
	x.must(err)
	t.Cleanup(x.kafka.Close)
	x.plain, x.txn = testbed.Producer(t, k, ""), testbed.Producer(t, k, "e2e")
	x.cluster, x.server = k, testbed.Redis(t)
	x.redis = x.server.Addr()
	return x
}

func (x *e2eRig) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// ran is what a run of the program left.
type ran struct {
	code        int
	out, errout string
}

// run runs the program in a directory.
func (x *e2eRig) run(dir string, args ...string) ran {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, x.binary, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8", "TMPDIR=" + os.TempDir()} // V1: of no consequence
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		x.Fatalf("tallystick %v: %v", args, err)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
}

// produce appends a source's records in order: some within transactions, some of
// them given up. It fills in the offsets and the source's logs.
func (x *e2eRig) produce(r *rand.Rand, s *e2eSource, order []*e2eRecord) {
	x.Helper()
	x.must(x.kafka.EnsureTopic(x.ctx, s.topic, int32(s.parts), map[string]string{"message.timestamp.type": "CreateTime"}))
	for len(order) > 0 {
		n := 1
		for limit := 1 + r.IntN(30); n < len(order) && n < limit && order[n].aborted == order[0].aborted; n++ {
		}
		x.batch(s.topic, order[:n], order[0].aborted || r.IntN(3) == 0)
		order = order[n:]
	}
	s.logs = make([][]e2eRecord, s.parts)
}

func (x *e2eRig) batch(topic string, rs []*e2eRecord, txn bool) {
	x.Helper()
	c := x.plain
	if txn {
		c = x.txn
		x.must(c.BeginTransaction())
	}
	var ks []*kgo.Record
	for _, rec := range rs {
		k := &kgo.Record{Topic: topic, Partition: rec.partition, Value: rec.value, Timestamp: time.UnixMilli(rec.stampMS)}
		if rec.tick {
			k.Headers = []kgo.RecordHeader{{Key: schemas.TickHeader}}
		}
		ks = append(ks, k)
	}
	x.must(c.ProduceSync(x.ctx, ks...).FirstErr())
	for i, rec := range rs {
		rec.offset = ks[i].Offset
	}
	if txn {
		how := kgo.TryCommit
		if rs[0].aborted {
			how = kgo.TryAbort
		}
		x.must(c.EndTransaction(x.ctx, how))
	}
}
