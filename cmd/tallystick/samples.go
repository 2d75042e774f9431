package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/examples/orders"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms"
)

// sample is what this program can fill a topic with.
type sample struct {
	partitions int32 // of a topic that is created
	about      int64 // how many messages there are, for a meter
	// messages calls fn with all of them, in the order of their timestamps.
	messages func(fn func(log.Message) error) error
}

// samples returns what this program can fill topics with, by topic. The orders
// are made up, events of them, the same ones for the same seed.
func samples(seed uint64, events int) map[string]sample {
	flight := func(source func(func(flights.Message) error) error) func(func(log.Message) error) error {
		return func(fn func(log.Message) error) error {
			return source(func(m flights.Message) error { return fn(log.Message{Key: m.Key, Value: m.Value, Timestamp: m.Time}) })
		}
	}
	return map[string]sample{
		"flights": {4, 120_065, flight(flights.Flights)},
		"weather": {1, 8_706, flight(flights.Weather)},
		"orders": {2, int64(events), func(fn func(log.Message) error) error {
			return orders.Events(seed, events, func(m orders.Message) error {
				return fn(log.Message{Key: m.Key, Value: m.Value, Timestamp: m.Time})
			})
		}},
	}
}

// produceChunk is how many records are appended at once.
const produceChunk = 4_000

// fill appends the messages to partitions 0 to n-1 of a topic; done is told how
// many were appended. It returns how many there are.
func (s sample) fill(ctx context.Context, client *log.Client, topic string, n int, done func(n int)) (int, error) {
	waiting := make([][]log.Message, n)
	total := 0
	flush := func(p int) error {
		if len(waiting[p]) == 0 {
			return nil
		}
		_, err := client.Produce(ctx, topic, int32(p), waiting[p]...)
		total += len(waiting[p])
		done(len(waiting[p]))
		waiting[p] = waiting[p][:0]
		return err
	}
	err := s.messages(func(m log.Message) error {
		p := int(transforms.HashBytes(m.Key) % uint64(n)) // copies of an id share a partition
		waiting[p] = append(waiting[p], m)
		if len(waiting[p]) == produceChunk {
			return flush(p)
		}
		return nil
	})
	for p := range waiting {
		if err == nil {
			err = flush(p)
		}
	}
	if err != nil {
		return total, fmt.Errorf("topic %s: %w", topic, err)
	}
	return total, nil
}

// createAndFill creates the topics and fills them.
func createAndFill(ctx context.Context, client *log.Client, from map[string]sample, configs map[string]string, done func(n int)) (int, error) {
	total := 0
	for _, topic := range slices.Sorted(maps.Keys(from)) {
		s := from[topic]
		if err := client.EnsureTopic(ctx, topic, s.partitions, configs); err != nil {
			return total, err
		}
		n, err := s.fill(ctx, client, topic, int(s.partitions), done)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
