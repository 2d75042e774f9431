package reconcile

import (
	"encoding/json"
	"sync/atomic"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Verdict is the outcome of a comparison.
type Verdict string

// The verdicts.
const (
	Equal           Verdict = "equal"
	Differs         Verdict = "differs"
	NothingCompared Verdict = "nothing_compared"
)

// Cause says why the stores differ (R3).
type Cause string

// The causes.
const (
	Open       Cause = "open"
	History    Cause = "history"
	Definition Cause = "definition"
	Lag        Cause = "lag"
	Late       Cause = "late"
	Missing    Cause = "missing"
	Corrupt    Cause = "corrupt"
	Logic      Cause = "logic"
)

// Causes lists all causes.
func Causes() []Cause {
	return []Cause{Open, History, Definition, Lag, Late, Missing, Corrupt, Logic}
}

// Side names a store.
type Side string

// The sides.
const (
	OnOnline  Side = "online"
	OnOffline Side = "offline"
)

// Kind says what differs.
type Kind string

// The kinds of differences.
const (
	DefinitionKind Kind = "definition"
	MarkerKind     Kind = "marker"
	LedgerKind     Kind = "ledger"
	StateKind      Kind = "state"
	TileKind       Kind = "tile"
	CellKind       Kind = "cell" // of a table
	ValueKind      Kind = "value"
	RowKind        Kind = "row" // of the features table, against the other tables
)

// Instant is an instant that is null in JSON where there is none.
type Instant schemas.Micros

// MarshalJSON writes RFC 3339.
func (t Instant) MarshalJSON() ([]byte, error) {
	if schemas.Micros(t) == schemas.Never {
		return []byte("null"), nil
	}
	return json.Marshal(schemas.Micros(t).String())
}

func (t Instant) String() string { return schemas.Micros(t).String() }

// Difference is one thing that the stores do not agree on.
type Difference struct {
	View      string   `json:"view"`
	Kind      Kind     `json:"kind"`
	Shard     *int     `json:"shard,omitempty"`
	Key       []string `json:"key,omitempty"` // field=value, for people
	Entity    []byte   `json:"entity,omitempty"`
	Partition *int32   `json:"partition,omitempty"`
	Level     string   `json:"level,omitempty"` // the hop
	Start     *Instant `json:"start,omitempty"` // of a tile
	Feature   string   `json:"feature,omitempty"`
	AsOf      *Instant `json:"as_of,omitempty"`
	Online    string   `json:"online"` // what it holds, in short
	Offline   string   `json:"offline"`
	Cause     Cause    `json:"cause"`
	// Side is the store that is wrong or lacks something, where that is known.
	Side     Side     `json:"side,omitempty"`
	Evidence Evidence `json:"evidence"`
}

// Evidence says what a cause rests on. Offsets are -1 and clocks null where
// there is none.
type Evidence struct {
	OnlineLast   int64   `json:"online_last_offset"` // of the last record that changed the state
	OnlineClock  Instant `json:"online_clock"`
	MarkerNext   int64   `json:"marker_next_offset"`
	MarkerClock  Instant `json:"marker_clock"`
	OfflineLast  int64   `json:"offline_last_offset"`
	OfflineClock Instant `json:"offline_clock"`
	CutEnd       int64   `json:"cut_end_offset"`
	CutClock     Instant `json:"cut_clock"`
	Replayed     bool    `json:"replayed"` // up to the cut's end
	Text         string  `json:"text"`
}

func noEvidence(text string) Evidence {
	never := Instant(schemas.Never)
	return Evidence{-1, never, -1, never, -1, never, -1, never, false, text}
}

// LevelReport counts the tiles of one level.
type LevelReport struct {
	Hop        string  `json:"hop"`
	Boundary   Instant `json:"boundary"`
	Compared   int64   `json:"compared"`
	Different  int64   `json:"different"`
	OutOfReach int64   `json:"out_of_reach"` // closed, but one side may have dropped them
	Incomplete int64   `json:"incomplete"`   // K8
	// OpenOnline and OpenOffline end after the boundary.
	OpenOnline  int64 `json:"open_online"`
	OpenOffline int64 `json:"open_offline"`
}

// FeatureReport counts the values of one feature.
type FeatureReport struct {
	Feature    string  `json:"feature"`
	AsOf       Instant `json:"as_of"`
	Compared   int64   `json:"compared"`
	Different  int64   `json:"different"`
	Diverging  int64   `json:"diverging"` // R2
	OutOfReach int64   `json:"out_of_reach"`
	Incomplete int64   `json:"incomplete"`
	// InTable are those of Compared that were compared with the features table.
	InTable int64 `json:"compared_in_table"`
}

// Ledgers has the ledgers of both sides.
type Ledgers struct {
	Compared int64 `json:"compared"`
	// NotComparable: the two sides stand at different positions, or began there; of
	// a table all, as compaction removes records.
	NotComparable int64         `json:"not_comparable"`
	Different     int64         `json:"different"`
	Online        []LedgerEntry `json:"online"`
	Offline       []LedgerEntry `json:"offline"`
}

// Report is the outcome of a run, one JSON object.
type Report struct {
	View        string   `json:"view"`
	Fingerprint string   `json:"fingerprint"`
	Verdict     Verdict  `json:"verdict"`
	Alert       bool     `json:"alert"`          // R2
	Why         []string `json:"why,omitempty"`  // nothing was compared, and what to do
	Notes       []string `json:"notes"`          // what was left out
	Boundary    Instant  `json:"boundary"`       // of the finest level
	ValidFrom   Instant  `json:"valid_from"`     // the later of both sides
	TilesFrom   Instant  `json:"tiles_from"`     // earlier rows are out of reach and were not read
	Sample      float64  `json:"sample"`         // 1 = all keys
	Replayed    bool     `json:"replay_offered"` // a Replayer was there to ask
	Entities    int64    `json:"entities"`       // of either store, in the sample
	Compared    int64    `json:"entities_compared"`
	States      int64    `json:"states"` // (entity, partition)
	Skipped     int64    `json:"states_not_compared"`
	Tiles       int64    `json:"tiles"`       // compared
	Values      int64    `json:"values"`      // compared
	TableAsOf   Instant  `json:"table_as_of"` // the boundary of the features table that was compared
	TableRows   int64    `json:"table_rows"`
	OpenTiles   int64    `json:"open_tiles"`
	OutOfReach  int64    `json:"out_of_reach"`
	Incomplete  int64    `json:"incomplete"`
	Diverging   int64    `json:"diverging"`
	// DivergingShare is Diverging of Values; the alert also looks at each feature.
	DivergingShare float64         `json:"diverging_share"`
	Levels         []LevelReport   `json:"levels"`
	Cells          *CellReport     `json:"cells,omitempty"` // of a table, which has no levels
	Features       []FeatureReport `json:"features"`
	Ledgers        Ledgers         `json:"ledgers"`
	Days           []DayLedger     `json:"days"` // of the offline store
	Differences    int64           `json:"differences"`
	Causes         map[Cause]int64 `json:"causes"`
	// Listed are the first differences, as many as Options.List.
	Listed []Difference `json:"listed"`
}

// Options of a run. Zero values mean the defaults.
type Options struct {
	// Sample is the share of the entities to compare, chosen by their hash, in
	// (0, 1]; 0 = all.
	Sample float64
	// List is how many differences the report names: 100.
	List int
	// Progress counts the online states that were read; may be nil.
	Progress *atomic.Int64
}

// OptionsError says that an option is out of range.
type OptionsError struct{ Option, Reason string }

func (e *OptionsError) Error() string { return e.Option + " " + e.Reason }

func (o *Options) fill() error {
	if o.List == 0 {
		o.List = 100
	}
	if o.Sample == 0 {
		o.Sample = 1
	}
	if !(o.Sample > 0 && o.Sample <= 1) {
		return &OptionsError{"sample", "must lie in (0, 1]"}
	}
	if o.List < 0 {
		return &OptionsError{"list", "must not be negative"}
	}
	return nil
}

// sampled tells whether an entity is in the sample. Shards go by the hash's low
// bits, the sample by its high ones.
func (o *Options) sampled(entity []byte) bool {
	return o.Sample >= 1 || float64(transforms.HashBytes(entity)>>11) < o.Sample*(1<<53)
}
