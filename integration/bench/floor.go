//go:build real

package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// floor is the least that any consumer does with the topic, and what ratios are
// taken to: fetch, decode by hand, and update one map per event. It guarantees
// nothing and writes nothing.
func floor(ctx context.Context, broker, topic string, events int) error {
	type aggregate struct {
		n        int64
		sum, max float64
	}
	byUser := map[string]*aggregate{}
	var d decoded
	return consume(ctx, broker, topic, events, func(_ int32, rs []*kgo.Record) error {
		for _, r := range rs {
			if err := d.decode(r.Value); err != nil {
				return err
			}
			a := byUser[string(d.user)]
			if a == nil {
				a = &aggregate{max: d.amount}
				byUser[string(d.user)] = a
			}
			a.n++
			a.sum += d.amount
			a.max = max(a.max, d.amount)
		}
		return nil
	})
}

// consume calls take with what each fetch brings of a partition, until there have
// been so many events.
func consume(ctx context.Context, broker, topic string, events int, take func(partition int32, rs []*kgo.Record) error) error {
	kc, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer kc.Close()
	for seen := 0; seen < events; {
		fs := kc.PollFetches(ctx)
		err := fs.Err()
		fs.EachPartition(func(p kgo.FetchTopicPartition) {
			if err == nil {
				seen += len(p.Records)
				err = take(p.Partition, p.Records)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
