package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// dateFlags name the dates of which a replay writes rows.
type dateFlags struct{ from, to string }

// add adds the flags, once those of startFlags are there.
func (d *dateFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.from, "from-date", "", "write the rows of this `DATE` (UTC, as in the tables) and later ones alone, and read no more of the log than they need. Where that is all of it, it is said why")
	f.StringVar(&d.to, "to-date", "", "with --from-date: up to this `DATE`, of tables that are there, whose cut stays: the files of dates that are final are written again")
	f.Lookup("start-clock").Usage += ". With --from-date: an instant such that no record before the first one of it was later"
}

func (d *dateFlags) set() bool { return d.from != "" || d.to != "" }

// days returns the dates as days since the epoch, to being batch.LastDay without an end.
func (d *dateFlags) days() (from, to int64, err error) {
	to = batch.LastDay
	if from, err = parseDay("--from-date", d.from); err == nil && d.to != "" {
		to, err = parseDay("--to-date", d.to)
	}
	return from, to, err
}

func parseDay(flag, text string) (int64, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, usagef("%s: %q is no date: write it as in 2026-01-31", flag, text)
	}
	return schemas.Micros(t.UnixMicro()).Days(), nil
}

// checkDates refuses flags that do not go together.
func (r *replayFlags) checkDates() error {
	d := &r.dates
	if !d.set() {
		return nil
	}
	if d.from == "" {
		return usagef("--to-date: it goes with --from-date: name the first date too")
	}
	from, to, err := d.days()
	switch {
	case err != nil:
		return err
	case to < from:
		return usagef("--to-date: %s lies before --from-date %s: name the earlier one first", d.to, d.from)
	case r.out == "":
		return usagef("--from-date: it is about the tables in --out: name them")
	case r.goOn:
		return usagef("--from-date: it goes without --continue, which finds by itself what has changed: leave one of them out")
	case r.every > 0:
		return usagef("--from-date: it goes without --every: dates are written once; --continue goes on from them")
	case r.quarantine != "":
		return usagef("--from-date: it goes without --quarantine, which holds the records of the whole log: those of the dates are in table quarantine")
	case d.to != "" && r.cut != "":
		return usagef("--to-date: it goes without --cut: it reads up to the cut of the tables")
	case d.to != "" && r.saveCut != "":
		return usagef("--to-date: it goes without --save-cut: it reads up to the cut of the tables, which their commits have")
	}
	return nil
}

// startOfDates is startOf for --from-date.
func (r *replayFlags) startOfDates(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut, o jobOptions) (jobOptions, schemas.TopicCut, string, error) {
	from, to, err := r.dates.days()
	if err != nil {
		return o, tc, "", err
	}
	o.dates = &batch.Dates{From: from, To: to}
	if o.upon, err = r.tablesUnder(ctx, v); err != nil {
		return o, tc, "", err
	}
	switch {
	case o.upon == nil && r.dates.to != "":
		return o, tc, "", usagef("--to-date: nothing has been published in %s: leave it out, and the tables begin at --from-date", r.out)
	case o.upon == nil:
		o.dates.Fresh = true
	case r.dates.to != "":
		o.dates.Settled, o.finalOnly = true, o.upon.Info.FinalOnly
		tc, err = settledCut(tc, o.upon.Info.Cut)
	}
	if err == nil && o.upon != nil {
		err = r.checkSettled(v, o.upon, o.dates, tc)
	}
	if err != nil {
		return o, tc, "", err
	}
	s := datesStart{r: r, client: client, v: v, dates: o.dates, valid: schemas.Never}
	whole, reason, err := s.begin(ctx, tc)
	if err != nil {
		return o, tc, "", err
	}
	o.from = s.valid
	return o, whole, reason, nil
}

// tablesUnder returns the publication whose dates are replaced, nil where there is none.
func (r *replayFlags) tablesUnder(ctx context.Context, v *definition.View) (*offline.Published, error) {
	tables, err := r.tables(r.out, r.spill, v)
	if err != nil {
		return nil, err
	}
	p, err := tables.Published(ctx)
	if errors.Is(err, offline.ErrNothingPublished) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if p.Info.Fingerprint != v.Fingerprint {
		return nil, usagef("--from-date: the tables are of fingerprint %s, this definition is %s: leave it out to write them anew, or name another --out", p.Info.Fingerprint, v.Fingerprint)
	}
	if same, err := p.SameColumns(); err != nil || !same {
		return nil, errors.Join(err, usagef("--from-date: the tables have other columns than this definition gives them: leave it out to write them anew, or name another --out"))
	}
	if p.Info.Boundary == nil {
		return nil, usagef("--from-date: nothing in the tables is final yet, so that every date is to be written: leave it out")
	}
	return p, nil
}

// settledCut is the cut of the tables, from where the log begins now.
func settledCut(now, tables schemas.TopicCut) (schemas.TopicCut, error) {
	if now.TopicID != tables.TopicID {
		return now, usagef("--to-date: the topic was created again since the tables were written: replay them from its start")
	}
	out := begunAt(tables, now)
	for p, pc := range out.Partitions {
		if pc.Start > pc.End {
			return now, usagef("--to-date: partition %d begins at offset %d, the tables end at %d: what they were read from is gone", p, pc.Start, pc.End)
		}
	}
	return out, nil
}

