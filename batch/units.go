package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Unit is a piece of work that is recorded when it is finished.
type Unit struct {
	Name string
	Run  func(ctx context.Context) error
}

// Lane is units each of which needs the one before it.
type Lane []Unit

// UnfinishedError says that a unit, whose rows are needed, is not finished: it has
// not been run, or what it left is gone.
type UnfinishedError struct{ Unit string }

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("unit %s is not finished, or what it left is gone; run it again", e.Unit)
}

// TimeoutError says that a unit took longer than it may.
type TimeoutError struct {
	Unit  string
	After time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("unit %s has not finished within %v: give units longer with --unit-timeout, or less to do with --unit-records", e.Unit, e.After)
}

// Driver runs the units of a phase that are not finished, alone or with other
// processes that see the same work area.
type Driver struct {
	Work     Work
	Share    int // this process is Share (from 0) of Of
	Of       int // 0 = 1
	Parallel int // lanes at once; 0 = 1
	// Timeout of one try of a unit, 0 = none. Where the units of others do not come on
	// for this long, they are run here: to run one twice is harmless.
	Timeout time.Duration
	// Retries is how often a unit is tried again after a failure that Transient calls
	// one, or after its timeout.
	Retries   int
	Transient func(error) bool            // nil = none
	Done      func(unit string, ran bool) // may be nil; ran is false for one that was finished before
	Poll      time.Duration               // how often others are looked at, seldomer when nothing comes; 0 = 1 s
	Waiting   func(unit string, more int) // may be nil; called where lanes of others stand still for ten polls, with the first one's unit
}

// Run returns when all units of the lanes are finished, whoever ran them.
func (d *Driver) Run(ctx context.Context, lanes []Lane) error {
	var own, others []Lane
	for i, l := range lanes {
		if of := max(1, d.Of); i%of == d.Share%of {
			own = append(own, l)
		} else {
			others = append(others, l)
		}
	}
	if err := d.all(ctx, own); err != nil {
		return err
	}
	return d.wait(ctx, others)
}

// all runs lanes, several at once. The first error ends all.
func (d *Driver) all(ctx context.Context, lanes []Lane) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan Lane)
	var wg sync.WaitGroup
	for range min(max(1, d.Parallel), len(lanes)) {
		wg.Go(func() {
			for l := range todo {
				if err := d.lane(ctx, l); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, l := range lanes {
		select {
		case todo <- l:
		case <-ctx.Done():
		}
	}
	close(todo)
	wg.Wait()
	return context.Cause(ctx)
}

// lane runs what is not finished of a lane.
func (d *Driver) lane(ctx context.Context, l Lane) error {
	for _, u := range l {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		finished, err := d.Work.Record(ctx, u.Name, nil)
		if err == nil && !finished {
			err = d.unit(ctx, u)
		}
		if err != nil {
			return err
		}
		if d.Done != nil {
			d.Done(u.Name, !finished)
		}
	}
	return nil
}

// unit runs a unit, several times where that may help.
func (d *Driver) unit(ctx context.Context, u Unit) error {
	for try := 0; ; try++ {
		err := d.try(ctx, u)
		if err == nil || ctx.Err() != nil || try >= d.Retries {
			return err
		}
		var late *TimeoutError
		if !errors.As(err, &late) && (d.Transient == nil || !d.Transient(err)) {
			return err
		}
	}
}

func (d *Driver) try(ctx context.Context, u Unit) error {
	if d.Timeout <= 0 {
		return u.Run(ctx)
	}
	late := &TimeoutError{u.Name, d.Timeout}
	ctx, cancel := context.WithTimeoutCause(ctx, d.Timeout, late)
	defer cancel()
	err := u.Run(ctx)
	if err != nil && context.Cause(ctx) == late {
		return late
	}
	return err
}

// wait returns when others have finished their lanes. Where these stand still they
// are run here.
func (d *Driver) wait(ctx context.Context, lanes []Lane) error {
	poll := d.Poll
	if poll <= 0 {
		poll = time.Second
	}
	next := make([]int, len(lanes)) // of each lane: how many units are finished
	pause, since, told := poll, time.Now(), false
	for {
		var open []Lane
		moved := false
		for i, l := range lanes {
			n, err := d.finished(ctx, l, next[i])
			if err != nil {
				return err
			}
			moved = moved || n > next[i]
			if next[i] = n; n < len(l) {
				open = append(open, l[n:])
			}
		}
		switch {
		case len(open) == 0:
			return nil
		case moved:
			pause, since = poll, time.Now()
		case d.Timeout > 0 && time.Since(since) >= d.Timeout:
			from := d.Share % len(open) // others that wait begin elsewhere
			if err := d.all(ctx, append(open[from:len(open):len(open)], open[:from]...)); err != nil {
				return err
			}
			continue
		}
		if !told && d.Waiting != nil && time.Since(since) >= 10*poll {
			told = true
			d.Waiting(open[0][0].Name, len(open)-1)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		pause = min(pause*3/2, max(poll, d.Timeout/4), 10*poll)
	}
}

// finished counts the units of a lane that are, from one that is the first that may
// not be.
func (d *Driver) finished(ctx context.Context, l Lane, from int) (int, error) {
	for ; from < len(l); from++ {
		done, err := d.Work.Record(ctx, l[from].Name, nil)
		if err != nil || !done {
			return from, err
		}
	}
	return from, nil
}
