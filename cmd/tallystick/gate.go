package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// gateFlags say what the gate does before a publication (B6).
type gateFlags struct {
	mode   string // "" = gateHold
	limits string // the file
}

// The modes of the gate.
const (
	gateHold   = "hold"
	gateReport = "report"
	gateOff    = "off"
)

func (g *gateFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.mode, "gate", gateHold, "what happens to a publication whose figures lie far outside those of the days before, a `MODE`: hold: it waits for replay accept; report: it is published all the same; off: nobody looks")
	f.StringVar(&g.limits, "gate-limits", "", "YAML `FILE` with limits of the gate in place of the defaults: docs/gate.md has them")
}

func (g *gateFlags) check() error {
	if g.mode != "" && !slices.Contains([]string{gateHold, gateReport, gateOff}, g.mode) {
		return usagef("--gate: %q is none of hold, report and off", g.mode)
	}
	_, err := g.options()
	return err
}

// options returns the limits, without Snapshots.
func (g *gateFlags) options() (gate.Options, error) {
	o := gate.DefaultOptions()
	if g.limits == "" {
		return o, nil
	}
	if err := checkReadable("--gate-limits", g.limits); err != nil {
		return o, err
	}
	b, err := schemas.ReadFile(g.limits, 1<<20)
	if err != nil {
		return o, usagef("--gate-limits: %w", err)
	}
	err = decodeLimits(b, &o)
	if err == nil && o.Snapshots != gate.DefaultOptions().Snapshots {
		err = errors.New("snapshots are the view's own: leave them out")
	}
	if err == nil {
		err = o.Validate()
	}
	if err != nil {
		return o, usagef("--gate-limits: %s holds no limits: %w; docs/gate.md has them all", g.limits, err)
	}
	return o, nil
}

var (
	unknownLimit = regexp.MustCompile("field (.*) not found in type .*")
	otherKind    = regexp.MustCompile("cannot unmarshal !!\\w+ (?:(`.*`) )?into (.*)")
)

// decodeLimits reads limits over those that are there. The error names lines.
func decodeLimits(text []byte, o *gate.Options) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(o)
	var faults *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF): // nothing but remarks
		return nil
	case errors.As(err, &faults):
		return limitFaults(faults)
	case err != nil:
		return err
	case !errors.Is(d.Decode(&yaml.Node{}), io.EOF):
		return errors.New("something follows the first YAML document")
	}
	var n struct{ Days, Least, Lasting float64 } // of which the decoder has kept whole numbers
	if err := yaml.Unmarshal(text, &n); err != nil {
		return err
	}
	for _, x := range []float64{n.Days, n.Least, n.Lasting} {
		if x != math.Trunc(x) {
			return fmt.Errorf("%g is no whole number", x)
		}
	}
	return nil
}

// limitFaults says in words of ours what the decoder found.
func limitFaults(faults *yaml.TypeError) error {
	var said []string
	for _, f := range faults.Errors {
		f = unknownLimit.ReplaceAllString(f, "unknown key `$1`")
		if m := otherKind.FindStringSubmatch(f); m != nil {
			is := map[string]string{"int": "whole number", "float64": "number"}[m[2]]
			f = strings.Replace(f, m[0], cmp.Or(m[1], "what stands here")+" is no "+cmp.Or(is, "mapping"), 1)
		}
		said = append(said, f)
	}
	return errors.New(strings.Join(said, "; "))
}

// gateOutput is what the gate said of a publication.
type gateOutput struct {
	Verdict string `json:"verdict"`
	Dates   int    `json:"dates"`
	Checks  int    `json:"checks"`
	// Unchecked is how many dates have too few before them.
	Unchecked int      `json:"dates_without_baseline"`
	Settled   int      `json:"accepted_before"` // figures that lie outside, but were accepted as they are
	Breaches  []string `json:"breaches"`
	HeldAs    string   `json:"held_as,omitempty"` // for replay accept --id
}

// The verdicts.
const (
	verdictPassed   = "passed"
	verdictFirst    = "first" // there was nothing to hold it against: what looks wrong is told
	verdictHeld     = "held"
	verdictReported = "reported" // published in spite of breaches
	verdictAccepted = "accepted"
	verdictUnasked  = "off"
	verdictStanding = "standing" // it was published before
)

