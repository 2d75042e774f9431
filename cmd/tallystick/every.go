package main

import (
	"cmp"
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
	listenFlag
	logFlag
	seen *roundsMonitor // nil = nobody asks
}

func (e *everyFlag) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&e.every, "every", 0, "begin anew every `DURATION` such as 15m, until interrupted (default: once)")
	e.listenFlag.add(cmd, "with --every: ")
	e.logFlag.add(cmd)
}

func (e *everyFlag) check() error {
	if err := cmp.Or(e.listenFlag.check(), e.logFlag.check()); err != nil {
		return err
	}
	if e.listen != "" && e.every == 0 {
		return usagef("--listen: it goes with --every: add that, or leave this out")
	}
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
	stop, err := e.serve(notices)
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	last := context.Canceled
	for {
		begun := time.Now()
		err := round(ctx)
		var exit *exitError
		verdict := err == nil || errors.As(err, &exit)
		switch {
		case exit != nil && exit.code == exitUsage:
			return err
		case ctx.Err() != nil && !verdict: // cut short
			return last
		}
		e.seen.ended(err, time.Since(begun))
		if last = err; err != nil {
			e.tell(notices, err)
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

// serve listens for those who ask how the rounds went.
func (e *everyFlag) serve(notices io.Writer) (stop func(), err error) {
	if e.listen == "" {
		return func() {}, nil
	}
	if e.seen == nil {
		e.seen = newRoundsMonitor()
	}
	return e.start(e.seen, e.seen.registry, notices)
}

// tell says how a round failed.
func (e *everyFlag) tell(notices io.Writer, err error) {
	if lines, ok := notices.(*logLines); ok {
		lines.log.Warn("a round failed, or found the stores different", "error", err.Error())
		return
	}
	fmt.Fprintf(notices, "%s: %s\n", time.Now().UTC().Format(time.RFC3339), printable(err.Error()))
}
