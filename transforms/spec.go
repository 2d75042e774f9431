package transforms

import (
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/expr"
)

// Aggregation names what a feature computes over the events of its window (V2).
type Aggregation uint8

// The aggregations. Their numbers are part of the state format.
const (
	Count Aggregation = iota + 1
	Sum
	Mean
	Min
	Max
	First
	Last
	CountDistinct
	VarPop
	VarSamp
	StddevPop
	StddevSamp
	FirstK
	LastK
	Quantile
	MinBy
	MaxBy
)

var aggregationNames = [...]string{"", "count", "sum", "mean", "min", "max", "first", "last",
	"count_distinct", "var_pop", "var_samp", "stddev_pop", "stddev_samp", "first_k", "last_k", "quantile", "min_by", "max_by"}

func (a Aggregation) String() string { return aggregationNames[a] }

// ParseAggregation returns the aggregation of that name, 0 when there is none.
func ParseAggregation(name string) Aggregation {
	for i, n := range aggregationNames[1:] {
		if n == name {
			return Aggregation(i + 1)
		}
	}
	return 0
}

// AggregationNames lists the names that a definition may use.
func AggregationNames() []string { return append([]string(nil), aggregationNames[1:]...) }

// OutputKind returns the type of the aggregation's result over inputs of kind
// in, and whether it takes such inputs.
func (a Aggregation) OutputKind(in schemas.Kind) (schemas.Kind, bool) {
	numeric := in == schemas.Int || in == schemas.Double
	switch a {
	case Count, CountDistinct:
		return schemas.Int, true
	case Sum:
		return in, numeric
	case Mean, VarPop, VarSamp, StddevPop, StddevSamp, Quantile:
		return schemas.Double, numeric
	case FirstK, LastK:
		return schemas.List, in != schemas.Null
	case Min, Max:
		return in, in != schemas.Bool && in != schemas.Null
	}
	return in, in != schemas.Null
}

// ByInput tells whether a second input says which event's value is taken.
func (a Aggregation) ByInput() bool { return a == MinBy || a == MaxBy }

// MaxK bounds first_k and last_k.
const MaxK = 1000

// QuantileUnit is the Q of the greatest value.
const QuantileUnit = 1_000_000

// WindowKind is the shape of a window (V3).
type WindowKind uint8

// The window shapes.
const (
	Sliding  WindowKind = iota + 1 // [floor(t-Length, Hop), t)
	Days                           // N UTC days
	Weeks                          // N ISO weeks, from Monday
	Months                         // N UTC months
	Lifetime                       // everything before t
)

// Window is the interval of event time that a feature looks at, as of t (V3).
type Window struct {
	Kind   WindowKind
	Length schemas.Micros // Sliding only
	N      int            // Days, Weeks, Months: how many, at least 1
	// ExcludeCurrent leaves out the unit that t lies in: N whole units before it.
	ExcludeCurrent bool
	// Hop is the grid of the window's tail and so its level; 1 day for all
	// kinds but Sliding.
	Hop schemas.Micros
}

// Type names the type of the feature's value, as people write it.
func (f *Feature) Type() string {
	if f.Kind == schemas.List {
		return "list of " + f.Element.String()
	}
	return f.Kind.String()
}

// Identity says how a source's records are told apart (V7).
type Identity uint8

// The identities of records.
const (
	Anonymous Identity = iota // no id: every record is an event of its own
	ByID                      // id: the first copy counts
	ByVersion                 // id and version: the highest version counts
)

// KeyField is one part of a view's entity.
type KeyField struct {
	Name string
	Kind schemas.Kind // Bool, Int, String, Bytes or Timestamp
	Expr *expr.Program
}

// Rule is an expectation of the source: a record for which it is not true is
// invalid (V6).
type Rule struct {
	Text string // as written
	Expr *expr.Program
}

// Feature is one output column of a view: an aggregation over a window, or an
// expression over features that stand before it.
type Feature struct {
	Name        string
	Aggregation Aggregation // 0 for a derived feature
	Input       int         // index into Spec.Inputs; -1 = "*" (Count only)
	Filter      int         // index into Spec.Filters; -1 = none
	By          int         // MinBy, MaxBy: index into Spec.Inputs of what is least or greatest
	K           int         // FirstK, LastK: how many, 1 to MaxK
	Q           int         // Quantile: its rank, in millionths of the count, 0 to QuantileUnit
	Window      Window
	Default     schemas.Value // Null = none declared (V9)
	Kind        schemas.Kind  // of the value
	Element     schemas.Kind  // of a List's elements
	// Derived, over the values of the view's features: its fields are their indexes.
	Derived *expr.Program
}

// Spec is a view, checked and typed, ready to be compiled by NewView. Programs
// other than Feature.Derived are evaluated over the fields of a schemas.Event.
type Spec struct {
	Name     string
	Lateness schemas.Micros
	// HistoryLateness, at least Lateness, is that of records below History, the
	// ends of the loads of old events by partition (K7); 0 = Lateness.
	HistoryLateness schemas.Micros
	History         map[int32]int64
	MaxFuture       schemas.Micros
	Identity        Identity
	ID              *expr.Program // nil when Anonymous
	Version         *expr.Program // Int, or String holding a PostgreSQL LSN; nil unless ByVersion
	MaxOpen         int           // remembered ids per (entity, partition)
	Expect          []Rule
	Key             []KeyField
	Where           *expr.Program // nil = every event
	Filters         []*expr.Program
	Inputs          []*expr.Program
	Fields          []string // paths of the events' fields by slot, for messages; may be nil
	Features        []Feature
	Shards          int // of the online store, at least 1
	// Table: of each entity its newest record alone counts (K6). The key's programs
	// are over the fields of schemas.Event.Key; all features are Last over Lifetime,
	// or derived; there are no ids, filters and no lateness.
	Table bool
	// NewestTiles is how many of a level's newest tiles stay in the served part when
	// older ones go over to the old part; 0 = 16, which the state format says: others
	// are for tests.
	NewestTiles int
}
