package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms"
)

// embeddedLog is a Kafka inside this process that holds the example's topics.
type embeddedLog struct {
	cluster *kfake.Cluster
	client  *log.Client
	brokers []string
}

// exampleTopics are the topics of examples/flights and their partitions.
var exampleTopics = map[string]int32{"flights": 4, "weather": 1}

func startEmbeddedLog(ctx context.Context) (*embeddedLog, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.WithLogger(kfake.BasicLogger(nil, kfake.LogLevelNone)))
	if err != nil {
		return nil, fmt.Errorf("embedded Kafka: %w", err)
	}
	e := &embeddedLog{cluster: cluster, brokers: cluster.ListenAddrs()}
	e.client, err = log.Open(ctx, log.Options{Brokers: e.brokers})
	if err != nil {
		cluster.Close()
		return nil, fmt.Errorf("embedded Kafka: %w", err)
	}
	for topic, n := range exampleTopics {
		if err := e.client.EnsureTopic(ctx, topic, n, nil); err != nil {
			e.close()
			return nil, fmt.Errorf("embedded Kafka: %w", err)
		}
	}
	return e, nil
}

func (e *embeddedLog) close() {
	e.client.Close()
	e.cluster.Close()
}

// produceChunk is how many records are appended at once.
const produceChunk = 4_000

// fill appends the example's messages in the order of their timestamps; done is
// told how many were appended. It returns how many there are.
func (e *embeddedLog) fill(ctx context.Context, done func(n int)) (int, error) {
	total := 0
	for topic, source := range map[string]func(func(flights.Message) error) error{"flights": flights.Flights, "weather": flights.Weather} {
		n, err := e.fillTopic(ctx, topic, source, done)
		if err != nil {
			return 0, fmt.Errorf("topic %s: %w", topic, err)
		}
		total += n
	}
	return total, nil
}

func (e *embeddedLog) fillTopic(ctx context.Context, topic string, source func(func(flights.Message) error) error, done func(n int)) (int, error) {
	waiting := make([][]log.Message, exampleTopics[topic])
	total := 0
	flush := func(p int) error {
		if len(waiting[p]) == 0 {
			return nil
		}
		_, err := e.client.Produce(ctx, topic, int32(p), waiting[p]...)
		total += len(waiting[p])
		done(len(waiting[p]))
		waiting[p] = waiting[p][:0]
		return err
	}
	err := source(func(m flights.Message) error {
		p := int(transforms.HashBytes(m.Key) % uint64(len(waiting))) // copies of an id share a partition
		waiting[p] = append(waiting[p], log.Message{Key: m.Key, Value: m.Value, Timestamp: m.Time})
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
	return total, err
}
