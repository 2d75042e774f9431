// Package servers is the one place where tests get real Kafka, Redis and S3 servers
// from: addresses of the environment, containers, or processes of this machine.
// Only tests and integration/bench import it, and all of it but this page needs the build tag real, so
// that `go test ./...` needs nothing but Go.
//
// # Where servers come from
//
// The first of these that there is:
//
//  1. TALLYSTICK_TEST_BROKERS and TALLYSTICK_TEST_REDIS: addresses.
//  2. A Docker engine that answers and has, or gets, the images KAFKA_IMAGE and
//     REDIS_IMAGE: containers, by testcontainers-go.
//  3. Processes: Kafka from its released jars, which Maven fetches as
//     kafka/pom.xml says into the user's cache directory, and redis-server from
//     PATH, or what TALLYSTICK_TEST_REDIS_SERVER names (valkey-server, say).
//
// S3 is versitygw over a directory, a process always: Go builds it once, in two
// minutes of a processor, into the user's cache directory.
//
// TALLYSTICK_TEST_SERVERS (environment, docker or processes) takes one of them and
// no other. Where there is none, a *MissingError says what to install. Several
// nodes, and servers that are to be killed, paused and started again, are always
// processes.
//
// # Nothing leaves the machine
//
// All servers listen on 127.0.0.1, on ports that the kernel chose; addresses that
// are not loopback are refused, wherever they come from. Each Kafka has a cluster
// id of its own, so that a node which meets a stranger's port does not join it. A
// server is a process group of its own, is ended by its process id, and on Linux
// dies with the tests.
package servers
