package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
)

// publish makes what all units left visible, in one publication, and removes it from
// the work area.
func (j *viewJob) publish(ctx context.Context) (*replayedView, schemas.TopicCut, error) {
	cut, err := j.clocked(ctx)
	if err != nil {
		return nil, cut, err
	}
	under, err := j.settled(cut)
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
	view.Units, view.Continued = &replayedUnits{Ran: j.ran.Load(), Found: j.found.Load()}, j.carried != nil
	if d := j.replay.Dates; d != nil {
		view.Dates = dateRange(d.From, d.To)
	}
	view.Range, view.Outside = j.entities, report.Outside
	view.Offsets, view.RecordsRead = j.toRead(), j.read
	view.Uncompared = report.Uncompared
	if view.Changes, err = changesOf(j.view, report.Changes); err != nil {
		return nil, cut, err
	}
	if j.run != nil {
		before, err := j.run.Before()
		if err != nil {
			return nil, cut, err
		}
		if before != nil && before.Cut.TopicID == under.TopicID {
			view.BackFrom = beyond(before.Cut, under)
		}
		staged, err := j.run.Staged(ctx, under)
		if err != nil {
			return nil, cut, err
		}
		if j.upon == nil && before != nil { // replaced
			view.BeginsAfter, view.DatesGone = beganBefore(before.Cut, under), goneOf(staged)
		}
		if view.Gate, err = j.publishStaged(ctx, staged, report); err != nil {
			return nil, cut, err
		}
	}
	return &view, cut, nil
}

// beyond returns where a cut ends in the partitions in which it reaches farther than
// another one, which may be without them.
func beyond(a, b schemas.TopicCut) map[int32]int64 {
	ends := map[int32]int64{}
	for p, pc := range a.Partitions {
		if pc.End > b.Partitions[p].End {
			ends[p] = pc.End
		}
	}
	return ends
}

// beganBefore returns where a cut begins in the partitions in which another one of the
// same topic begins later.
func beganBefore(a, b schemas.TopicCut) map[int32]int64 {
	starts := map[int32]int64{}
	if a.TopicID != b.TopicID {
		return starts
	}
	for p, pc := range b.Partitions {
		if was, ok := a.Partitions[p]; ok && was.Start < pc.Start {
			starts[p] = was.Start
		}
	}
	return starts
}

// goneOf returns the dates that tables lose where they are replaced, nil for none.
func goneOf(s *offline.Staged) *goneOutput {
	dates, version := s.Gone()
	if len(dates) == 0 {
		return nil
	}
	return &goneOutput{From: dates[0], To: dates[len(dates)-1], Dates: len(dates), Version: version}
}

// settled is the cut that is published. Dates that are final are written up to that of
// the tables, which stays as it is.
func (j *viewJob) settled(cut schemas.TopicCut) (schemas.TopicCut, error) {
	if d := j.replay.Dates; d == nil || !d.Settled {
		return cut, nil
	}
	was := j.upon.Info.Cut
	for p, pc := range cut.Partitions {
		if is := was.Partitions[p]; is.Clock == nil || pc.Clock == nil || *is.Clock != *pc.Clock {
			return cut, fmt.Errorf("partition %d: the log clock at the tables' cut is not the one that they have: they are of another log; replay them from its start", p)
		}
	}
	return was, nil
}

// publication is what the commits say of the job.
func (j *viewJob) publication(ctx context.Context, report *batch.Report) (offline.Publication, error) {
	d := j.replay.Dates
	if d != nil && d.Settled {
		p := j.upon.Info.Publication
		p.Mode, p.Dates, p.Gate = offline.RepairDates, dateRange(d.From, d.To), nil
		return p, nil
	}
	p := wire.Publication(j.view.Source.Topic, j.from, report)
	p.FinalOnly, p.Entities = j.replay.FinalOnly, j.entities
	if d != nil {
		engine, err := transforms.NewView(j.view.Spec)
		if err == nil {
			err = checkClosed(j.view, engine, d, report.Closed)
		}
		if err != nil {
			return p, err
		}
		p.Dates = dateRange(d.From, d.To)
	}
	if d != nil && j.upon != nil {
		p.Mode = offline.ReplaceDates
	}
	if j.carried != nil {
		day, err := j.replay.FirstDay()
		if err != nil {
			return p, err
		}
		p.Mode, p.Dates = offline.ReplaceDates, dateRange(day, batch.LastDay)
	}
	var err error
	p.Carry, err = j.note(ctx)
	return p, err
}

// noLastDate ends a range of dates that has no end.
const noLastDate = "9999-12-31"

// dateRange is a range of days since the epoch.
func dateRange(from, to int64) *offline.DateRange {
	r := &offline.DateRange{From: gate.Day(from).String(), To: noLastDate}
	if to != batch.LastDay {
		r.To = gate.Day(to).String()
	}
	return r
}

// publishStaged publishes, unless the gate holds it back.
func (j *viewJob) publishStaged(ctx context.Context, staged *offline.Staged, report *batch.Report) (*gateOutput, error) {
	p, err := j.publication(ctx, report)
	if err != nil {
		return nil, err
	}
	said, pass, err := j.pass(ctx, staged, &p, report)
	if err != nil || !pass {
		return said, err
	}
	if _, err = staged.Publish(ctx, p); err == nil {
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
