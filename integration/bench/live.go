//go:build real

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// A probe is the only event of its user: it can be read once the user's key is
// there.
const (
	probesApart = 20 * time.Millisecond
	lookApart   = 5 * time.Millisecond
	shards      = 16
	settleFor   = 10 * time.Second // at the start: not measured
	flushEvery  = 500 * time.Millisecond
)

// probe is an event whose arrival in Redis is watched for.
type probe struct {
	key      string
	sent     time.Time
	appended atomic.Int64 // when Kafka acknowledged it, in ns
}

// delays of one probe until it could be read.
type delays struct{ sinceSent, sinceAppended time.Duration }

// liveLatency tells how long it takes from producing an event until it can be
// read in Redis, at a steady rate.
func (b *bench) liveLatency(ctx context.Context, rc *redis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, b.live+2*time.Minute)
	defer cancel()
	kc, err := producer(b.broker, 5*time.Millisecond)
	if err != nil {
		return err
	}
	defer kc.Close()
	if err := createTopic(ctx, kc, liveTopic, "LogAppendTime"); err != nil {
		return err
	}
	worker := b.worker(ctx, "live")
	worker.Stderr = os.Stderr // what it has to say belongs to the figures
	if err := worker.Start(); err != nil {
		return err
	}
	begun := time.Now()
	seen, late, err := b.probe(ctx, rc, kc)
	err = errors.Join(err, worker.Process.Signal(syscall.SIGTERM), ended(worker))
	if err != nil {
		return err
	}
	u := used(worker, time.Since(begun))
	fmt.Printf("live at %d events/s: readable in Redis since Kafka acknowledged it %s (bound for p99: %v), since it was produced %s, %d probes; "+
		"the producer at most %v behind; worker %.2f of a core, peak RSS %d MB\n",
		b.rate, quantiles(seen, func(d delays) time.Duration { return d.sinceAppended }), flushEvery+250*time.Millisecond,
		quantiles(seen, func(d delays) time.Duration { return d.sinceSent }), len(seen), late.Round(time.Millisecond),
		u.processor.Seconds()/u.wall.Seconds(), u.peak>>20)
	return nil
}

func quantiles(seen []delays, of func(delays) time.Duration) string {
	var list []time.Duration
	for _, d := range seen {
		list = append(list, of(d).Round(time.Millisecond))
	}
	slices.Sort(list)
	at := func(share float64) time.Duration { return list[int(share*float64(len(list)-1))] }
	return fmt.Sprintf("p50 %v, p99 %v, greatest %v", at(0.5), at(0.99), at(1))
}

func ended(cmd *exec.Cmd) error {
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the worker did not end well: %w", err)
	}
	return nil
}

// probe produces the live events, every now and then a probe, and returns how
// long probes took, and by how much the producer fell behind at most.
func (b *bench) probe(ctx context.Context, rc *redis.Client, kc *kgo.Client) (seen []delays, behind time.Duration, err error) {
	probes := make(chan *probe, 1000)
	failed := make(chan error, 1)
	go func() {
		var err error
		seen, err = watch(ctx, rc, probes, time.Now().Add(settleFor))
		failed <- err
	}()
	g, p, begun, probed := newGenerator(), purchase{}, time.Now(), time.Time{}
	send := func(name []byte, acknowledged func(*kgo.Record, error)) {
		kc.Produce(ctx, &kgo.Record{Topic: liveTopic, Key: name, Value: p.append(nil, name)}, acknowledged)
	}
	for n := 0; time.Since(begun) < settleFor+b.live; {
		now := time.Now()
		for due := int(now.Sub(begun).Seconds() * float64(b.rate)); n < due; n++ {
			g.next(&p, now.UnixMicro()-ahead)
			send(appendUser(nil, p.user), nil)
		}
		if now.Sub(probed) >= probesApart {
			probed = now
			name := strconv.AppendInt([]byte("probe-"), int64(n), 10)
			p.at = now.UnixMicro() // before the first event of the workload there is none
			x := &probe{key: liveKey(string(name)), sent: time.Now()}
			send(name, func(*kgo.Record, error) { x.appended.Store(time.Now().UnixNano()) })
			probes <- x
		}
		pause(ctx, time.Millisecond)
		behind = max(behind, time.Since(now)-time.Millisecond)
	}
	close(probes)
	return seen, behind, errors.Join(<-failed, kc.Flush(ctx))
}

// liveKey returns the key of a user of the live view, as docs/formats.md gives it.
func liveKey(user string) string {
	entity := transforms.EncodeEntity(nil, schemas.StringValue(user))
	return fmt.Sprintf("%d}:e:%s", transforms.EntityShard(entity, shards), entity)
}

// watch looks for probes until all are there; those sent before from are not
// counted.
func watch(ctx context.Context, rc *redis.Client, probes <-chan *probe, from time.Time) (seen []delays, err error) {
	var waiting []*probe
	var fingerprint string
	for open := true; open || len(waiting) > 0; pause(ctx, lookApart) {
		for more := true; more && open; {
			select {
			case p, ok := <-probes:
				if open = ok; ok {
					waiting = append(waiting, p)
				}
			default:
				more = false
			}
		}
		if fingerprint == "" {
			fingerprint, _ = rc.Get(ctx, "{live}:live").Result() // until the worker has set it
			continue
		}
		cmds, err := rc.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, p := range waiting {
				pipe.Exists(ctx, "{live:"+fingerprint+":"+p.key)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%d probes not seen, the first, %s, sent %v ago: %w", len(waiting), waiting[0].key, time.Since(waiting[0].sent), err)
		}
		now, kept := time.Now(), waiting[:0]
		for i, p := range waiting {
			switch n, _ := cmds[i].(*redis.IntCmd).Result(); {
			case n == 0 || p.appended.Load() == 0: // the acknowledgement may come after the stream
				kept = append(kept, p)
			case p.sent.After(from):
				seen = append(seen, delays{now.Sub(p.sent), max(0, now.Sub(time.Unix(0, p.appended.Load())))})
			}
		}
		waiting = kept
	}
	if len(seen) == 0 {
		return nil, errors.New("no probe was measured: --live is too short")
	}
	return seen, nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
