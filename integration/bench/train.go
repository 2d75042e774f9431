//go:build real

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/parquet-go/parquet-go"
)

// trainMemory is what a training run is given, unless told otherwise: the default
// of `train`.
const trainMemory = "512MB"

// trainAllowance is what a million labels may take beyond twice the floor, in
// CPU-seconds.
const trainAllowance = 4

// training is the measurements of one knowledge.
type training struct {
	knowledge               string
	ratios, seconds, bounds []float64
	peaks                   []int64
}

// train measures a training set: point-in-time features for every label, with both
// kinds of knowledge, from Kafka to a Parquet file.
func (b *bench) train(ctx context.Context) error {
	end, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	labels := filepath.Join(b.dir, "labels.parquet")
	if err := errors.Join(b.filled(ctx, topic, workload{b.events, users, false}), writeLabels(labels, b.labels, b.events)); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	all := []*training{{knowledge: "complete"}, {knowledge: "arrival"}}
	var floors []float64
	for range b.runs {
		floor, err := measure(exec.CommandContext(ctx, self, "floor", "-broker", b.broker, "-topic", topic, "-events", strconv.Itoa(b.events)))
		if err != nil {
			return err
		}
		floors = append(floors, floor.processor.Seconds())
		for _, t := range all {
			if err := t.measure(b.trainer(ctx, labels, t.knowledge), floor, b.labels); err != nil {
				return err
			}
		}
	}
	worst := 0.0
	for _, t := range all {
		worst = max(worst, median(t.ratios))
		fmt.Printf("train, knowledge %s: %.2f CPU-seconds for %d labels, %.2f times the bound of %.2f (2 × the floor's %.2f + %.2f); peak RSS %d MB\n",
			t.knowledge, median(t.seconds), b.labels, median(t.ratios), median(t.bounds), median(floors), allowance(b.labels), median(t.peaks)/1e6)
	}
	fmt.Printf("ratio %.2f\n", worst)
	return nil
}

// allowance is what so many labels may take beyond twice the floor, in CPU-seconds.
func allowance(labels int) float64 { return trainAllowance * float64(labels) / 1e6 }

// measure runs the command and compares it with the floor of the same round.
func (t *training) measure(cmd *exec.Cmd, floor usage, labels int) error {
	u, err := measure(cmd)
	if err != nil {
		return err
	}
	bound := 2*floor.processor.Seconds() + allowance(labels)
	t.seconds, t.bounds = append(t.seconds, u.processor.Seconds()), append(t.bounds, bound)
	t.ratios, t.peaks = append(t.ratios, u.processor.Seconds()/bound), append(t.peaks, u.peak)
	fmt.Fprintf(os.Stderr, "floor %v, train %s %v in %v, %d MB\n", floor.processor, t.knowledge, u.processor, u.wall, u.peak/1e6)
	return nil
}

// trainer is the command that answers the labels.
func (b *bench) trainer(ctx context.Context, labels, knowledge string) *exec.Cmd {
	return exec.CommandContext(ctx, b.binary, "train", "-f", project, "--view", "v1", "--brokers", b.broker, "--labels", labels,
		"--knowledge", knowledge, "--spill-dir", b.dir, "--memory", b.memory, "-o", filepath.Join(b.dir, "answers.parquet"))
}

// label is a row of the label file.
type label struct {
	User string `parquet:"user_id"`
	At   int64  `parquet:"ts,timestamp(microsecond)"`
}

// writeLabels writes the workload's labels as data frames are saved: Parquet, in no
// order. They spread over the time of the events.
func writeLabels(path string, labels, events int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := parquet.NewGenericWriter[label](f, parquet.Compression(&parquet.Snappy))
	r := rand.New(rand.NewPCG(2, 2))
	z := rand.NewZipf(r, 1.1, 1, users-1)
	rows := make([]label, 1000)
	for n := 0; n < labels; n += len(rows) {
		rows = rows[:min(len(rows), labels-n)]
		for i := range rows {
			rows[i].User = string(appendUser(nil, z.Uint64()))
			rows[i].At = begin + r.Int64N(int64(events)*apart)
		}
		if _, err := w.Write(rows); err != nil {
			return err
		}
	}
	return w.Close()
}