// checkSettled refuses dates that would leave tables with dates of two states.
func (r *replayFlags) checkSettled(v *definition.View, p *offline.Published, d *batch.Dates, tc schemas.TopicCut) error {
	carry := wire.Carry{Published: p}
	from, err := carry.From()
	if err != nil {
		return err
	}
	replay := &batch.Replay{View: v, From: from}
	open, err := replay.FirstDay()
	if err == nil && d.Settled { // up to their own cut, what it closes is final
		open, err = replay.ClosedDay()
	}
	if err != nil {
		return err
	}
	if d.Settled {
		first, _, ok, err := p.Dates(offline.Features)
		switch {
		case err != nil:
			return err
		case d.To >= open:
			return usagef("--to-date: in the tables %s is the last date that is final: name that or an earlier one, or leave --to-date out", gate.Day(open-1))
		case !ok || d.From < first:
			return usagef("--from-date: the tables begin at %s: name that or a later date", gate.Day(first))
		}
		return nil
	}
	if err := notEarlier(tc, p.Info.Cut); err != nil {
		return usagef("--from-date: %w: leave --from-date out to write the earlier state", err)
	}
	if reason := from.Settles(v, tc); reason != "" {
		return usagef("--from-date: dates before it would not stay as they are: %s: leave --from-date out to write all of them", reason)
	}
	if d.From > open {
		return usagef("--from-date: in the tables %s is the first date that is not final: name that or an earlier one", gate.Day(open))
	}
	return nil
}

// datesStart finds where a replay of dates begins to read.
type datesStart struct {
	r      *replayFlags
	client *log.Client
	v      *definition.View
	dates  *batch.Dates
	valid  schemas.Micros // windows that begin at or before it are incomplete
}

// begin returns the cut from where the dates are read, and why that is the log's start
// where it is (K5, K8). A lookup by timestamp says only where to look: what is relied on
// is the clock that startClock knows.
func (s *datesStart) begin(ctx context.Context, tc schemas.TopicCut) (whole schemas.TopicCut, reason string, err error) {
	tc = begunAt(tc, tc)
	engine, err := transforms.NewView(s.v.Spec)
	if err != nil {
		return tc, "", err
	}
	needs, reason, err := s.needs(ctx, engine, tc)
	if err != nil {
		return tc, "", err
	}
	var before schemas.Micros
	if reason == "" {
		before, reason, err = s.reach(ctx, needs)
	}
	if err == nil && reason == "" {
		tc, err = s.lookup(ctx, tc, needs, before)
		if err == nil && s.valid == schemas.Never {
			reason = "they need its first records"
		}
	}
	if err != nil {
		return tc, "", err
	}
	at := tc
	at.Partitions = map[int32]schemas.PartitionCut{} // those that begin where the log does
	for p, pc := range tc.Partitions {
		if reason != "" || pc.Clock == nil {
			at.Partitions[p] = pc
		}
		pc.Clock = nil
		tc.Partitions[p] = pc
	}
	from, err := s.r.validFrom(ctx, s.client, s.v, at)
	s.valid = max(s.valid, from)
	return tc, reason, err
}

// needs returns the instant after which nothing may be missed, or why the log is read
// from its start. It refuses dates of which nothing is closed.
func (s *datesStart) needs(ctx context.Context, engine *transforms.View, tc schemas.TopicCut) (schemas.Micros, string, error) {
	if s.v.Spec.Table {
		return 0, "of a table the newest record counts, whenever it came", nil
	}
	closed := schemas.Forever
	for _, p := range tc.PartitionIDs() {
		pc := tc.Partitions[p]
		if pc.End <= s.v.Source.History[p] && pc.End > pc.Start {
			return 0, "a load of old events ends where the cut does, or later", nil
		}
		clock, err := s.lastClock(ctx, tc, p)
		if err != nil {
			return 0, "", err
		}
		if clock == schemas.Never {
			return 0, "", usagef("--from-date: partition %d holds no record, so that nothing is closed: append one or a tick (`tallystick tick`), or leave --from-date out", p)
		}
		closed = min(closed, s.v.Source.Closing(p, pc, clock).SubSat(s.v.Spec.LatenessAt(p, pc.End)))
	}
	if err := checkClosed(s.v, engine, s.dates, closed); err != nil {
		return 0, "", err
	}
	if engine.HasLifetime() {
		return 0, "a lifetime window reaches back to it", nil
	}
	return s.dates.Needs(engine, closed), "", nil
}

// checkClosed refuses new tables that would lack the last closed boundary, which is what
// reconcile compares.
func checkClosed(v *definition.View, engine *transforms.View, d *batch.Dates, closed schemas.Micros) error {
	hops := engine.Hops()
	if !d.Fresh || len(hops) == 0 {
		return nil
	}
	if last := closed.Floor(hops[len(hops)-1]).Floor(v.Snapshots).Days(); d.From > last {
		return usagef("--from-date: in the log %s is the last date of which anything is closed: name that or an earlier one", gate.Day(last))
	}
	return nil
}

