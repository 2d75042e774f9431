//go:build real

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/integration/servers"
)

// catchUp is one run from the log's start to its end.
type catchUp struct {
	floor, worker usage
	// per event, or seconds per million events
	commands, redisProcessor, redisBytes float64
}

// stream measures the stream worker: catching up, and live.
func (b *bench) stream(ctx context.Context) error {
	end, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	store, err := servers.StartRedis(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	b.redis = store.Flags()
	rc := servers.Client(store.Addrs[0])
	defer rc.Close()
	if err := errors.Join(b.filled(ctx, topic, workload{b.events, users, false}), b.filled(ctx, firstTopic, workload{b.identified, users, false})); err != nil {
		return err
	}
	if _, err := b.catchUps(ctx, rc, "v2", firstTopic, b.identified); err != nil {
		return err
	}
	ratio, err := b.catchUps(ctx, rc, "v1", topic, b.events)
	if err != nil {
		return err
	}
	if b.live > 0 {
		if err := b.liveLatency(ctx, rc); err != nil {
			return err
		}
	}
	fmt.Printf("ratio %.2f\n", ratio)
	return nil
}

// catchUps runs floor and worker in turn and prints the medians.
func (b *bench) catchUps(ctx context.Context, rc *redis.Client, view, topic string, events int) (float64, error) {
	var ratios, perMillion, floors, commands, redisTime, bytes []float64
	var peaks []int64
	for range b.runs {
		c, err := b.catchUp(ctx, rc, view, topic, events)
		if err != nil {
			return 0, err
		}
		millions := float64(events) / 1e6
		ratios = append(ratios, c.worker.processor.Seconds()/c.floor.processor.Seconds())
		floors = append(floors, c.floor.processor.Seconds()/millions)
		perMillion = append(perMillion, c.worker.processor.Seconds()/millions)
		commands, redisTime, bytes = append(commands, c.commands), append(redisTime, c.redisProcessor), append(bytes, c.redisBytes)
		peaks = append(peaks, c.worker.peak)
		fmt.Fprintf(os.Stderr, "%s: floor %v, worker %v in %v\n", view, c.floor.processor, c.worker.processor, c.worker.wall)
	}
	fmt.Printf("%s catching up: %.2f CPU-seconds per million events, %.2f times the floor's %.2f; peak RSS %d MB; "+
		"Redis %.3f CPU-seconds per million, %.3f commands and %.0f bytes per event\n",
		view, median(perMillion), median(ratios), median(floors), median(peaks)>>20, median(redisTime), median(commands), median(bytes))
	return median(ratios), nil
}

func (b *bench) catchUp(ctx context.Context, rc *redis.Client, view, topic string, events int) (c catchUp, err error) {
	if err := rc.FlushAll(ctx).Err(); err != nil {
		return c, err
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	if c.floor, err = measure(exec.CommandContext(ctx, self, "floor", "-broker", b.broker, "-topic", topic, "-events", strconv.Itoa(events))); err != nil {
		return c, err
	}
	before, err := redisInfo(ctx, rc)
	if err != nil {
		return c, err
	}
	if c.worker, err = measure(b.worker(ctx, view, "--until", "end")); err != nil {
		return c, err
	}
	after, err := redisInfo(ctx, rc)
	n := float64(events)
	c.commands = (after["total_commands_processed"] - before["total_commands_processed"]) / n
	c.redisBytes = (after["total_net_input_bytes"] - before["total_net_input_bytes"]) / n
	c.redisProcessor = 1e6 / n * (after["used_cpu_user"] + after["used_cpu_sys"] - before["used_cpu_user"] - before["used_cpu_sys"])
	return c, err
}

// worker is the command that streams a view.
func (b *bench) worker(ctx context.Context, view string, args ...string) *exec.Cmd {
	args = append([]string{"stream", "-f", project, "--view", view, "--brokers", b.broker, "--memory", b.memory}, args...)
	return exec.CommandContext(ctx, b.binary, append(args, b.redis...)...)
}

// redisInfo returns the server's counters.
func redisInfo(ctx context.Context, rc *redis.Client) (map[string]float64, error) {
	text, err := rc.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	counters := map[string]float64{}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		if x, err := strconv.ParseFloat(value, 64); err == nil {
			counters[name] = x
		}
	}
	if counters["total_commands_processed"] == 0 {
		return nil, errors.New("the store does not tell its counters")
	}
	return counters, nil
}
