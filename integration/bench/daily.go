//go:build real

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// daily measures what the last of ten days costs a replay that goes on from the tables
// of the nine before it (B5), against a replay of all ten.
func (b *bench) daily(ctx context.Context) error {
	end, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := b.filled(ctx, topic, workload{b.events, users, false}); err != nil {
		return err
	}
	nine := filepath.Join(b.dir, "nine.json")
	if err := b.cutAt(ctx, nine, 0.9); err != nil {
		return err
	}
	var shares []float64
	for n := range b.runs {
		tables := filepath.Join(b.dir, fmt.Sprint("daily-", n))
		replay := func(out string, more ...string) (usage, error) {
			return measure(exec.CommandContext(ctx, b.binary, append([]string{"replay", "-f", project, "--view", "v1", "--brokers", b.broker, "--out", out,
				"--spill-dir", b.dir, "--memory", b.memory}, more...)...))
		}
		if _, err := replay(tables, "--cut", nine); err != nil {
			return err
		}
		day, err := replay(tables, "--continue")
		if err != nil {
			return err
		}
		whole, err := replay(filepath.Join(b.dir, fmt.Sprint("whole-", n)))
		if err != nil {
			return err
		}
		shares = append(shares, day.processor.Seconds()/whole.processor.Seconds())
		fmt.Fprintf(os.Stderr, "the last day %v in %v, %d MB; all ten %v in %v, %d MB\n", day.processor, day.wall, day.peak/1e6, whole.processor, whole.wall, whole.peak/1e6)
	}
	fmt.Printf("the last of ten days takes %.2f of the processor time of all ten\n", median(shares))
	fmt.Printf("ratio %.2f\n", median(shares))
	return nil
}

// cutAt writes a cut of a share of every partition.
func (b *bench) cutAt(ctx context.Context, path string, share float64) error {
	text, err := exec.CommandContext(ctx, b.binary, "cut", "-f", project, "--view", "v1", "--brokers", b.broker, "-o", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cut: %w: %s", err, text)
	}
	if text, err = os.ReadFile(path); err != nil {
		return err
	}
	var cut map[string]any
	if err := json.Unmarshal(text, &cut); err != nil {
		return err
	}
	for _, t := range cut["topics"].(map[string]any) {
		for _, p := range t.(map[string]any)["partitions"].(map[string]any) {
			p := p.(map[string]any)
			p["end"] = int64(share * p["end"].(float64))
		}
	}
	if text, err = json.Marshal(cut); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
