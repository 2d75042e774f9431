package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	r.fromItsStart(v, reason)
	var view *replayedView
	if o.standing(whole) {
		maps.Copy(whole.Partitions, o.upon.Info.Cut.Partitions)
		view, err = unchanged(v, o.upon)
	} else {
		view, err = r.whole(ctx, client, v, whole, o)
	}
	if err != nil {
		return nil, err
	}
	if o.dates != nil && o.dates.Settled { // its cut is that of the tables
		return view, nil
	}
	for p, pc := range whole.Partitions { // for --save-cut
		pc.Start = tc.Partitions[p].Start
		tc.Partitions[p] = pc
	}
	return view, nil
}

// fromItsStart says why the log is read from its start, "" where it need not be said.
func (r *replayFlags) fromItsStart(v *definition.View, reason string) {
	if reason != "" && r.meter != nil {
		fmt.Fprintf(r.meter.w, "view %s: the log is read from its start: %s\n", v.Name, reason)
	}
}

// standing tells whether the tables are what a replay that goes on from them would write.
func (o *jobOptions) standing(whole schemas.TopicCut) bool {
	return o.continued && o.upon.Info.FinalOnly == o.finalOnly && sameEnds(whole, o.upon.Info.Cut)
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
	if _, o.entities, err = r.entities.of(v); err != nil {
		return o, tc, "", err
	}
	if r.dates.set() {
		return r.startOfDates(ctx, client, v, tc, o)
	}
	if r.goOn {
		if o.upon, reason, err = r.tablesToGoOn(ctx, v, tc); err != nil {
			return o, tc, "", err
		}
		o.continued = o.upon != nil
	}
	if !o.continued {
		o.from, err = r.validFrom(ctx, client, v, tc)
		return o, tc, reason, err
	}
	if from := o.upon.Info.ValidFrom; from != nil {
		o.from = *from
	}
	return o, begunAt(tc, o.upon.Info.Cut), "", nil
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
// and why where it cannot. What only the tables still have is then not replaced.
func (r *replayFlags) tablesToGoOn(ctx context.Context, v *definition.View, tc schemas.TopicCut) (*offline.Published, string, error) {
	tables, err := r.tables(r.out, r.spill, v)
	if err != nil {
		return nil, "", err
	}
	p, err := tables.Published(ctx)
	if errors.Is(err, offline.ErrNothingPublished) {
		return nil, "nothing has been published yet", nil
	} else if err != nil {
		return nil, "", err
	}
	reason, err := r.standsApart(ctx, v, tc, p)
	if err != nil {
		return nil, "", err
	}
	if reason != "" {
		return nil, reason, onlyInTables(tc, p.Info.Cut, reason)
	}
	return p, "", nil
}

// standsApart tells why a replay up to a cut cannot go on from a publication, "" where
// it can.
func (r *replayFlags) standsApart(ctx context.Context, v *definition.View, tc schemas.TopicCut, p *offline.Published) (string, error) {
	if p.Info.Boundary == nil {
		return "nothing is closed in the tables", nil
	}
	if _, e, err := r.entities.of(v); err != nil || !p.Info.Entities.Equal(e) {
		return "", errors.Join(err, otherEntities(v, p.Info.Entities, e))
	}
	var bad *offline.RestoreError
	if err := p.CheckRestore(); errors.As(err, &bad) {
		return bad.Reason, nil
	} else if err != nil {
		return "", err
	}
	if same, err := p.SameColumns(); err != nil || !same {
		return "the tables have other columns", err
	}
	if err := notEarlier(tc, p.Info.Cut); err != nil {
		return "", fmt.Errorf("--continue: %w: leave --continue out to write the earlier state", err)
	}
	if reason, err := r.sameRules(ctx, v, p.Info.Carry); err != nil || reason != "" {
		return reason, err
	}
	carry := wire.Carry{Published: p}
	from, err := carry.From()
	if err != nil {
		return "", err
	}
	return from.Check(v, tc), nil
}

// onlyInTables refuses to replace tables that cannot be gone on from, for the reason
// given, where the log no longer has what they begin with (K3).
func onlyInTables(cut, tables schemas.TopicCut, reason string) error {
	if cut.TopicID != tables.TopicID {
		return errors.New("--continue: the topic was created again, and the tables have records of the one before: leave --continue out to replace the tables, which lose their first dates, or name another --out")
	}
	for _, p := range tables.PartitionIDs() {
		was := tables.Partitions[p]
		if is, ok := cut.Partitions[p]; ok && is.Start > was.Start {
			return fmt.Errorf("--continue: %s, and of partition %d they begin at offset %d, the log at %d: leave --continue out to replace the tables, which lose their first dates, or name another --out", reason, p, was.Start, is.Start)
		}
	}
	return nil
}

// notEarlier refuses a cut that ends before that of the tables, in a partition of both.
func notEarlier(cut, tables schemas.TopicCut) error {
	for _, p := range tables.PartitionIDs() {
		was := tables.Partitions[p]
		if is, ok := cut.Partitions[p]; ok && is.End < was.End && cut.TopicID == tables.TopicID {
			return fmt.Errorf("the tables stand at a later cut than this one (partition %d: %d, the cut ends at %d)", p, was.End, is.End)
		}
	}
	return nil
}

// carryNote is what a publication says for a replay that goes on from it: records that
// were read by other rules, or were invalid because nobody knew their schema, would read
// otherwise now.
type carryNote struct {
	Rules   string `json:"rules"` // see rulesOf
	Unknown []int  `json:"unknown_schemas,omitempty"`
}

// maxUnknown bounds carryNote.Unknown; with more of them nobody goes on.
const maxUnknown = 1000

// note returns the carryNote of the job's publication.
func (j *viewJob) note(ctx context.Context) (json.RawMessage, error) {
	var note carryNote
	if j.earlier != nil {
		if err := json.Unmarshal(j.earlier, &note); err != nil {
			return nil, fmt.Errorf("what the tables carry does not decode: %w", err)
		}
	}
	now, err := j.replay.Unknown(ctx)
	if err == nil {
		note.Rules, err = j.r.rulesOf(j.view)
	}
	if err != nil {
		return nil, err
	}
	note.Unknown = append(note.Unknown, now...)
	slices.Sort(note.Unknown)
	note.Unknown = slices.Compact(note.Unknown)
	note.Unknown = note.Unknown[:min(len(note.Unknown), maxUnknown+1)]
	return json.Marshal(note)
}

// sameRules tells why records of the tables would read otherwise now, "" where they
// would not.
func (r *replayFlags) sameRules(ctx context.Context, v *definition.View, carry json.RawMessage) (string, error) {
	var note carryNote
	if json.Unmarshal(carry, &note) != nil || note.Rules == "" {
		return "they do not say by which rules they were read", nil
	}
	rules, err := r.rulesOf(v)
	if err != nil {
		return "", err
	}
	if rules != note.Rules {
		return "they were read with other names, writer schemas or another --registry", nil
	}
	if len(note.Unknown) > maxUnknown {
		return fmt.Sprintf("more than %d writer schemas of their records were unknown", maxUnknown), nil
	}
	source, err := r.source(v)
	if err != nil {
		return "", err
	}
	for _, id := range note.Unknown {
		if known, err := source.Known(ctx, id); err != nil {
			return "", err
		} else if known {
			return fmt.Sprintf("writer schema %d, which was unknown, is known now", id), nil
		}
	}
	return "", nil
}
