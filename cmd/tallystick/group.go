package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/definition"
)

// groupFlags say how the streams of a view share its partitions.
type groupFlags struct {
	prefix   string
	protocol string
	session  time.Duration
}

func (g *groupFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.prefix, "group-prefix", "", "`PREFIX` of the consumer groups' names, PREFIX.VIEW. and a fingerprint: streams that keep one view in two Redis need two (default: tallystick)")
	f.StringVar(&g.protocol, "group-protocol", "", "`PROTOCOL` by which the streams of a view share its partitions: classic, or consumer with brokers from Kafka 4.0 on; the same for all of them (default: classic)")
	f.DurationVar(&g.session, "session-timeout", 0, "`DURATION` after which the partitions of a stream that is not heard of go to the others (default: 45s); with the protocol consumer the brokers say")
}

// check refuses flags that are not sound. A stream that ends by itself is in no group.
func (g *groupFlags) check(until string) error {
	switch {
	case until != "" && g.protocol != "":
		return usagef("--group-protocol: a stream with --until reads all partitions by itself and joins no group: leave it out")
	case until != "" && g.session != 0:
		return usagef("--session-timeout: a stream with --until reads all partitions by itself and joins no group: leave it out")
	case g.prefix != "" && !definition.TopicName(g.prefix):
		return usagef("--group-prefix: %q cannot begin a group's name: use letters, digits, . _ and -", g.prefix)
	case g.protocol != "" && g.protocol != log.ClassicProtocol && g.protocol != log.ConsumerProtocol:
		return usagef("--group-protocol: %q is neither classic nor consumer", g.protocol)
	case g.session != 0 && g.protocol == log.ConsumerProtocol:
		return usagef("--session-timeout: with --group-protocol consumer the brokers say how long it is (group.consumer.session.timeout.ms): leave it out")
	case g.session < 0 || g.session > 0 && g.session < time.Second:
		return usagef("--session-timeout: %v is too short: name a second or more", g.session)
	}
	return nil
}

// of is the name of a view's consumer group: each definition has its own.
func (g *groupFlags) of(v *definition.View) string {
	return cmp.Or(g.prefix, "tallystick") + "." + v.Name + "." + v.Fingerprint[:8]
}

// join makes a worker that runs until it is told to end a member of its view's
// group, from its first step on. A bounded run, nil, wants all partitions.
func (g *groupFlags) join(client *log.Client, v *definition.View, o *stream.Options) *wire.Membership {
	if o.Until != nil || o.UntilEnd {
		return nil
	}
	m := wire.NewMembership(client, log.GroupOptions{Group: g.of(v), Topic: v.Source.Topic, Protocol: g.protocol, SessionTimeout: g.session})
	o.Membership = m
	return m
}

// leave gives the partitions to the others at once.
func leave(ctx context.Context, m *wire.Membership, v *definition.View, notices io.Writer) {
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		fmt.Fprintf(notices, "%s: %v; the others get its partitions when its session is over\n", v.Name, err)
	}
}

// commitLag commits where the markers of partitions stand. A stream outside of a
// group that has members leaves it to them.
func (g *groupFlags) commitLag(ctx context.Context, client *log.Client, m *wire.Membership, v *definition.View, next map[int32]int64) error {
	if m != nil {
		return m.Commit(ctx, next)
	}
	err := client.CommitOffsets(ctx, g.of(v), v.Source.Topic, next)
	if errors.Is(err, log.ErrGroupHasMembers) {
		return nil
	}
	return err
}
