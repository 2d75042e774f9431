//go:build real

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 8

// producer returns a client that writes as the Java client does: by murmur2 of
// the key, lz4, idempotent.
func producer(broker string, linger time.Duration) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(broker), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(linger), kgo.MaxBufferedRecords(100_000), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
}

// createTopic makes a topic that keeps old records, with timestamps of that type.
func createTopic(ctx context.Context, kc *kgo.Client, topic, stamps string) error {
	forever := "-1"
	_, err := kadm.NewClient(kc).CreateTopic(ctx, partitions, 1, map[string]*string{"retention.ms": &forever, "message.timestamp.type": &stamps}, topic)
	return err
}

// removeTopic removes a topic, if it is there, and waits until it is not.
func removeTopic(ctx context.Context, kc *kgo.Client, topic string) error {
	admin := kadm.NewClient(kc)
	for {
		r, err := admin.DeleteTopics(ctx, topic)
		if err == nil {
			err = r.Error()
		}
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil
		}
		if err != nil {
			return err
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// produce writes a workload to a topic, in place of what it held. Of the events no
// more than the client buffers are in memory.
func produce(ctx context.Context, broker, topic string, load workload) error {
	kc, err := producer(broker, 20*time.Millisecond)
	if err != nil {
		return err
	}
	defer kc.Close()
	if err := errors.Join(removeTopic(ctx, kc, topic), createTopic(ctx, kc, topic, "CreateTime")); err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	g, p, buf := load.generator(), purchase{}, []byte(nil)
	for i := range load.events {
		if ctx.Err() != nil || failed.Load() != nil {
			break
		}
		if cap(buf)-len(buf) < 256 {
			buf = make([]byte, 0, 1<<20)
		}
		g.next(&p, begin+int64(i)*apart)
		from := len(buf)
		buf = appendUser(buf, p.user)
		key := buf[from:len(buf):len(buf)]
		from = len(buf)
		buf = p.append(buf, key)
		kc.Produce(ctx, &kgo.Record{Topic: topic, Key: key, Value: buf[from:len(buf):len(buf)], Timestamp: time.UnixMicro(p.stamp)},
			func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
			})
	}
	err = errors.Join(context.Cause(ctx), kc.Flush(ctx))
	if e := failed.Load(); e != nil {
		err = errors.Join(err, *e)
	}
	return err
}

// filled makes a topic anew and produces to it, in a process of its own: the peak of
// those that are started later begins with that of this one.
func (b *bench) filled(ctx context.Context, topic string, w workload) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, err = output(exec.CommandContext(ctx, self, "produce", "-broker", b.broker, "-topic", topic, "-events", fmt.Sprint(w.events),
		"-users", fmt.Sprint(w.users), fmt.Sprintf("-hot=%v", w.hot)))
	return err
}
