package transforms

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sort"
	"sync"

	"github.com/tallystick/tallystick/schemas"
)

// StateFormat is the version of the encoding of states; it is part of every
// fingerprint.
const StateFormat = 2

// Slack is added to the retention of every level, so that a state still holds
// what was closed up to two days ago (V11).
const Slack = 48 * schemas.Hour

// maxReach bounds windows so that instants and retentions never overflow:
// about 1,000 years in µs.
const maxReach = 366_000 * schemas.Day

// View is a compiled view: the only compute path. It is immutable and safe for
// concurrent use.
type View struct {
	spec   Spec
	levels []level // from the finest hop to the coarsest
	plans  []plan  // one per feature
	// lifetime: the coarsest level keeps a base.
	lifetime bool
	newest   int32 // Spec.NewestTiles
	slots    []int // fields that the view's own programs read

	uses    [][]int      // per input: the filters of the cells that read it; -1 = none
	scratch sync.Pool    // *evaluation
	seed    maphash.Seed // of the tables that find ids
}

// level is the grid of tiles of one hop (V11).
type level struct {
	hop       schemas.Micros
	retention schemas.Micros
	cells     []cellSpec // sorted by key
	windows   []Window   // distinct
	probes    []probe    // distinct
	base      []int      // cells that lifetime features read; the coarsest level only
	text      bool       // a cell may hold text
	small     bool       // every cell has a fixed size
	alike     bool       // its cells are those of the level before
}

// cellSpec is one distinct (aggregation, input, filter) of a level.
type cellSpec struct {
	key           string
	agg           aggregator
	input, filter int // -1 = none
	by            int // -1 = none
}

// probe is a cell looked at through a window; cell -1 counts events.
type probe struct{ cell, window int }

// plan says where a feature's value comes from.
type plan struct{ level, probe int } // level -1: derived

// NewView compiles a view. It reports every fault of the spec at once; a spec
// that package definition made has none.
func NewView(spec Spec) (*View, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	v := &View{spec: spec, plans: make([]plan, len(spec.Features)), newest: newestTiles, seed: maphash.MakeSeed()}
	if spec.NewestTiles > 0 {
		v.newest = int32(spec.NewestTiles)
	}
	if spec.Table {
		v.planTable()
	} else {
		v.addLevels()
		for i := range spec.Features {
			v.plan(i)
		}
		v.retain()
	}
	v.bindFields()
	v.scratch.New = func() any { return newEvaluation(v) }
	return v, nil
}

// Spec returns what the view was compiled from; it must not be changed.
func (v *View) Spec() *Spec { return &v.spec }

func (s *Spec) validate() error {
	if s.Table {
		return s.validateTable()
	}
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("view %s: "+format, append([]any{s.Name}, a...)...))
	}
	if s.Lateness < schemas.Second || s.MaxFuture < schemas.Second {
		bad("lateness and max_future must be at least 1 s")
	}
	if s.Lateness > maxReach || s.HistoryLateness > maxReach || s.MaxFuture > maxReach {
		bad("lateness, history_lateness and max_future must be below 1,000 years")
	}
	if s.HistoryLateness != 0 && s.HistoryLateness < s.Lateness {
		bad("history_lateness is below lateness")
	}
	if len(s.Key) == 0 {
		bad("it has no entity")
	}
	if s.Identity != Anonymous && (s.ID == nil || s.MaxOpen < 1) || s.Identity == ByVersion && s.Version == nil {
		bad("a source with ids needs an id and a max_open of at least 1, one with versions a version")
	}
	for i, f := range s.Features {
		if f.Derived != nil {
			continue
		}
		w := f.Window
		switch by := f.Aggregation.ByInput(); {
		case by && (f.By < 0 || f.By >= len(s.Inputs) || !ordersBy(s.Inputs[f.By].Type().Kind)):
			bad("feature %s: its order is no input, or one that has none", f.Name)
		case (f.Aggregation == FirstK || f.Aggregation == LastK) && (f.K < 1 || f.K > MaxK):
			bad("feature %s: k %d is not 1 to %d", f.Name, f.K, MaxK)
		case f.Q < 0 || f.Q > QuantileUnit:
			bad("feature %s: q is not 0 to 1", f.Name)
		case f.Input >= len(s.Inputs) || f.Input < 0 && f.Aggregation != Count || f.Filter >= len(s.Filters):
			bad("feature %s (%d) names an input or filter that is not there", f.Name, i)
		case w.Hop <= 0 || schemas.Day%w.Hop != 0:
			bad("feature %s: hop %d µs does not divide a day", f.Name, int64(w.Hop))
		case w.Kind != Sliding && w.Hop != schemas.Day:
			bad("feature %s: calendar and lifetime windows lie on the 1 d level", f.Name)
		case w.Kind == Sliding && w.Length <= 0 || w.Kind != Sliding && w.Kind != Lifetime && w.N < 1 || w.reach() > maxReach:
			bad("feature %s: the window's length is out of range", f.Name)
		}
	}
	return errors.Join(errs...)
}

// ordersBy tells whether min_by and max_by may go by inputs of kind k.
func ordersBy(k schemas.Kind) bool {
	return k != schemas.Null && k != schemas.Bool && k != schemas.List
}

func (v *View) addLevels() {
	for _, f := range v.spec.Features {
		if f.Derived != nil {
			continue
		}
		v.lifetime = v.lifetime || f.Window.Kind == Lifetime
		if !slices.ContainsFunc(v.levels, func(l level) bool { return l.hop == f.Window.Hop }) {
			v.levels = append(v.levels, level{hop: f.Window.Hop})
		}
	}
	sort.Slice(v.levels, func(i, j int) bool { return v.levels[i].hop < v.levels[j].hop })
	for li := range v.levels {
		v.levels[li].addCells(&v.spec)
		if li > 0 {
			v.levels[li].alike = slices.EqualFunc(v.levels[li].cells, v.levels[li-1].cells, func(a, b cellSpec) bool { return a.key == b.key })
		}
	}
}

