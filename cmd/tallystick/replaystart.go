package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// one replays a view in this process.
func (r *replayFlags) one(ctx context.Context, client *log.Client, cut *schemas.Cut, v *definition.View) (*replayedView, error) {
	tc := cut.Topics[v.Source.Topic]
	o, whole, reason, err := r.startOf(ctx, client, v, tc)
	if err != nil {
		return nil, err
	}
	if reason != "" && r.meter != nil {
		fmt.Fprintf(r.meter.w, "view %s: the log is read from its start: %s\n", v.Name, reason)
	}
	var view *replayedView
	if o.onto != nil && o.onto.Info.FinalOnly == o.finalOnly && sameEnds(whole, o.onto.Info.Cut) {
		maps.Copy(whole.Partitions, o.onto.Info.Cut.Partitions)
		view, err = unchanged(v, o.onto)
	} else {
		view, err = r.whole(ctx, client, v, whole, o)
	}
	if err != nil {
		return nil, err
	}
	for p, pc := range whole.Partitions { // for --save-cut
		pc.Start = tc.Partitions[p].Start
		tc.Partitions[p] = pc
	}
	return view, nil
}

// sameEnds tells whether nothing has come between two cuts of the same partitions.
func sameEnds(a, b schemas.TopicCut) bool {
	return maps.EqualFunc(a.Partitions, b.Partitions, func(a, b schemas.PartitionCut) bool {
		return a.End == b.End && (a.Idle == nil) == (b.Idle == nil) && (a.Idle == nil || *a.Idle == *b.Idle)
	})
}

// unchanged describes tables that are what a replay that goes on would write.
func unchanged(v *definition.View, p *offline.Published) (*replayedView, error) {
	from, err := (&wire.Carry{Published: p}).From()
	if err != nil {
		return nil, err
	}
	report := &batch.Report{Ledgers: from.Ledgers, Newest: from.Newest, Days: from.Days, Clocks: map[int32]schemas.Micros{}, Boundary: *p.Info.Boundary}
	for id, pc := range p.Info.Cut.Partitions {
		report.Clocks[id] = *pc.Clock
	}
	valid := schemas.Never
	if p.Info.ValidFrom != nil {
		valid = *p.Info.ValidFrom
	}
	view := replayed(v, p.Info.Cut, valid, report)
	view.Continued, view.Gate = true, gateSaid(verdictStanding, nil)
	return &view, nil
}

// startOf says where a replay begins: at the start of the log, or, if asked for and
// possible, at the cut of the tables; else reason says why not. What is returned is
// the cut of the job, which begins where that of the tables does.
func (r *replayFlags) startOf(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut) (o jobOptions, whole schemas.TopicCut, reason string, err error) {
	o = jobOptions{from: schemas.Never, records: r.units.records, finalOnly: r.units.publish == publishFinal}
	if r.goOn {
		if o.onto, reason, err = r.tablesToGoOn(ctx, v, tc); err != nil {
			return o, tc, "", err
		}
	}
	if o.onto == nil {
		o.from, err = r.validFrom(ctx, client, v, tc)
		return o, tc, reason, err
	}
	o.base = o.onto.Versions
	if from := o.onto.Info.ValidFrom; from != nil {
		o.from = *from
	}
	return o, begunAt(tc, o.onto.Info.Cut), "", nil
}

// begunAt is a cut that begins where an earlier one does.
func begunAt(cut, earlier schemas.TopicCut) schemas.TopicCut {
	cut.Partitions = maps.Clone(cut.Partitions)
	for p, pc := range cut.Partitions {
		pc.Start = earlier.Partitions[p].Start
		cut.Partitions[p] = pc
	}
	return cut
}

// tablesToGoOn returns the publication that a replay up to a cut can go on from, nil
// and why where it cannot.
func (r *replayFlags) tablesToGoOn(ctx context.Context, v *definition.View, tc schemas.TopicCut) (*offline.Published, string, error) {
	tables, err := r.tables(r.out, r.spill, v)
	if err != nil {
		return nil, "", err
	}
	p, err := tables.Published(ctx)
	if errors.Is(err, offline.ErrNothingPublished) {
		return nil, "nothing has been published yet", nil
	}
	var bad *offline.RestoreError
	switch {
	case err != nil:
		return nil, "", err
	case p.Info.Boundary == nil:
		return nil, "nothing is closed in the tables", nil
	}
	if err := p.CheckRestore(); errors.As(err, &bad) {
		return nil, bad.Reason, nil
	} else if err != nil {
		return nil, "", err
	}
	if same, err := p.SameColumns(); err != nil || !same {
		return nil, "the tables have other columns", err
	}
	carry := wire.Carry{Published: p}
	from, err := carry.From()
	if err != nil {
		return nil, "", err
	}
	if reason := from.Check(v, tc); reason != "" {
		return nil, reason, nil
	}
	return p, "", nil
}
