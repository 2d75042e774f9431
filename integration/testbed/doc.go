// Package testbed is what the tests of several packages stand on: Kafka and
// Redis inside the process, and a small source of events with its schema, its
// definition and the bytes of its records. Only tests import it.
//
// Nothing here reaches another machine: a server that listens elsewhere than on
// loopback fails its test, and the clients that Kafka's options make dial
// loopback alone, whatever address a broker advertises.
//
// It imports neither store, stream nor batch, so that their own tests can use it.
package testbed