// addCells lists the distinct cells of the level in the order of their
// canonical text, so that neither names nor the order of features matter.
func (l *level) addCells(s *Spec) {
	for _, f := range s.Features {
		if f.Derived != nil || f.Window.Hop != l.hop || f.countsEvents() {
			continue
		}
		c := f.cellSpec(s)
		if !slices.ContainsFunc(l.cells, func(d cellSpec) bool { return d.key == c.key }) {
			l.cells = append(l.cells, c)
			l.text = l.text || f.holdsText(s)
		}
	}
	sort.Slice(l.cells, func(i, j int) bool { return l.cells[i].key < l.cells[j].key })
	l.small = !slices.ContainsFunc(l.cells, func(c cellSpec) bool { return !small(c.agg) })
}

// countsEvents tells whether the feature reads the tile's own event count.
func (f *Feature) countsEvents() bool {
	return f.Aggregation == Count && f.Input < 0 && f.Filter < 0
}

// holdsText tells whether what the feature keeps of an event may be text.
func (f *Feature) holdsText(s *Spec) bool {
	text := func(i int) bool {
		k := s.Inputs[i].Type().Kind
		return k == schemas.String || k == schemas.Bytes
	}
	switch f.Aggregation {
	case Min, Max, First, Last, FirstK, LastK:
		return text(f.Input)
	case MinBy, MaxBy:
		return text(f.Input) || text(f.By)
	}
	return false
}

func (f *Feature) cellSpec(s *Spec) cellSpec {
	c := cellSpec{input: f.Input, by: -1, filter: f.Filter}
	kind, by, input, filter := schemas.Null, schemas.Null, "*", ""
	if f.Input >= 0 {
		kind, input = s.Inputs[f.Input].Type().Kind, s.Inputs[f.Input].Canonical()
	}
	if f.Filter >= 0 {
		filter = s.Filters[f.Filter].Canonical()
	}
	if f.Aggregation.ByInput() {
		c.by, by = f.By, s.Inputs[f.By].Type().Kind
		input += "\x00" + s.Inputs[f.By].Canonical()
	}
	c.agg = f.partial(kind, by)
	c.key = fmt.Sprintf("%s\x00%v\x00%s\x00%s", c.agg.name(), c.agg, input, filter)
	return c
}

func (v *View) plan(i int) {
	f := &v.spec.Features[i]
	if f.Derived != nil {
		v.plans[i] = plan{level: -1}
		return
	}
	li := slices.IndexFunc(v.levels, func(l level) bool { return l.hop == f.Window.Hop })
	l := &v.levels[li]
	p := probe{cell: -1, window: slices.Index(l.windows, f.Window)}
	if p.window < 0 {
		p.window = len(l.windows)
		l.windows = append(l.windows, f.Window)
	}
	if !f.countsEvents() {
		key := f.cellSpec(&v.spec).key
		p.cell = slices.IndexFunc(l.cells, func(c cellSpec) bool { return c.key == key })
		if f.Window.Kind == Lifetime && !slices.Contains(l.base, p.cell) {
			l.base = append(l.base, p.cell)
			slices.Sort(l.base)
		}
	}
	pi := slices.Index(l.probes, p)
	if pi < 0 {
		pi = len(l.probes)
		l.probes = append(l.probes, p)
	}
	v.plans[i] = plan{level: li, probe: pi}
}

// LatenessAt returns how far behind the log clock the event at that offset of a
// partition may lie (K7).
func (s *Spec) LatenessAt(partition int32, offset int64) schemas.Micros {
	if s.HistoryLateness > 0 && offset < s.History[partition] {
		return s.HistoryLateness
	}
	return s.Lateness
}

// MaxLateness returns the greatest lateness of any record.
func (s *Spec) MaxLateness() schemas.Micros { return max(s.Lateness, s.HistoryLateness) }

// horizon returns the least event time that is not late at the record.
func (v *View) horizon(in *Input) schemas.Micros {
	return in.Clock.SubSat(v.spec.LatenessAt(in.Partition, in.Offset))
}

// retain sets each level's retention: longest window + hop + lateness + 48 h (V11).
func (v *View) retain() {
	for li := range v.levels {
		l := &v.levels[li]
		for _, w := range l.windows {
			l.retention = max(l.retention, w.reach())
		}
		l.retention += l.hop + v.spec.MaxLateness() + Slack
	}
}

// Hops returns the hops of the view's levels, from the finest to the coarsest.
func (v *View) Hops() []schemas.Micros {
	hops := make([]schemas.Micros, len(v.levels))
	for i := range v.levels {
		hops[i] = v.levels[i].hop
	}
	return hops
}

// Retention returns how long tiles of the level of that hop stay in a state.
func (v *View) Retention(hop schemas.Micros) schemas.Micros {
	for i := range v.levels {
		if v.levels[i].hop == hop {
			return v.levels[i].retention
		}
	}
	return 0
}

// Level returns the index of the level that the feature's boundary lies on: for
// a derived feature the coarsest of its inputs (V4).
func (v *View) Level(feature int) int {
	if p := v.plans[feature]; p.level >= 0 {
		return p.level
	}
	coarsest := 0
	for _, in := range v.spec.Features[feature].Derived.Slots() {
		coarsest = max(coarsest, v.Level(in))
	}
	return coarsest
}

// HasLifetime tells whether a feature looks at everything before t, as those of
// tables do.
func (v *View) HasLifetime() bool { return v.lifetime }
