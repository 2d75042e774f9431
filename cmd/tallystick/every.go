package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// everyFlag makes a command a daemon: it begins anew every so often.
type everyFlag struct {
	every time.Duration
}

func (e *everyFlag) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&e.every, "every", 0, "begin anew every `DURATION` such as 15m, until interrupted (default: once)")
}

func (e *everyFlag) check() error {
	if e.every != 0 && e.every < time.Second {
		return usagef("--every: %v is too short: name a second or more", e.every)
	}
	return nil
}

// rounds runs round, once or again and again. A round that fails is told and the
// next one tried, as a server may be away for a while; wrong input ends it. When
// it is interrupted, the outcome is that of the last whole round; where there was
// none, nobody may take the end for one.
func (e *everyFlag) rounds(ctx context.Context, notices io.Writer, round func(context.Context) error) error {
	if e.every == 0 {
		return round(ctx)
	}
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	last := context.Canceled
	for {
		err := round(ctx)
		var exit *exitError
		verdict := err == nil || errors.As(err, &exit)
		switch {
		case exit != nil && exit.code == exitUsage:
			return err
		case ctx.Err() != nil && !verdict: // cut short
			return last
		}
		if last = err; err != nil {
			fmt.Fprintf(notices, "%s: %s\n", time.Now().UTC().Format(time.RFC3339), printable(err.Error()))
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		if ctx.Err() != nil {
			return last
		}
	}
}
