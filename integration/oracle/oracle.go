// Package oracle is the independent judge of the engine (DESIGN V1-V12, R6):
// brute force over raw records with naive exact arithmetic. It imports nothing
// of Tallystick and keeps no state between questions: whoever reads it can
// check it against the rules line by line. It is slow on purpose.
package oracle

// Kind is the type of a Val; the numbers are the tags of the canonical encoding.
type Kind uint8

// The kinds.
const (
	Null Kind = iota
	Bool
	Int
	Double
	String
	Bytes
	Timestamp
	List // S holds the canonical encodings of the elements, one after the other
)

// Val is one typed scalar: I for Bool (0, 1), Int and Timestamp, F for Double,
// S for String and Bytes. The zero Val is null. Vals compare with ==.
type Val struct {
	Kind Kind
	I    int64
	F    float64
	S    string
}

// RecordKind tells data from ticks and from records without an event time.
type RecordKind uint8

// The kinds of records.
const (
	Data RecordKind = iota
	Tick
	Bad // undecodable, or without a readable event time
)

// Record is one record of a partition's log, as the view's definition reads it.
type Record struct {
	Partition int32
	Offset    int64
	Timestamp int64 // µs, all instants
	Kind      RecordKind
	Entity    string // "" = null key: invalid
	EventTime int64
	ID        string
	HasID     bool
	Version   int64 // 0 where the view's source declares none
	HasVer    bool
	Invalid   bool // fails an expectation, or a number in use is not finite
	Pass      bool // passes the view's filter
	Filters   []bool
	Inputs    []Val
	Gone      bool // of a table: the value is null, a tombstone
}

// Identity says how copies are told apart (V7).
type Identity uint8

// The identities.
const (
	ByNothing Identity = iota
	ByID
	ByVersion
)

// Config is what of a view's definition the rules depend on.
type Config struct {
	Lateness  int64
	MaxFuture int64
	Identity  Identity
	MaxOpen   int
	History   map[int32]int64 // partition → end of its load of old events (K7)
	// LoadLateness is the lateness of records of a load, 0 = Lateness.
	LoadLateness int64
	Features     []Feature
}

// Agg names an aggregation.
type Agg string

// ByInput tells whether a second input says which event's value is taken.
func (a Agg) ByInput() bool { return a == "min_by" || a == "max_by" }

// Feature is an aggregation over a window, or a function of earlier features.
type Feature struct {
	Agg     Agg
	Input   int // index into Record.Inputs; -1 = bare count
	Filter  int // index into Record.Filters; -1 = none
	By      int // min_by, max_by: index into Record.Inputs of what is least or greatest
	K       int // first_k, last_k
	Q       int // quantile: millionths
	Window  Window
	Kind    Kind                // of the value
	Default Val                 // null = none
	Derived func(all []Val) Val // nil = an aggregation; all are the values before it
	Uses    []int               // the features that Derived reads
}

// Status says what a result means (V9).
type Status string

// The statuses that values can have here.
const (
	Present     Status = "PRESENT"
	IsNull      Status = "NULL"
	Absent      Status = "ABSENT"
	Approximate Status = "APPROXIMATE"
	Overflow    Status = "OVERFLOW"
)

// Result is the value of one feature as of some t.
type Result struct {
	Val    Val
	Status Status
}
