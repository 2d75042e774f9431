//go:build real

package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
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

// produce writes the first events of the workload to a new topic.
func produce(ctx context.Context, broker, topic string, events int) error {
	kc, err := producer(broker, 20*time.Millisecond)
	if err != nil {
		return err
	}
	defer kc.Close()
	if err := createTopic(ctx, kc, topic, "CreateTime"); err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	g, p, buf := newGenerator(), purchase{}, []byte(nil)
	for i := range events {
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
	err = kc.Flush(ctx)
	if e := failed.Load(); e != nil {
		err = errors.Join(err, *e)
	}
	return err
}