func (g *gateOutput) print(w io.Writer) {
	switch g.Verdict {
	case verdictStanding:
		fmt.Fprintln(w, "  published before")
		return
	case verdictUnasked:
		fmt.Fprintln(w, "  the gate was not asked")
		return
	}
	verdict := g.Verdict
	if verdict == verdictFirst {
		verdict = "the first publication"
	}
	fmt.Fprintf(w, "  gate: %s; %d figures of %d dates checked", verdict, g.Checks, g.Dates)
	if g.Unchecked > 0 {
		fmt.Fprintf(w, ", %d dates have too few before them", g.Unchecked)
	}
	if g.Settled > 0 {
		fmt.Fprintf(w, ", %d were accepted before", g.Settled)
	}
	fmt.Fprintln(w)
	for i, line := range g.Breaches {
		if i == mostBreaches {
			fmt.Fprintf(w, "    and %d more: --json has them all\n", len(g.Breaches)-i)
			break
		}
		fmt.Fprintf(w, "    %s\n", line)
	}
	if g.HeldAs != "" {
		fmt.Fprintf(w, "    it waits as %s\n", g.HeldAs)
	}
}

// mostBreaches is how many are printed.
const mostBreaches = 20

func gateSaid(verdict string, r *gate.Record) *gateOutput {
	out := &gateOutput{Verdict: verdict, Breaches: []string{}}
	if r != nil && r.Report != nil {
		out.Dates, out.Checks, out.Unchecked, out.Settled = r.Report.Dates, r.Report.Checks, len(r.Report.NoBaseline), r.Report.Settled
		out.Breaches = append(out.Breaches, r.Report.Lines()...)
	}
	return out
}

// gateFigures returns what counts the rows that the view's tables get, whether the
// gate will be asked or not: who publishes may be another process.
func gateFigures(v *definition.View) (func() offline.Figures, error) {
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return nil, err
	}
	return func() offline.Figures { return gate.New(engine, v.Snapshots) }, nil
}

