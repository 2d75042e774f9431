//go:build real

// Command bench measures the program against the least that any program would
// take, on real servers of this machine (integration/servers says where they come
// from). It prints ratios of processor time, which hold between machines, and ends
// with a line `ratio N`.
//
//	go run -tags real ./integration/bench stream
//	go run -tags real ./integration/bench replay
//	go run -tags real ./integration/bench daily
//	go run -tags real ./integration/bench train
//	go run -tags real ./integration/bench profile    # cmd/tallystick/release.pgo anew
//	go run -tags real ./integration/bench ceilings
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tallystick/tallystick/integration/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("name what to measure: stream, replay, daily, train or ceilings")
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	b := bench{build: []string{"-pgo", releaseProfile}}
	f.IntVar(&b.events, "events", allEvents, "catch up with the first `N` events of the workload")
	f.IntVar(&b.identified, "identified", allEvents/5, "likewise the view with ids, `N` events")
	f.IntVar(&b.labels, "labels", 0, "train with `N` labels (default: a tenth of the events)")
	f.IntVar(&b.runs, "runs", 3, "measure `N` times and print the median")
	given := "1GB"
	switch args[0] {
	case "replay", "daily":
		given = replayMemory
	case "train":
		given = trainMemory
	}
	f.StringVar(&b.memory, "memory", given, "what the program is given")
	f.DurationVar(&b.live, "live", time.Minute, "produce live events for so long")
	f.IntVar(&b.rate, "rate", 20_000, "of them `N` a second")
	f.StringVar(&b.scenarios, "scenario", "hourly,hot,"+limitsScenario, "of ceilings: hourly, hot, limits, large, several with commas between them")
	f.StringVar(&b.more, "with", "", "of ceilings: further `FLAGS` of the replays under a ceiling of memory, such as --parallel=8")
	load := workload{}
	f.IntVar(&load.users, "users", users, "produce events of `N` users")
	f.BoolVar(&load.hot, "hot", false, "half of what is produced is one user's")
	broker, from, out := f.String("broker", "", ""), f.String("topic", topic, ""), f.String("out", "", "") // of the floors' processes
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if b.labels == 0 {
		b.labels = b.events / 10
	}
	switch args[0] {
	case "floor":
		return floor(ctx, *broker, *from, b.events)
	case "produce":
		load.events = b.events
		return produce(ctx, *broker, *from, load)
	case "copy":
		return copyTopic(ctx, *broker, *from, *out, b.events)
	case "stream":
		return b.stream(ctx)
	case "replay":
		return b.replay(ctx)
	case "daily":
		return b.daily(ctx)
	case "train":
		return b.train(ctx)
	case "ceilings":
		return b.ceilings(ctx)
	case "profile":
		return b.profile(ctx)
	}
	return fmt.Errorf("%q cannot be measured: name stream, replay, daily, train or ceilings", args[0])
}

// bench is what is measured, and with what.
type bench struct {
	events, identified int
	labels             int
	runs, rate         int
	memory             string
	scenarios, more    string // of ceilings
	live               time.Duration

	build  []string // flags, as of a release
	dir    string   // scratch
	binary string   // the program
	broker string
	redis  []string // flags
}

const (
	topic      = "purchases"
	firstTopic = "purchases-first" // for the view with ids
	liveTopic  = "purchases-live"
	project    = "integration/bench/project/tallystick.yaml"
)

// prepare makes the program from the sources in the working directory, starts a
// Kafka and prints what is measured. What it has begun, end ends.
func (b *bench) prepare(ctx context.Context) (end func(), err error) {
	if b.dir, err = os.MkdirTemp("", "tallystick-bench-"); err != nil {
		return nil, err
	}
	end = func() { os.RemoveAll(b.dir) }
	defer func() {
		if err != nil {
			end()
		}
	}()
	b.binary = filepath.Join(b.dir, "tallystick")
	if _, err := output(exec.CommandContext(ctx, "go", append(append([]string{"build"}, b.build...), "-o", b.binary, "./cmd/tallystick")...)); err != nil {
		return nil, err
	}
	commit, err := output(exec.CommandContext(ctx, "git", "describe", "--always", "--dirty"))
	if err != nil {
		return nil, err
	}
	kafka, err := servers.StartKafka(ctx, servers.KafkaOptions{Nodes: 1})
	if err != nil {
		return nil, err
	}
	b.broker = kafka.Brokers[0]
	fmt.Printf("commit %s, %d events, %s\n", strings.TrimSpace(commit), b.events, b.memory)
	return func() {
		kafka.Close()
		os.RemoveAll(b.dir)
	}, nil
}

// usage is what a process took.
type usage struct {
	processor time.Duration // user and system
	wall      time.Duration
	peak      int64 // bytes of memory
}

// output runs a command and returns what it printed.
func output(cmd *exec.Cmd) (string, error) {
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, errs.String())
	}
	return string(out), nil
}

// measure runs a command to its end.
func measure(cmd *exec.Cmd) (u usage, err error) {
	begun := time.Now()
	if _, err = output(cmd); err != nil {
		return u, err
	}
	return used(cmd, time.Since(begun)), nil
}

func used(cmd *exec.Cmd, wall time.Duration) usage {
	u := usage{processor: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: wall}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = r.Maxrss << 10
	}
	return u
}

func median[T float64 | int64](xs []T) T {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}
