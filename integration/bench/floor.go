//go:build real

package main

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// floor is the least that any consumer does with the topic, and what ratios are
// taken to: fetch, decode by hand, and update one map per event. It guarantees
// nothing and writes nothing.
func floor(ctx context.Context, broker, topic string, events int) error {
	kc, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer kc.Close()
	type aggregate struct {
		n        int64
		sum, max float64
	}
	byUser := map[string]*aggregate{}
	var d decoded
	for seen := 0; seen < events; {
		fs := kc.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return err
		}
		fs.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				seen++
				err = errors.Join(err, d.decode(r.Value))
				a := byUser[string(d.user)]
				if a == nil {
					a = &aggregate{max: d.amount}
					byUser[string(d.user)] = a
				}
				a.n++
				a.sum += d.amount
				a.max = max(a.max, d.amount)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