// lastRecords is how many offsets before a cut's end are read for a timestamp.
const lastRecords = 200

// lastClock returns an instant that the log clock has reached at a partition's cut, Never
// where it holds no record.
func (s *datesStart) lastClock(ctx context.Context, tc schemas.TopicCut, p int32) (schemas.Micros, error) {
	pc, clock := tc.Partitions[p], schemas.Never
	start := min(max(pc.Start, s.v.Source.History[p]), pc.End)
	for n := int64(lastRecords); ; n *= 4 {
		from := max(start, pc.End-n)
		err := s.client.Read(ctx, log.Ref{Name: s.v.Source.Topic, ID: tc.TopicID}, p, from, pc.End, func(rs []schemas.Record) error {
			for i := range rs {
				clock = max(clock, rs[i].Timestamp)
			}
			return nil
		})
		if err != nil || clock != schemas.Never || from == start {
			return clock, err
		}
	}
}

// reach returns how far before the instant at which records may be missed the lookup
// looks, in µs, or why there is none.
func (s *datesStart) reach(ctx context.Context, needs schemas.Micros) (schemas.Micros, string, error) {
	spec := &s.v.Spec
	slack := spec.MaxLateness() + 2*spec.MaxFuture
	if s.r.clock != "" {
		stated, err := parseInstant("--start-clock", s.r.clock)
		if err == nil && stated.AddSat(slack) >= needs {
			err = usagef("--start-clock: with %v the dates would lack records: name an instant before %v", stated, needs.SubSat(slack))
		}
		return needs.SubSat(stated), "", err
	}
	bound, err := stampBound(ctx, s.client, s.v.Source.Topic)
	if errors.Is(err, errUnbounded) {
		return 0, "the topic does not bound its timestamps, so that nobody knows what came before an offset; --start-clock states it", nil
	}
	return slack.AddSat(bound).AddSat(1), "", err
}

// lookup moves the start of each partition to where its records may be missed before.
// Clock is set in those whose start is not the log's.
func (s *datesStart) lookup(ctx context.Context, tc schemas.TopicCut, needs, before schemas.Micros) (schemas.TopicCut, error) {
	offsets, err := s.client.OffsetsAfter(ctx, s.v.Source.Topic, needs.SubSat(before))
	if err != nil {
		return tc, err
	}
	out := begunAt(tc, tc)
	for p, pc := range out.Partitions {
		offset, valid, err := s.partition(ctx, tc, p, min(offsets[p], pc.End), needs)
		if err != nil {
			return tc, err
		}
		pc.Start, pc.Clock = offset, nil
		if valid != schemas.Never {
			pc.Clock = &valid
		}
		s.valid = max(s.valid, valid)
		out.Partitions[p] = pc
	}
	return out, nil
}

// partition returns an offset at or before the given one whose clock lies far enough
// before, and what valid_from that gives; Never = it is where the log begins. Where
// the first record beyond is too late (a gap, an idle partition) it is looked for
// before, each time as far again.
func (s *datesStart) partition(ctx context.Context, tc schemas.TopicCut, p int32, offset int64, needs schemas.Micros) (int64, schemas.Micros, error) {
	spec, pc := &s.v.Spec, tc.Partitions[p]
	least := max(pc.Start, s.v.Source.History[p])
	for back := int64(1); offset > s.v.Source.History[p]; back *= 2 {
		clock, err := s.clockAt(ctx, tc, p, offset)
		if err != nil {
			return 0, 0, err
		}
		slack := spec.MaxLateness() + 2*spec.MaxFuture
		if s.v.Source.History[p] > 0 { // event times drove the clock, beyond their records' timestamps
			slack += spec.MaxFuture
		}
		if valid := clock.AddSat(slack); valid < needs {
			return offset, valid, nil
		}
		if offset == least {
			break
		}
		offset = max(offset-back, least)
	}
	return pc.Start, schemas.Never, nil
}

// clockAt bounds the log clock at an offset of a partition, Forever where no record of
// the cut comes from there on: its clock would not be known.
func (s *datesStart) clockAt(ctx context.Context, tc schemas.TopicCut, p int32, offset int64) (schemas.Micros, error) {
	end := tc.Partitions[p].End
	if s.r.clock != "" { // which says it of any offset
		err := s.client.Read(ctx, log.Ref{Name: s.v.Source.Topic, ID: tc.TopicID}, p, offset, end, func(rs []schemas.Record) error {
			if len(rs) > 0 {
				return errFirst
			}
			return nil
		})
		if !errors.Is(err, errFirst) {
			return schemas.Forever, err
		}
	}
	at := begunAt(tc, tc)
	at.Partitions[p] = schemas.PartitionCut{Start: offset, End: end}
	return s.r.startClock(ctx, s.client, s.v, at, p)
}
