//go:build real

package servers

import (
	"context"
	"errors"
)

// A Docker engine is not asked yet.
func kafkaInDocker(context.Context) (*Kafka, error) {
	return nil, &MissingError{"Kafka", errors.New("no Docker engine answers")}
}

func redisInDocker(context.Context) (*Redis, error) {
	return nil, &MissingError{"Redis", errors.New("no Docker engine answers")}
}
