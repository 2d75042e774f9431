package main

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
)

// servers are the Kafka and the Redis that a loop works with: real ones, or ones
// inside this process.
type servers struct {
	kafka     *kfake.Cluster       // nil = a real one
	mini      *miniredis.Miniredis // nil = a real one
	bootstrap []string             // of kafka
	client    *log.Client
	redis     *online.Client
}

// embedLog starts a Kafka inside this process, without topics.
func (s *servers) embedLog(ctx context.Context) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.WithLogger(kfake.BasicLogger(nil, kfake.LogLevelNone)))
	if err != nil {
		return fmt.Errorf("embedded Kafka: %w", err)
	}
	s.kafka, s.bootstrap = cluster, cluster.ListenAddrs()
	if s.client, err = log.Open(ctx, log.Options{Brokers: s.bootstrap}); err != nil {
		return fmt.Errorf("embedded Kafka: %w", err)
	}
	return nil
}

// embedRedis starts a Redis inside this process.
func (s *servers) embedRedis(ctx context.Context) error {
	s.mini = miniredis.NewMiniRedis()
	err := s.mini.StartAddr("127.0.0.1:0")
	if err == nil {
		s.redis, err = online.Open(ctx, online.Options{Addrs: []string{s.mini.Addr()}, AllowUnknownPolicy: true})
	}
	if err != nil {
		return fmt.Errorf("embedded Redis: %w", err)
	}
	return nil
}

// close ends what was opened and started, as far as that came.
func (s *servers) close() {
	if s.redis != nil {
		s.redis.Close()
	}
	if s.mini != nil {
		s.mini.Close()
	}
	if s.client != nil {
		s.client.Close()
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
}
