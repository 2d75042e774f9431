//go:build real

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	limitsEvents = 1_000_000
	limitsMemory = 512e6
	limitsView   = "v1"
	kafkaRate    = 5_000_000 // bytes a second
	storeRate    = 50        // calls a second
	tolerance    = 1.02
)

// limits replays under each of the other limits, and fails where one does not hold.
func (b *bench) limits(ctx context.Context) error {
	w := workload{min(b.events, limitsEvents), users, false}
	if err := b.filled(ctx, topic, w); err != nil {
		return err
	}
	var failed []error
	for _, f := range []func(context.Context, workload) error{b.kafkaRate, b.storeRate, b.parallel, b.disk} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		failed = append(failed, f(ctx, w))
	}
	return errors.Join(failed...)
}

// limited replays under a limit into directories that are empty.
func (b *bench) limited(ctx context.Context, args ...string) (*watched, places, error) {
	p, err := emptied(b.dir)
	if err != nil {
		return nil, p, err
	}
	w, err := watchReplay(ctx, b.replayOf(ctx, limitsView, p, limitsMemory, args...), p)
	return w, p, err
}

func (b *bench) kafkaRate(ctx context.Context, load workload) error {
	w, _, err := b.limited(ctx, "--kafka-rate", fmt.Sprintf("%dB", kafkaRate))
	if err == nil {
		err = w.must()
	}
	if err != nil {
		return err
	}
	// A second's worth may come at once, in the beginning.
	rate := float64(load.bytes()-kafkaRate) / w.readTime.Seconds()
	fmt.Printf("--kafka-rate %d: %.0f bytes a second beyond the first second's, over %v\n", kafkaRate, rate, w.readTime.Round(time.Millisecond))
	if rate > kafkaRate*tolerance {
		return errors.New("--kafka-rate does not hold")
	}
	return nil
}

func (b *bench) storeRate(ctx context.Context, _ workload) error {
	w, _, err := b.limited(ctx, "--store-rate", fmt.Sprint(storeRate))
	if err == nil {
		err = w.must()
	}
	var r replayed
	if err == nil {
		err = json.Unmarshal(w.out, &r)
	}
	if err != nil {
		return err
	}
	var calls int64
	for _, n := range r.Calls {
		calls += n
	}
	rate := float64(calls-1) / w.wall.Seconds()
	fmt.Printf("--store-rate %d: %.1f calls a second, %d in %v\n", storeRate, rate, calls, w.wall.Round(time.Millisecond))
	if rate > storeRate*tolerance {
		return errors.New("--store-rate does not hold")
	}
	return nil
}

func (b *bench) parallel(ctx context.Context, _ workload) error {
	var failed []error
	for _, n := range []int{1, 2} {
		w, _, err := b.limited(ctx, "--parallel", fmt.Sprint(n))
		if err == nil {
			err = w.must()
		}
		if err != nil {
			return err
		}
		fmt.Printf("--parallel %d: at most %d units were seen at once; %v in %v\n", n, w.units, w.processor.Round(time.Millisecond), w.wall.Round(time.Millisecond))
		if w.units > n {
			failed = append(failed, fmt.Errorf("--parallel %d does not hold", n))
		}
	}
	return errors.Join(failed...)
}

// disk gives a replay half of what its rows take, twice what it takes, and half again
// although the estimate says that this will not do.
func (b *bench) disk(ctx context.Context, _ workload) error {
	p, err := emptied(b.dir)
	if err != nil {
		return err
	}
	e, err := b.estimate(ctx, limitsView, p, limitsMemory)
	if err != nil {
		return err
	}
	var failed []error
	for _, t := range []struct {
		size  int64
		more  []string
		wants string // in what it says; "" = it ends well
	}{
		{e.Work / 2, nil, "give it more, or begin anyway with --force"},
		{e.Work / 2, []string{"--force"}, "the limit of --disk"},
		{2 * (e.Work + e.Rows + e.Spill), nil, ""},
	} {
		w, p, err := b.limited(ctx, append([]string{"--disk", fmt.Sprintf("%dB", t.size)}, t.more...)...)
		if err != nil {
			return err
		}
		fmt.Printf("--disk %d %s: at most %d bytes were seen; %v, published: %v\n", t.size, strings.Join(t.more, " "), w.disk, lastLine(w), p.published(limitsView))
		switch ok := t.wants == ""; {
		case ok != (w.err == nil), ok != p.published(limitsView), !strings.Contains(w.said, t.wants):
			failed = append(failed, fmt.Errorf("--disk %d %v: it ended so: %v, %s", t.size, t.more, w.err, w.said))
		case w.disk > t.size+1<<20: // records of units are not counted
			failed = append(failed, fmt.Errorf("--disk %d does not hold", t.size))
		}
	}
	return errors.Join(failed...)
}

// lastLine is how a replay ended.
func lastLine(w *watched) string {
	if w.err == nil {
		return "done"
	}
	lines := strings.Split(strings.TrimSpace(w.said), "\n")
	return lines[len(lines)-1]
}
