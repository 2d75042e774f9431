package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
)

// publish makes what all units left visible, in one publication, and removes it from
// the work area.
func (j *viewJob) publish(ctx context.Context) (*replayedView, schemas.TopicCut, error) {
	cut, err := j.clocked(ctx)
	if err != nil {
		return nil, cut, err
	}
	report, err := j.replay.Report(ctx)
	if err != nil {
		return nil, cut, err
	}
	if err := j.quarantine(ctx); err != nil {
		return nil, cut, err
	}
	view := replayed(j.view, cut, j.from, report)
	view.Units, view.Continued = &replayedUnits{Ran: j.ran.Load(), Found: j.found.Load()}, j.onto != nil
	view.Offsets, view.RecordsRead = j.toRead(), j.read
	if view.Changes, err = changesOf(j.view, report.Changes); err != nil {
		return nil, cut, err
	}
	if j.run != nil {
		staged, err := j.run.Staged(ctx, cut)
		if err != nil {
			return nil, cut, err
		}
		if view.Gate, err = j.publishStaged(ctx, staged, report); err != nil {
			return nil, cut, err
		}
	}
	return &view, cut, nil
}

// publishStaged publishes, unless the gate holds it back.
func (j *viewJob) publishStaged(ctx context.Context, staged *offline.Staged, report *batch.Report) (*gateOutput, error) {
	p := wire.Publication(j.view.Source.Topic, j.from, report)
	p.FinalOnly = j.replay.FinalOnly
	if j.onto != nil {
		day, err := j.replay.FirstDay()
		if err != nil {
			return nil, err
		}
		p.Mode, p.Dates = offline.ReplaceDates, &offline.DateRange{From: gate.Day(day).String(), To: "9999-12-31"}
	}
	var err error
	if p.Carry, err = j.carried(ctx); err != nil {
		return nil, err
	}
	said, pass, err := j.pass(ctx, staged, &p, report)
	if err != nil || !pass {
		return said, err
	}
	_, err = staged.Publish(ctx, p)
	if errors.Is(err, offline.ErrConflict) {
		return nil, fmt.Errorf("%w; nothing of this run is visible: run it again", err)
	}
	if err == nil {
		j.clean(ctx)
	}
	return said, err
}

// cleanTime is what removing what a run has left may take.
const cleanTime = time.Minute

// clean removes what a run that has published has left. What stays is for the next
// publication, or for gc.
func (j *viewJob) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	if err := j.run.Clean(ctx); err != nil && j.r.meter != nil {
		fmt.Fprintf(j.r.meter.w, "view %s: published; what the run has left is not all removed (%v): its next publication, or gc, does that\n", j.view.Name, err)
	}
}

// quarantine writes the file of quarantined records.
func (j *viewJob) quarantine(ctx context.Context) error {
	if j.r.quarantine == "" {
		return nil
	}
	file := offline.QuarantineFile(j.r.system(), filepath.Join(j.r.quarantine, j.view.Name+".parquet"), j.r.rows()/4)
	defer file.Abort()
	if err := file.From(ctx, j.work, j.units); err != nil {
		return err
	}
	_, err := file.Close(ctx)
	return err
}
