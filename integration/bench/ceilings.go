//go:build real

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// scenario is a replay under a ceiling of memory.
type scenario struct {
	name   string
	view   string
	memory int64 // bytes
	workload
	scratch int64 // bytes of disk that Kafka, rows and tables take together, about
}

var scenarios = []scenario{
	{"hourly", "v1_hourly", 512e6, workload{allEvents, users, false}, 10e9},
	{"hot", "v1", 256e6, workload{allEvents, users, true}, 5e9},
	{"large", "v1", 1e9, workload{100_000_000, 5_000_000, false}, 30e9},
}

// limitsScenario is that of the other limits.
const limitsScenario = "limits"

// ceilings replays scenarios and fails where one of them passes what it was given.
func (b *bench) ceilings(ctx context.Context) error {
	end, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	var failed []error
	for _, name := range strings.Split(b.scenarios, ",") {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := b.scenario(ctx, name); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

func (b *bench) scenario(ctx context.Context, name string) error {
	if name == limitsScenario {
		return b.limits(ctx)
	}
	for _, s := range scenarios {
		if s.name == name {
			return b.ceiling(ctx, s)
		}
	}
	return errors.New("no such scenario: name hourly, hot, limits or large")
}

// ceiling replays one scenario.
func (b *bench) ceiling(ctx context.Context, s scenario) error {
	if b.events != allEvents { // a small one, to look at how it goes
		s.scratch = s.scratch * int64(b.events) / int64(s.events)
		s.events = b.events
	}
	if err := b.room(s.scratch); err != nil {
		return err
	}
	if err := b.filled(ctx, topic, s.workload); err != nil {
		return err
	}
	p, err := emptied(b.dir)
	if err != nil {
		return err
	}
	e, err := b.estimate(ctx, s.view, p, s.memory)
	if err != nil {
		return err
	}
	w, err := watchReplay(ctx, b.replayOf(ctx, s.view, p, s.memory, strings.Fields(b.more)...), p)
	if err == nil {
		err = w.must()
	}
	if err != nil {
		return err
	}
	millions := float64(s.events) / 1e6
	fmt.Printf("%s: peak RSS %d MB of %d MB; %.2f CPU-seconds per million events, %v in all; work and spill at most %s (estimated %s), tables %s (estimated %s)\n",
		s.name, w.peak/1e6, s.memory/1e6, w.processor.Seconds()/millions, w.wall.Round(1e8), gigabytes(w.disk), gigabytes(e.Work+e.Rows+e.Spill), gigabytes(w.tables), gigabytes(e.Tables))
	var r replayed
	if err := json.Unmarshal(w.out, &r); err == nil && len(r.Views) == 1 {
		v := &r.Views[0]
		fmt.Printf("%s: %d entities, %d feature rows (estimated %d), %d tiles (estimated %d), %d states, %s spilled\n", s.name, v.Entities, v.Features, e.Features, v.Tiles, e.Tiles, v.States, gigabytes(v.Spilled))
	}
	if w.peak > s.memory {
		return fmt.Errorf("peak RSS of %d bytes passes --memory of %d", w.peak, s.memory)
	}
	return nil
}

// replayed is of what `replay --json` prints.
type replayed struct {
	Views []struct {
		Entities int64 `json:"entities"`
		Features int64 `json:"feature_rows"`
		Tiles    int64 `json:"tile_rows"`
		States   int64 `json:"open_states"`
		Spilled  int64 `json:"spilled_bytes"`
	} `json:"views"`
	Calls map[string]int64 `json:"store_calls"`
}

func gigabytes(n int64) string { return fmt.Sprintf("%.2f GB", float64(n)/1e9) }

// room refuses what the volume of the scratch directory has no room for.
func (b *bench) room(need int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(b.dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("it takes about %s of disk, of which %s has %s free: set TMPDIR to a place with more", gigabytes(need), b.dir, gigabytes(free))
	}
	return nil
}

// replayOf is the command that replays a view.
func (b *bench) replayOf(ctx context.Context, view string, p places, memory int64, more ...string) *exec.Cmd {
	args := []string{"replay", "-f", project, "--view", view, "--brokers", b.broker, "--out", p.out, "--work", p.work, "--spill-dir", p.spill,
		"--memory", fmt.Sprintf("%dB", memory), "--json"}
	cmd := exec.CommandContext(ctx, b.binary, append(args, more...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// estimated is what `replay --estimate` foretells, in bytes.
type estimated struct {
	Work   int64 `json:"work_bytes"`
	Rows   int64 `json:"row_bytes"`
	Spill  int64 `json:"spill_bytes"`
	Tables int64 `json:"table_bytes"`

	Features int64 `json:"feature_rows"`
	Tiles    int64 `json:"tile_rows"`
}

func (b *bench) estimate(ctx context.Context, view string, p places, memory int64) (*estimated, error) {
	text, err := output(b.replayOf(ctx, view, p, memory, "--estimate"))
	if err != nil {
		return nil, err
	}
	var out struct{ Views []estimated }
	if err := json.Unmarshal([]byte(text), &out); err != nil || len(out.Views) != 1 {
		return nil, fmt.Errorf("an estimate that is none: %q: %w", text, err)
	}
	return &out.Views[0], nil
}

// published tells whether the tables of a view have a commit.
func (p places) published(view string) bool {
	found, _ := filepath.Glob(filepath.Join(p.out, view, "*", "_delta_log", "*.json"))
	return len(found) > 0
}
