//go:build real

package real

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/servers"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/transforms/definition"
)

// rig is one test's servers, topic, project and producer.
type rig struct {
	*testing.T
	ctx    context.Context
	dir    string
	topic  string
	binary string
	kafka  *servers.Kafka
	redis  *servers.Redis
	views  []*definition.View
	log    *log.Client
	online *online.Client

	producer *kgo.Client
	gens     map[int32]*generator
	seed     uint64
	step     time.Duration // of the generators
	begun    time.Time
	result   result
	// rewritten is a partition whose offsets have meant other records before.
	rewritten string
}

// setup says what a test needs; zero values mean the defaults.
type setup struct {
	fault      string         // what happens, in words
	kafka      *servers.Kafka // default: the shared one
	redis      *servers.Redis // default: one of the test's own
	partitions int32          // default 4
	records    int            // about as many are produced: they span three days; default 8,000
	periods    periods        // default hours
	topic      map[string]string
}

// createTime are the configurations of a topic with old timestamps of its
// producers, bounded as DESIGN §3 wants.
var createTime = map[string]string{"retention.ms": "-1", "message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "3600000"}

func newRig(t *testing.T, s setup) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	x := &rig{T: t, ctx: ctx, dir: t.TempDir(), topic: "ev." + strings.ToLower(strings.ReplaceAll(t.Name(), "/", ".")), kafka: s.kafka, redis: s.redis,
		gens: map[int32]*generator{}, seed: 1, begun: time.Now(), result: result{test: t.Name(), fault: s.fault}}
	var err error
	if x.kafka == nil {
		x.kafka, err = shared.kafka()
		servers.Check(t, err)
	}
	if x.redis == nil {
		x.redis, err = servers.StartRedis(ctx, true)
		servers.Check(t, err)
		t.Cleanup(x.redis.Close)
	}
	x.binary, err = shared.binary()
	x.must(err)
	x.connect()
	if s.topic == nil {
		s.topic = createTime
	}
	parts := cmp.Or(s.partitions, 4)
	x.step = 72 * time.Hour / time.Duration(cmp.Or(s.records, 8_000)/int(parts))
	x.addPartitions(0, parts)
	x.must(x.log.EnsureTopic(ctx, x.topic, int32(len(x.gens)), s.topic))
	x.views, err = writeProject(x.dir, x.topic, cmp.Or(s.periods, hours))
	x.must(err)
	x.result.redis = x.redisVersion()
	t.Cleanup(x.report)
	return x
}

// connect opens the test's own clients.
func (x *rig) connect() {
	x.Helper()
	var err error
	x.log, err = log.Open(x.ctx, log.Options{Brokers: x.kafka.Brokers, RetryFor: 2 * time.Minute, ConnectTimeout: 2 * time.Minute})
	x.must(err)
	x.Cleanup(x.log.Close)
	x.online, err = online.Open(x.ctx, online.Options{Addrs: x.redis.Addrs, Master: x.redis.Master, Cluster: x.redis.Cluster})
	x.must(err)
	x.Cleanup(x.online.Close)
	x.producer, err = x.kafka.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond))
	x.must(err)
	x.Cleanup(x.producer.Close)
}

// redisVersion tells which server it is, and its version.
func (x *rig) redisVersion() string {
	x.Helper()
	c := servers.Client(x.redis.Addrs[0])
	defer c.Close()
	text, err := c.Info(x.ctx, "server").Result()
	x.must(err)
	for _, kind := range []string{"Valkey", "Redis"} { // Valkey tells a version of Redis too
		_, rest, found := strings.Cut(text, "\n"+strings.ToLower(kind)+"_version:")
		if v, _, _ := strings.Cut(rest, "\r"); found {
			return kind + " " + v
		}
	}
	return "?"
}

// addPartitions adds generators for partitions [from, to).
func (x *rig) addPartitions(from, to int32) {
	for p := from; p < to; p++ {
		x.gens[p] = newGenerator(x.topic, p, x.seed, x.step)
	}
}

func (x *rig) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// until waits for a condition, five minutes at most.
func (x *rig) until(what string, f func() bool) {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, 5*time.Minute)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !f() {
		select {
		case <-ctx.Done():
			x.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-t.C:
		}
	}
}

// partitions of the producer, ascending.
func (x *rig) partitions() []int32 { return slices.Sorted(maps.Keys(x.gens)) }

// produce appends n records, round the partitions, and waits for them.
func (x *rig) produce(n int) {
	x.Helper()
	ps := x.partitions()
	rs := make([]*kgo.Record, n)
	for i := range rs {
		rs[i] = x.gens[ps[i%len(ps)]].next()
	}
	x.must(x.producer.ProduceSync(x.ctx, rs...).FirstErr())
}

// ran is what a run of the program left.
type ran struct {
	code        int
	out, errout string
}

func (x *rig) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, x.binary, args...)
	cmd.Dir = x.dir
	cmd.Env = []string{"HOME=" + x.dir, "TMPDIR=" + os.TempDir(), "TALLYSTICK_BROKERS=" + strings.Join(x.kafka.Brokers, ",")}
	return cmd
}

// run runs the program to its end.
func (x *rig) run(args ...string) ran {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, 5*time.Minute)
	defer cancel()
	cmd := x.command(ctx, args...)
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		x.Fatalf("tallystick %v: %v", args, err)
	}
	if ctx.Err() != nil {
		x.Fatalf("tallystick %v did not end: %s%s", args, out.String(), errout.String())
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
}

// ok runs the program, which has to succeed, and returns what it printed.
func (x *rig) ok(args ...string) string {
	x.Helper()
	r := x.run(args...)
	if r.code != 0 {
		x.Fatalf("tallystick %v ended with %d: %s%s", args, r.code, r.out, r.errout)
	}
	return r.out
}

// refused runs the program, which has to end with 1 and a message, of which the
// first words may be missing here, such as which partition it met first.
func (x *rig) refused(message string, args ...string) {
	x.Helper()
	r := x.run(args...)
	if r.code != 1 || !strings.Contains(r.errout, message+"\n") {
		x.Fatalf("tallystick %v ended with %d and says\n%s\nwant 1 and\n%s", args, r.code, r.errout, message)
	}
}

// stream are the arguments of `tallystick stream`.
func (x *rig) stream(more ...string) []string {
	return append(append([]string{"stream"}, x.redis.Flags()...), more...)
}

// view returns a view by its name.
func (x *rig) view(name string) *definition.View {
	x.Helper()
	for _, v := range x.views {
		if v.Name == name {
			return v
		}
	}
	x.Fatal(fmt.Errorf("no view %s", name))
	return nil
}
