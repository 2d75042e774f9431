package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// finding is a difference whose cause may still be open.
type finding struct {
	Difference
	entity string
	part   *part    // states and tiles
	base   *finding // a value: what it follows from
	ask    ask
	// A tile; the zero Tile = it is not there.
	hop, start schemas.Micros
	on, off    transforms.Tile
	// A value.
	parts []*part
	// A cell of a table; nil = none. dropped: it is no difference after all.
	cellOn, cellOff *transforms.TableRecord
	dropped         bool

	feature             int
	at                  schemas.Micros
	resultOn, resultOff transforms.Result
	// A ledger.
	place               place
	ledgerOn, ledgerOff transforms.Ledger
	offHas              bool
}

// ask says what a replay can tell of a finding.
type ask uint8

const (
	askNothing ask = iota
	askState
	askTile
	askValue
	askLedger
	askCell
)

func (r *run) difference(k Kind, at place, c Cause, side Side, ev Evidence) Difference {
	d := Difference{View: r.view.Name, Kind: k, Cause: c, Side: side, Evidence: ev}
	if at.shard >= 0 {
		d.Shard = &at.shard
	}
	if at.partition >= 0 {
		d.Partition = &at.partition
	}
	return d
}

func (r *run) add(f *finding) *finding {
	r.found = append(r.found, f)
	return f
}

// flush puts the findings into the report.
func (r *run) flush() {
	for _, f := range r.found {
		if f.dropped {
			continue
		}
		r.rep.Differences++
		r.rep.Causes[f.Cause]++
		if len(r.rep.Listed) < r.opt.List {
			r.rep.Listed = append(r.rep.Listed, f.Difference)
		}
	}
	r.found = nil
}

// attribute settles the causes of the findings so far, with a replay of what is
// in doubt, and puts them into the report.
func (r *run) attribute(ctx context.Context) error {
	replays, err := r.replays(ctx)
	if err != nil {
		return err
	}
	for _, f := range r.found {
		switch f.ask {
		case askState:
			r.decideState(f, replays)
		case askTile:
			r.decideTile(f, replays)
		case askValue:
			r.decideValue(f, replays)
		case askLedger:
			r.decideLedger(f, replays)
		case askCell:
			r.decideCell(f, replays)
		}
	}
	r.settleTable()
	r.flush()
	return nil
}

// replays folds the partitions of what is in doubt, each once.
func (r *run) replays(ctx context.Context) (map[int32]*Replayed, error) {
	out := map[int32]*Replayed{}
	if r.replayer == nil {
		return out, nil
	}
	want, books := map[int32]map[string]bool{}, map[int32]bool{}
	need := func(p int32, entity string) {
		if want[p] == nil {
			want[p] = map[string]bool{}
		}
		if entity != "" {
			want[p][entity] = true
		}
	}
	for _, f := range r.found {
		switch {
		case f.ask == askState || f.ask == askTile || f.ask == askCell:
			need(f.part.at.partition, f.entity)
		case f.ask == askValue && f.base == nil:
			for _, p := range f.parts {
				need(p.at.partition, f.entity)
			}
		case f.ask == askLedger:
			need(f.place.partition, "")
			books[f.place.partition] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		rep, err := r.replayer.Replay(ctx, p, want[p], books[p])
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			r.note("partition %d could not be replayed, causes are named without: %v", p, err)
			continue
		}
		out[p] = rep
	}
	return out, nil
}

// otherStart tells whether the two sides' folds of a place began at different
// positions and ids may have moved across the start (K8).
func (r *run) otherStart(at place) bool {
	return r.frame.after[at].ValidFrom != r.frame.validFrom && r.view.Spec.Identity != transforms.Anonymous
}

const noReplay = "; no replay was there to tell which side is right"

// decideState: a replay without closed tiles within reach speaks against the
// side that has them.
func (r *run) decideState(f *finding, replays map[int32]*Replayed) {
	rep := replays[f.part.at.partition]
	if rep == nil {
		return
	}
	f.Evidence.Replayed = true
	n := 0
	if s := rep.States[f.entity]; s != nil {
		r.frame.engine.Trim(s, r.frame.b)
		n = len(r.within(f.part, r.frame.engine.Tiles(s, r.frame.b)))
	}
	if n > 0 {
		f.Evidence.Text += fmt.Sprintf("; a replay up to the cut has %d", n)
		return
	}
	if r.frame.belated(f.part, r.frame.b) {
		f.late()
		return
	}
	f.Cause, f.Side = Corrupt, other(f.Side)
	f.Evidence.Text += "; a replay up to the cut has none either"
}

func other(s Side) Side {
	if s == OnOnline {
		return OnOffline
	}
	return OnOnline
}

