package main

import (
	"context"
	"errors"
	"time"
)

// A signal ends the program within stopTime, as what runs it kills it after 10 s:
// the stream has drainTime to write what it holds, and then partingTime each to
// tell its lag, to leave its group and to report.
const (
	stopTime    = 9 * time.Second
	drainTime   = 4 * time.Second
	partingTime = 1250 * time.Millisecond
)

var errGivenUp = errors.New("interrupted, and what was under way did not end in time: it was given up, as if killed; nothing is lost by that")

// within calls fn, and gives up waiting for it when ctx has ended for as long as
// grace: a call to a server that neither answers nor hangs up may take longer.
func within(ctx context.Context, grace time.Duration, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errGivenUp
	}
}
