package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// liveFlags are the flags of `live`.
type liveFlags struct {
	common
	redisFlags
	wait time.Duration
}

func liveCommand() *cobra.Command {
	var l liveFlags
	cmd := &cobra.Command{
		Use:   "live VIEW",
		Short: "Make readers of a view use this definition, once Redis holds it",
		Long: `Make all readers of a view use its states as this definition has them, at one moment. It
waits until they hold every record that the log had when the command began, which a running
` + "`stream`" + ` of this definition sees to. What the readers used before stays until ` + "`drop`" + `.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one view: tallystick live VIEW")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), cmd.OutOrStdout(), args[0]) },
	}
	l.logFlags(cmd)
	l.redisFlags.add(cmd)
	cmd.Flags().DurationVar(&l.wait, "wait", time.Minute, "give up after this `DURATION`")
	return cmd
}

func (l *liveFlags) run(ctx context.Context, w io.Writer, name string) error {
	if l.wait < 0 {
		return usagef("--wait: %v is below zero: name how long to wait, such as 10m", l.wait)
	}
	def, err := l.load()
	if err != nil {
		return err
	}
	v, err := def.View(name)
	if err != nil {
		return usage(err)
	}
	if err := l.redisFlags.check(); err != nil {
		return err
	}
	client, err := l.common.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	redis, err := l.redisFlags.open(ctx)
	if err != nil {
		return err
	}
	defer redis.Close()
	cut, err := client.Cut(ctx, v.Source.Topic)
	if err != nil {
		return err
	}
	if err := l.caughtUp(ctx, redis, v, cut.Topics[v.Source.Topic]); err != nil {
		return err
	}
	out := liveOutput{View: v.Name, Fingerprint: v.Fingerprint}
	if out.Was, err = redis.Live(ctx, v.Name); err != nil {
		return err
	}
	if _, err := redis.SetLive(ctx, v.Name, v.Fingerprint, false); err != nil {
		return err
	}
	if l.json {
		return printJSON(w, out)
	}
	switch out.Was {
	case v.Fingerprint:
		fmt.Fprintf(w, "view %s: readers use fingerprint %s, as before\n", out.View, out.Fingerprint)
	case "":
		fmt.Fprintf(w, "view %s: readers use fingerprint %s\n", out.View, out.Fingerprint)
	default:
		fmt.Fprintf(w, "view %s: readers use fingerprint %s, in the place of %s, which `tallystick drop` with its definition removes\n", out.View, out.Fingerprint, out.Was)
	}
	return nil
}

// liveEvery is how often markers are looked at: those of idle shards move every 10 s.
const liveEvery = 200 * time.Millisecond

// caughtUp waits until the markers of a view stand at a cut or beyond it.
func (l *liveFlags) caughtUp(ctx context.Context, redis *online.Client, v *definition.View, cut schemas.TopicCut) error {
	deadline := time.Now().Add(l.wait)
	t := time.NewTicker(liveEvery)
	defer t.Stop()
	for {
		lacks, err := behind(ctx, redis.Store(v), cut)
		if err != nil || lacks == "" {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("view %s: not switched after %v: %s; let `tallystick stream` of this definition run, and ask again", v.Name, l.wait, lacks)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// behind says what of a cut the markers of a store have not reached, "" = nothing.
func behind(ctx context.Context, store *online.Store, cut schemas.TopicCut) (string, error) {
	for _, p := range cut.PartitionIDs() {
		marks, err := store.Marks(ctx, p)
		if err != nil {
			return "", err
		}
		end := cut.Partitions[p].End
		for shard, m := range marks {
			switch {
			case m.Phase != marker.Live:
				return fmt.Sprintf("the marker of partition %d shard %d is %v", p, shard, m.Phase), nil
			case m.TopicID != cut.TopicID:
				return fmt.Sprintf("the marker of partition %d shard %d speaks of topic id %s, the topic's is %s", p, shard, m.TopicID, cut.TopicID), nil
			case m.Next < end:
				return fmt.Sprintf("partition %d shard %d stands at offset %d, the log ended at %d", p, shard, m.Next, end), nil
			}
		}
	}
	return "", nil
}

// liveOutput is what `live --json` prints.
type liveOutput struct {
	View        string `json:"view"`
	Fingerprint string `json:"fingerprint"`
	Was         string `json:"was"` // what readers used before, "" = none
}