// decideTile: the side that a replay agrees with is right.
func (r *run) decideTile(f *finding, replays map[int32]*Replayed) {
	f.Evidence.Text = "the closed tile differs"
	if f.on.Hop == 0 || f.off.Hop == 0 {
		f.Evidence.Text = "the closed tile is on one side alone"
	}
	if r.otherStart(f.part.at) {
		f.Cause, f.Side = History, ""
		f.Evidence.Text += "; the folds began at different positions, and an id may have moved across the start"
		return
	}
	rep := replays[f.part.at.partition]
	belated := r.frame.belated(f.part, f.start+f.hop)
	if rep == nil {
		if belated {
			f.late()
		} else if f.Cause == Logic {
			f.Evidence.Text += noReplay
		}
		return
	}
	f.Evidence.Replayed = true
	var truth transforms.Tile
	if s := rep.States[f.entity]; s != nil {
		r.frame.engine.Trim(s, r.frame.b)
		for _, t := range r.frame.engine.Tiles(s, r.frame.b) {
			if t.Hop == f.hop && t.Start == f.start {
				truth = t
			}
		}
	}
	if belated && truth == f.off {
		f.late()
		return
	}
	lacks := f.Side
	r.judge(f, truth == f.on, truth == f.off)
	if f.Cause == Corrupt && f.Side == lacks { // what it lacks is not wrong but gone
		f.Cause = Missing
	}
}

// late: what the tables have was true at the cut.
func (f *finding) late() {
	f.Cause, f.Side = Late, OnOffline
	f.Evidence.Text += "; a record came after the cut with a timestamp older than what close_idle had closed: replay up to a later cut, or declare a longer close_idle"
}

// judge names the side that a replay does not agree with.
func (r *run) judge(f *finding, onRight, offRight bool) {
	switch {
	case offRight && !onRight:
		f.Cause, f.Side = Corrupt, OnOnline
		f.Evidence.Text += "; a replay up to the cut gives exactly what the tables have"
	case onRight && !offRight:
		f.Cause, f.Side = Corrupt, OnOffline
		f.Evidence.Text += "; a replay up to the cut gives exactly what the online store has"
	default:
		f.Cause, f.Side = Logic, ""
		f.Evidence.Text += "; a replay up to the cut gives neither: this is a bug, please report it"
	}
}

// decideValue: a value follows from what differs in its states, if anything does.
func (r *run) decideValue(f *finding, replays map[int32]*Replayed) {
	if b := f.base; b != nil {
		f.Cause, f.Side = b.Cause, b.Side
		if f.Evidence.CutEnd < 0 {
			f.Partition, f.Evidence = b.Partition, b.Evidence
		}
		f.Evidence.Replayed = b.Evidence.Replayed
		f.Evidence.Text = "it follows from the difference in partition " + fmt.Sprint(b.part.at.partition) + ": " + b.Evidence.Text
		return
	}
	f.Evidence.Text = "the value differs, the closed tiles within reach do not"
	if p := r.oneSided(f); p != nil {
		f.Cause, f.Side = Missing, OnOnline
		if p.stored != nil {
			f.Side = OnOffline
		}
		f.Partition, f.Evidence = &p.at.partition, r.evidenceOf(p)
		f.Evidence.Text = fmt.Sprintf("the state in partition %d is not in the %s store", p.at.partition, f.Side)
		return
	}
	belated := slices.ContainsFunc(f.parts, func(p *part) bool { return r.frame.belated(p, f.at) })
	var states []*transforms.State
	for _, p := range f.parts {
		rep := replays[p.at.partition]
		if rep == nil {
			if belated {
				f.late()
			} else {
				f.Evidence.Text += noReplay
			}
			return
		}
		if s := rep.States[f.entity]; s != nil {
			r.frame.engine.Trim(s, r.frame.b)
			states = append(states, s)
		}
	}
	f.Evidence.Replayed = true
	truth := r.frame.engine.BoundaryValue(nil, f.at, states...)[f.feature]
	if belated && same(truth, f.resultOff) {
		f.late()
		return
	}
	r.judge(f, same(truth, f.resultOn), same(truth, f.resultOff))
}

func same(a, b transforms.Result) bool { return a.Status == b.Status && a.Value.Equal(b.Value) }

// oneSided finds a state that one side lacks although the other's holds
// something before the boundary, which both sides have passed.
func (r *run) oneSided(f *finding) *part {
	holds := func(s *transforms.State) bool {
		return r.frame.engine.BoundaryValue(nil, f.at, s)[f.feature].Status != transforms.Absent
	}
	for _, p := range f.parts {
		if p.stored == nil && p.row != nil && holds(p.off) || p.row == nil && p.stored != nil && holds(p.on) {
			return p
		}
	}
	return nil
}

func (r *run) decideLedger(f *finding, replays map[int32]*Replayed) {
	f.Evidence.Text = "both sides stand at one position, their ledgers differ"
	rep := replays[f.place.partition]
	if rep == nil {
		if f.Cause == Logic {
			f.Evidence.Text += noReplay
		}
		return
	}
	f.Evidence.Replayed = true
	truth := rep.Ledgers[f.place.shard]
	lacks := f.Side
	r.judge(f, truth == f.ledgerOn, f.offHas && truth == f.ledgerOff)
	if f.Cause == Corrupt && f.Side == lacks {
		f.Cause = Missing
	}
}