// profiles returns the figures of every day of a run whose files are staged.
func (j *viewJob) profiles(ctx context.Context, staged *offline.Staged, ledgers map[int64]*transforms.Ledger, closed schemas.Micros) ([]gate.Profile, error) {
	engine, err := transforms.NewView(j.view.Spec)
	if err != nil {
		return nil, err
	}
	days, err := staged.FigureDays(ctx)
	if err != nil {
		return nil, err
	}
	days = append(days, slices.Collect(maps.Keys(ledgers))...)
	slices.Sort(days)
	var out []gate.Profile
	for _, day := range slices.Compact(days) {
		b := gate.New(engine, j.view.Snapshots)
		err := staged.Figures(ctx, day, func(figures []byte) error {
			part := gate.New(engine, j.view.Snapshots)
			if err := part.UnmarshalBinary(figures); err != nil {
				return err
			}
			b.Merge(part)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if l := ledgers[day]; l != nil {
			b.Ledger(day, l)
		}
		out = append(out, b.Profiles(closed)...)
	}
	return out, nil
}

// ledgersByDay sums the ledgers of the days of which the run writes rows. What it has
// read of days before these, which cannot count, stands on the first one, with what
// runs before it had read so and put there.
func (j *viewJob) ledgersByDay(report *batch.Report, before *gate.Record) (map[int64]*transforms.Ledger, *gate.Strays, error) {
	ledgers := map[int64]*transforms.Ledger{}
	add := func(day int64, l *transforms.Ledger) {
		if ledgers[day] == nil {
			ledgers[day] = &transforms.Ledger{}
		}
		ledgers[day].Merge(l)
	}
	if d := j.replay.Dates; d != nil {
		err := j.ledgersOfDates(d, report, add)
		if before == nil || !d.Settled {
			return ledgers, nil, err
		}
		return ledgers, before.Strays, err
	}
	first, err := j.replay.FirstDay()
	if err != nil {
		return nil, nil, err
	}
	strays := &gate.Strays{Day: gate.Day(first)}
	if j.carried != nil && before != nil && before.Strays != nil && before.Strays.Day == strays.Day {
		strays.Ledger = before.Strays.Ledger
	}
	for k, l := range report.Days {
		switch {
		case k.Day == batch.NoDay:
		case j.carried == nil || k.Day >= first:
			add(k.Day, l)
		default:
			strays.Ledger.Merge(l)
			if was := j.carried.Days[k]; was != nil {
				n := was.Negative()
				strays.Ledger.Merge(&n)
			}
		}
	}
	if j.carried == nil {
		return ledgers, nil, nil
	}
	add(first, &strays.Ledger)
	return ledgers, strays, nil
}

// ledgersOfDates adds those of the days that a replay of dates writes tiles of.
func (j *viewJob) ledgersOfDates(d *batch.Dates, report *batch.Report, add func(day int64, l *transforms.Ledger)) error {
	engine, err := transforms.NewView(j.view.Spec)
	if err != nil {
		return err
	}
	first := d.Tiles(engine, report.Closed)
	for k, l := range report.Days {
		if k.Day != batch.NoDay && k.Day >= first && k.Day <= d.To {
			add(k.Day, l)
		}
	}
	return nil
}

// before returns the record of the publication that the job builds upon, nil where
// there is none.
func (j *viewJob) before() (*gate.Record, error) {
	info, err := j.run.Before()
	if err != nil || info == nil || info.Gate == nil {
		return nil, err
	}
	return gate.Decode(info.Gate)
}

// judge asks the gate about files that are staged.
func (j *viewJob) judge(ctx context.Context, staged *offline.Staged, report *batch.Report) (*gate.Record, error) {
	before, err := j.before()
	if err != nil {
		return nil, err
	}
	o, err := j.r.gate.options()
	if err != nil {
		return nil, err
	}
	o.Snapshots = j.view.Snapshots
	ledgers, strays, err := j.ledgersByDay(report, before)
	if err != nil {
		return nil, err
	}
	now, err := j.profiles(ctx, staged, ledgers, report.Closed)
	if err != nil {
		return nil, err
	}
	rec := gate.Unasked(before, j.view.Fingerprint, now, o)
	if j.r.gate.mode != gateOff {
		if rec, err = gate.Judge(before, j.view.Fingerprint, now, o); err != nil {
			return nil, err
		}
	}
	rec.Strays = strays
	return rec, nil
}

// heldUnit is the unit of a work area that says that its publication is held.
const heldUnit = "held"

// held is what `replay accept` needs to publish a run that is held.
type held struct {
	Build  string           `json:"build"`
	Record json.RawMessage  `json:"record"` // of the gate
	View   plannedView      `json:"view"`   // its base versions are those of the run
	Cut    schemas.TopicCut `json:"cut"`
	Gate   *gateOutput      `json:"gate"`
}

// pass asks the gate, unless the publication stands, and enters what it said into the
// publication; false: it is held.
func (j *viewJob) pass(ctx context.Context, staged *offline.Staged, p *offline.Publication, report *batch.Report) (*gateOutput, bool, error) {
	if standing, err := staged.Published(*p); err != nil || standing {
		return gateSaid(verdictStanding, nil), err == nil, err
	}
	rec, err := j.accepted, error(nil)
	if rec == nil {
		rec, err = j.judge(ctx, staged, report)
	}
	if err != nil {
		return nil, false, err
	}
	said := gateSaid(verdictPassed, rec)
	switch {
	case rec.Accepted != nil:
		said.Verdict = verdictAccepted
	case rec.Report == nil:
		said.Verdict = verdictUnasked
	case rec.First && !rec.Held():
		said.Verdict = verdictFirst
	case rec.Held() && j.r.gate.mode == gateReport:
		said.Verdict = verdictReported
	case rec.Held():
		said.Verdict, said.HeldAs = verdictHeld, j.id
		return said, false, j.hold(ctx, said, rec)
	}
	p.Gate, err = rec.Encode()
	return said, true, err
}

// hold leaves the job as it is, to be accepted later, in place of those of the view
// that were held before.
func (j *viewJob) hold(ctx context.Context, said *gateOutput, rec *gate.Record) error {
	h := held{Gate: said, Cut: j.cut, View: plannedView{Continued: j.carried != nil, Dates: planDates(j.replay.Dates), Entities: j.entities, View: j.view.Name, Fingerprint: j.view.Fingerprint, ID: j.id, UnitRecords: j.replay.ReadRecords, FinalOnly: j.replay.FinalOnly,
		Units: len(j.units), Base: j.run.Base()}}
	if j.upon != nil {
		h.View.Upon = j.upon.Info.ID
	}
	if j.from != schemas.Never {
		h.View.ValidFrom = &j.from
	}
	var err error
	if h.View.Rules, err = j.r.rulesOf(j.view); err != nil {
		return err
	}
	if h.Build, err = build(); err != nil {
		return err
	}
	if h.Record, err = rec.Encode(); err != nil {
		return err
	}
	if err := j.work.Note(ctx, heldUnit, &h); err != nil {
		return err
	}
	return j.run.Supersede(ctx, heldUnit, func(data json.RawMessage) bool {
		var o held
		return json.Unmarshal(data, &o) == nil && o.Cut.TopicID == j.cut.TopicID && len(beyond(o.Cut, j.cut)) == 0
	})
}
