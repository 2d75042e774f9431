//go:build real

package servers

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
)

// Containers are published on loopback alone, on a port that the kernel chose
// before the start: the broker has to advertise it. They are removed when closed; a
// test that is killed leaves them behind, under the label org.testcontainers.

func kafkaInDocker(ctx context.Context) (*Kafka, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	image := cmp.Or(os.Getenv("KAFKA_IMAGE"), "apache/kafka:"+KafkaVersion())
	stop, err := runContainer(ctx, "Kafka", image, 9092, ports[0], testcontainers.WithEnv(map[string]string{
		"KAFKA_NODE_ID":                                          "1",
		"KAFKA_PROCESS_ROLES":                                    "broker,controller",
		"KAFKA_CONTROLLER_QUORUM_VOTERS":                         "1@localhost:29093",
		"KAFKA_LISTENERS":                                        "HOST://:9092,INSIDE://localhost:29092,CONTROLLER://localhost:29093",
		"KAFKA_ADVERTISED_LISTENERS":                             "HOST://" + local(ports[0]) + ",INSIDE://localhost:29092",
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":                   "HOST:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"KAFKA_INTER_BROKER_LISTENER_NAME":                       "INSIDE",
		"KAFKA_CONTROLLER_LISTENER_NAMES":                        "CONTROLLER",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":                 "1",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR":         "1",
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":                    "1",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                        "false",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":                 "0",
	}))
	if err != nil {
		return nil, err
	}
	return &Kafka{From: "docker", Brokers: []string{local(ports[0])}, close: []func(){stop}}, nil
}

func redisInDocker(ctx context.Context) (*Redis, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	stop, err := runContainer(ctx, "Redis", cmp.Or(os.Getenv("REDIS_IMAGE"), "redis:7"), 6379, ports[0],
		testcontainers.WithCmd("redis-server", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--protected-mode", "no"))
	if err != nil {
		return nil, err
	}
	r := &Redis{From: "docker", Addrs: []string{local(ports[0])}, close: []func(){stop}}
	c := Client(r.Addrs[0])
	defer c.Close()
	if err := wait(ctx, func() error { return c.Ping(ctx).Err() }); err != nil {
		r.Close()
		return nil, fmt.Errorf("redis in a container: %w", err)
	}
	return r, nil
}

// runContainer runs an image, its port published as another one of this machine.
// An engine that does not answer, or has no such image, is a *MissingError.
func runContainer(ctx context.Context, what, image string, inside, outside int, opts ...testcontainers.ContainerCustomizer) (stop func(), err error) {
	// Where it believes that it runs in a container itself, it would dial the
	// gateway of its network. Ryuk is one more image, which may not be there.
	os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	if err := haveImage(ctx, image); err != nil {
		return nil, &MissingError{what, err}
	}
	port, err := network.ParsePort(strconv.Itoa(inside) + "/tcp")
	if err != nil {
		return nil, err
	}
	opts = append(opts, testcontainers.WithExposedPorts(port.String()),
		testcontainers.WithHostConfigModifier(func(h *container.HostConfig) {
			h.PortBindings = network.PortMap{port: {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(outside)}}}
		}))
	c, err := testcontainers.Run(ctx, image, opts...)
	stop = func() { _ = testcontainers.TerminateContainer(c) }
	if err != nil {
		stop()
		return nil, fmt.Errorf("%s in a container: %w", image, err)
	}
	return stop, nil
}

// haveImage looks for an engine and gets the image where it lacks it.
func haveImage(ctx context.Context, image string) (err error) {
	defer func() {
		if r := recover(); r != nil { // what it does where there is no engine at all
			err = fmt.Errorf("no Docker engine answers: %v", r)
		}
	}()
	p, err := testcontainers.NewDockerProvider()
	if err != nil {
		return fmt.Errorf("no Docker engine answers: %w", err)
	}
	defer p.Close()
	quick, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.Health(quick); err != nil {
		return fmt.Errorf("no Docker engine answers: %w", err)
	}
	if _, err := p.Client().ImageInspect(ctx, image); err == nil {
		return nil
	}
	pull, cancel2 := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel2()
	if err := p.PullImage(pull, image); err != nil {
		return fmt.Errorf("the Docker engine has no image %s and cannot get it: %w", image, err)
	}
	return nil
}
