package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms/definition"
)

// filler fills topics with the samples that come with the program.
type filler struct {
	seed   uint64
	events int
	filled map[string]int // records appended, by topic
}

func (f *filler) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.events, "events", 20_000, "make `N` orders up")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "`N` from which the orders are made up: the same ones for the same")
}

func (f *filler) check() error {
	if f.events < 1 || f.events > 10_000_000 {
		return usagef("--events: %d is no number of orders: name one from 1 to 10000000", f.events)
	}
	return nil
}

func fillCommand() *cobra.Command {
	var c common
	var f filler
	cmd := &cobra.Command{
		Use:   "fill",
		Short: "Fill a project's topics on a real Kafka with samples",
		Long: `Append the samples that come with the program to the topics that the definition
reads: orders (made up, see --events and --seed), flights and weather. A topic
that is missing is created; one that holds records is left alone.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), &c, cmd.OutOrStdout(), newMeter(cmd.ErrOrStderr()))
		},
	}
	c.logFlags(cmd)
	f.add(cmd)
	return cmd
}

// fillOutput is what `fill --json` prints.
type fillOutput struct {
	Filled map[string]int `json:"filled"` // records appended, by topic
}

func (f *filler) run(ctx context.Context, c *common, w io.Writer, m *meter) error {
	vs, err := c.loadViews(nil)
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	known := samples(f.seed, f.events)
	if !slices.ContainsFunc(topics(vs), func(t string) bool { return known[t].partitions > 0 }) {
		return usagef("nothing is known to fill %s with, only %s", strings.Join(topics(vs), ", "), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	if _, err := c.logOptions(); err != nil {
		return err
	}
	client, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	text := w
	if c.json {
		text = io.Discard
	}
	err = f.fillTopics(ctx, &servers{client: client}, vs, text, m)
	if c.json && err == nil {
		err = printJSON(w, fillOutput{f.filled})
	}
	return err
}

// sampleConfigs are those of a topic that is created on a real Kafka: the samples
// are of days long gone, which no retention may delete, and their timestamps come
// from us, which bounds how far one may lie ahead (§3).
var sampleConfigs = map[string]string{"retention.ms": "-1", "message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "3600000"}

// fillTopics fills the samples' topics that the views read and that hold nothing
// yet.
func (f *filler) fillTopics(ctx context.Context, s *servers, vs []*definition.View, w io.Writer, m *meter) error {
	f.filled = map[string]int{}
	known := samples(f.seed, f.events)
	for _, topic := range topics(vs) {
		from, ok := known[topic]
		if !ok {
			continue
		}
		if err := f.fillTopic(ctx, s, topic, from, w, m); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) fillTopic(ctx context.Context, s *servers, topic string, from sample, w io.Writer, m *meter) error {
	configs := sampleConfigs
	if s.kafka != nil {
		configs = nil
	}
	t, err := s.client.Describe(ctx, topic)
	var missing *log.MissingTopicError
	switch {
	case errors.As(err, &missing):
		if err := s.client.EnsureTopic(ctx, topic, from.partitions, configs); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		from.partitions = int32(len(t.Partitions))
	}
	cut, err := s.client.Cut(ctx, topic)
	if err != nil {
		return err
	}
	if n := cutRecords(cut.Topics[topic]); n > 0 {
		fmt.Fprintf(w, "Kafka    topic %s holds about %d records already: nothing was appended\n", topic, n)
		return nil
	}
	if t != nil && t.TimestampType == log.LogAppendTime {
		return fmt.Errorf("topic %s has LogAppendTime, by which all samples would be late, as they are of days long gone: delete it, and it is created as they need it, or set message.timestamp.type=CreateTime and retention.ms=-1", topic)
	}
	p := m.phase("fill "+topic, from.about)
	n, err := from.fill(ctx, s.client, topic, int(from.partitions), func(n int) { p.done.Add(int64(n)) })
	p.end()
	if err != nil {
		return err
	}
	f.filled[topic] = n
	fmt.Fprintf(w, "Kafka    %d sample records appended to topic %s (%.1f s)\n", n, topic, p.took().Seconds())
	return nil
}
