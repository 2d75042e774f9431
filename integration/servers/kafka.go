//go:build real

package servers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startTime bounds a start: five times what a busy machine takes, and the fetch
// of the jars.
const startTime = 3 * time.Minute

// Kafka is a cluster that a test may use.
type Kafka struct {
	From    string // where it comes from: environment, docker or processes
	Brokers []string
	nodes   []*Process
	dir     string // of the processes' files
	close   []func()
}

// KafkaOptions say what a test needs of Kafka.
type KafkaOptions struct {
	Nodes int // brokers, each a controller too: 1, or 3 with every topic on all of them
	// Control: the test kills, pauses or starts brokers.
	Control bool
}

// StartKafka returns a cluster that has created a topic. Close ends what was
// started. Errors: *MissingError.
func StartKafka(ctx context.Context, o KafkaOptions) (*Kafka, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var k *Kafka
	err := choose("Kafka", o.Control || o.Nodes > 1, map[string]func() error{
		"environment": func() (err error) { k, err = kafkaFromEnvironment(); return err },
		"docker":      func() (err error) { k, err = kafkaInDocker(ctx); return err },
		"processes":   func() (err error) { k, err = kafkaProcesses(ctx, max(1, o.Nodes)); return err },
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(loopback(k.Brokers...), k.usable(ctx)); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func kafkaFromEnvironment() (*Kafka, error) {
	text := os.Getenv("TALLYSTICK_TEST_BROKERS")
	if text == "" {
		return nil, &MissingError{"Kafka", errors.New("TALLYSTICK_TEST_BROKERS is not set")}
	}
	brokers, err := split(text)
	return &Kafka{From: "environment", Brokers: brokers}, err
}

// Close ends what was started.
func (k *Kafka) Close() {
	for _, f := range k.close {
		f()
	}
}

// Node returns broker i of a cluster of processes, the first being 0.
func (k *Kafka) Node(i int) *Process { return k.nodes[i] }

// Client returns a client that dials loopback alone.
func (k *Kafka) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(k.Brokers...), kgo.Dialer(dialLoopback),
		kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
}

// usable waits until a topic can be created on all brokers: an open port is not
// enough.
func (k *Kafka) usable(ctx context.Context) error {
	c, err := k.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	adm, replicas := kadm.NewClient(c), int16(max(1, len(k.nodes)))
	err = wait(ctx, func() error {
		for _, n := range k.nodes {
			if !n.running() {
				return fmt.Errorf("%s: %w: %s", n.name, errEnded, n.tail())
			}
		}
		_, err := adm.CreateTopic(ctx, 1, replicas, nil, "harness")
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("kafka at %v creates no topic: %w", k.Brokers, err)
	}
	return nil
}

// InSync waits until every partition of the topics has all its replicas in sync.
func (k *Kafka) InSync(ctx context.Context, topics ...string) error {
	c, err := k.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	return wait(ctx, func() error {
		list, err := kadm.NewClient(c).ListTopics(ctx, topics...)
		if err != nil {
			return err
		}
		for _, topic := range list {
			for _, p := range topic.Partitions {
				if p.Err != nil || len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
					return fmt.Errorf("topic %s partition %d: replicas %v, in sync %v, leader %d", topic.Topic, p.Partition, p.Replicas, p.ISR, p.Leader)
				}
			}
		}
		return nil
	})
}

// Start starts broker i again and waits until it takes part.
func (k *Kafka) Start(ctx context.Context, i int) error {
	if err := k.nodes[i].start(); err != nil {
		return err
	}
	return k.usable(ctx)
}

// LoseLog removes what broker i, which must not run, holds of a partition: as a disk
// that fails does. The broker begins an empty log in its place.
func (k *Kafka) LoseLog(i int, topic string, partition int32) error {
	dir := filepath.Join(k.dir, fmt.Sprintf("d%d", i+1), fmt.Sprintf("%s-%d", topic, partition))
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// jvm are the options that let a broker start fast and stay small.
var jvm = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}

// kafkaProcesses formats and starts n nodes, all at once.
func kafkaProcesses(ctx context.Context, n int) (*Kafka, error) {
	jars, err := kafkaJars(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tallystick-kafka-")
	if err != nil {
		return nil, err
	}
	k := &Kafka{From: "processes", dir: dir, close: []func(){func() { os.RemoveAll(dir) }}}
	ports, err := freePorts(2 * n)
	if err != nil {
		k.Close()
		return nil, err
	}
	id, errs := clusterID(), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		k.Brokers = append(k.Brokers, local(ports[2*i]))
		file := filepath.Join(dir, fmt.Sprintf("n%d.properties", i+1))
		argv := append(append([]string{"java", "-Xms192m", "-Xmx192m"}, jvm...), "-cp", jars+"/*", "kafka.Kafka", file)
		p := newProcess(dir, fmt.Sprintf("kafka%d", i+1), argv...)
		k.nodes, k.close = append(k.nodes, p), append([]func(){p.Kill}, k.close...)
		all.Go(func() {
			if errs[i] = format(ctx, jars, file, id, properties(dir, i, ports)); errs[i] == nil {
				errs[i] = p.start()
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// clusterID returns a new id; one that begins with a dash would be taken for a flag.
func clusterID() string {
	for {
		var b [16]byte
		_, _ = rand.Read(b[:]) // it never fails
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' {
			return id
		}
	}
}

func format(ctx context.Context, jars, file, id, text string) error {
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	argv := append(append([]string{"-Xmx64m"}, jvm...), "-cp", jars+"/*", "kafka.tools.StorageTool", "format", "-t", id, "-c", file)
	if out, err := exec.CommandContext(ctx, "java", argv...).CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's storage: %w: %s", err, out)
	}
	return nil
}

// properties configure node i of those whose ports are given, a broker's and a
// controller's each. Small buffers, short time-outs, old records are kept.
func properties(dir string, i int, ports []int) string {
	n := len(ports) / 2
	var voters []string
	for j := range n {
		voters = append(voters, fmt.Sprintf("%d@%s", j+1, local(ports[2*j+1])))
	}
	lines := []string{
		"process.roles=broker,controller", fmt.Sprintf("node.id=%d", i+1), "controller.quorum.voters=" + strings.Join(voters, ","),
		fmt.Sprintf("listeners=BROKER://%s,CONTROLLER://%s", local(ports[2*i]), local(ports[2*i+1])),
		"advertised.listeners=BROKER://" + local(ports[2*i]),
		"listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=BROKER", "controller.listener.names=CONTROLLER",
		"log.dirs=" + filepath.Join(dir, fmt.Sprintf("d%d", i+1)),
		"auto.create.topics.enable=false", "log.retention.ms=-1", "group.initial.rebalance.delay.ms=0",
		"group.min.session.timeout.ms=1000", "group.consumer.min.session.timeout.ms=1000", "group.consumer.session.timeout.ms=3000",
		"group.consumer.min.heartbeat.interval.ms=100", "group.consumer.heartbeat.interval.ms=500",
		"log.cleaner.dedupe.buffer.size=16777216", // the default of 128 MB does not fit into the heap
		fmt.Sprintf("default.replication.factor=%d", n), fmt.Sprintf("min.insync.replicas=%d", (n+1)/2),
		"offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=4", "share.coordinator.state.topic.num.partitions=4",
		fmt.Sprintf("offsets.topic.replication.factor=%d", n),
		fmt.Sprintf("transaction.state.log.replication.factor=%d", n), fmt.Sprintf("transaction.state.log.min.isr=%d", (n+1)/2),
		fmt.Sprintf("share.coordinator.state.topic.replication.factor=%d", n), fmt.Sprintf("share.coordinator.state.topic.min.isr=%d", (n+1)/2),
	}
	if n > 1 {
		lines = append(lines, "broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500",
			"controller.quorum.election.timeout.ms=500", "controller.quorum.fetch.timeout.ms=1000")
	}
	return strings.Join(lines, "\n") + "\n"
}
