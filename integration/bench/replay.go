//go:build real

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// replayMemory is what a replay is given, unless told otherwise.
const replayMemory = "512MB"

// replay measures a backfill: from Kafka to ten daily snapshots with tiles, ledger
// and commit.
func (b *bench) replay(ctx context.Context) error {
	end, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := b.filled(ctx, topic, workload{b.events, users, false}); err != nil {
		return err
	}
	var ratios, perMillion, floors []float64
	var peaks, copyPeaks []int64
	for range b.runs {
		floor, replay, err := b.backfill(ctx)
		if err != nil {
			return err
		}
		millions := float64(b.events) / 1e6
		ratios = append(ratios, replay.processor.Seconds()/floor.processor.Seconds())
		perMillion, floors = append(perMillion, replay.processor.Seconds()/millions), append(floors, floor.processor.Seconds()/millions)
		peaks, copyPeaks = append(peaks, replay.peak), append(copyPeaks, floor.peak)
		fmt.Fprintf(os.Stderr, "copy %v in %v, replay %v in %v, %d MB\n", floor.processor, floor.wall, replay.processor, replay.wall, replay.peak/1e6)
	}
	fmt.Printf("replay: %.2f CPU-seconds per million events, %.2f times the %.2f of a copy; peak RSS %d MB, of the copy %d MB\n",
		median(perMillion), median(ratios), median(floors), median(peaks)/1e6, median(copyPeaks)/1e6)
	fmt.Printf("ratio %.2f\n", median(ratios))
	return nil
}

// backfill runs copy and replay, each into a directory that it finds empty.
func (b *bench) backfill(ctx context.Context) (floor, replay usage, err error) {
	self, err := os.Executable()
	if err != nil {
		return floor, replay, err
	}
	out := filepath.Join(b.dir, "out")
	run := func(u *usage, cmd *exec.Cmd) {
		if err == nil {
			err = errors.Join(os.RemoveAll(out), os.Mkdir(out, 0o755))
		}
		if err == nil {
			*u, err = measure(cmd)
		}
	}
	run(&floor, exec.CommandContext(ctx, self, "copy", "-broker", b.broker, "-topic", topic, "-out", out, "-events", strconv.Itoa(b.events)))
	run(&replay, exec.CommandContext(ctx, b.binary, "replay", "-f", project, "--view", "v1", "--brokers", b.broker, "--out", out,
		"--spill-dir", b.dir, "--memory", b.memory))
	return floor, replay, err
}
