package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms/definition"
)

// startFlags say what to do about a log that no longer reaches back to offset 0 (K8).
type startFlags struct {
	adopt bool
	clock string
}

func (s *startFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.adopt, "adopt-start", false, "begin where a truncated log begins; windows that reach back before it are INCOMPLETE")
	cmd.Flags().StringVar(&s.clock, "start-clock", "", "with --adopt-start: the log clock at the log's start, an `INSTANT` as RFC 3339 has it, where the topic does not bound its timestamps")
}

// check refuses flags that are not sound; late: reading may begin beyond the log's start.
func (s *startFlags) check(late bool) error {
	if s.clock == "" {
		return nil
	}
	if !s.adopt && !late {
		return usagef("--start-clock: it goes with --adopt-start: add that, or leave this out")
	}
	_, err := parseInstant("--start-clock", s.clock)
	return err
}

// validFrom returns the instant such that windows which begin at or before it
// are incomplete, Never when the cut begins at offset 0 (K8).
func (s *startFlags) validFrom(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut) (schemas.Micros, error) {
	from := schemas.Never
	for _, p := range tc.PartitionIDs() {
		start := tc.Partitions[p].Start
		if start == 0 {
			continue
		}
		if !s.adopt {
			return 0, fmt.Errorf("topic %s partition %d: the log, or the cut of it, begins at offset %d, and what came before is not read; accept that with --adopt-start, which marks windows that reach back before it as INCOMPLETE",
				v.Source.Topic, p, start)
		}
		clock, err := s.startClock(ctx, client, v, tc, p)
		if err != nil {
			return 0, err
		}
		from = max(from, clock.AddSat(v.Spec.MaxLateness()).AddSat(2*v.Spec.MaxFuture))
	}
	return from, nil
}

var errFirst = errors.New("the first record is read")

// startClock bounds the log clock at a partition's start: the first record's
// timestamp, with CreateTime plus how far timestamps may lie apart. Without a
// record nothing bounds it: Forever.
func (s *startFlags) startClock(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut, p int32) (schemas.Micros, error) {
	if s.clock != "" {
		return parseInstant("--start-clock", s.clock)
	}
	pc := tc.Partitions[p]
	first := schemas.Never
	err := client.Read(ctx, log.Ref{Name: v.Source.Topic, ID: tc.TopicID}, p, pc.Start, pc.End, func(rs []schemas.Record) error {
		if len(rs) > 0 {
			first = rs[0].Timestamp
			return errFirst
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFirst) {
		return 0, err
	}
	if first == schemas.Never {
		return schemas.Forever, nil
	}
	bound, err := stampBound(ctx, client, v.Source.Topic)
	if errors.Is(err, errUnbounded) {
		return 0, usagef("topic %s does not bound its timestamps, so the log clock at its start is not known; state one that it had not passed with --start-clock", v.Source.Topic)
	}
	return first.AddSat(bound), err
}

var errUnbounded = errors.New("the topic does not bound its timestamps")

// stampBound returns how far beyond a record's timestamp those before it may lie, in µs:
// nothing with LogAppendTime. errUnbounded: anything.
func stampBound(ctx context.Context, client *log.Client, name string) (schemas.Micros, error) {
	topic, err := client.Describe(ctx, name)
	if err != nil || topic.TimestampType == log.LogAppendTime {
		return 0, err
	}
	before, after := topic.TimestampBeforeMaxMs, topic.TimestampAfterMaxMs
	if before == log.Unknown || before == log.Unlimited || after == log.Unknown || after == log.Unlimited {
		return 0, errUnbounded
	}
	return (schemas.Micros(before) * 1000).AddSat(schemas.Micros(after) * 1000), nil
}
