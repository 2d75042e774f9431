package batch

import (
	"math"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Answers are what Train found: a row of features per label, in the order of the
// labels.
type Answers struct {
	// Clock is the least log clock at the cut's end; Never when a partition is
	// empty. Labels beyond it may miss records that are still to come.
	Clock schemas.Micros

	// There are many, so they lie packed, row by row: what a result takes is the
	// greater part of it without meaning, and pointers are looked at by the garbage
	// collector.
	rows, width int
	kinds       []schemas.Kind // per feature
	statuses    []uint8        // with missing
	bits        []uint64       // of numbers
	places      []int          // per feature that is no number: its place in others
	others      []schemas.Value
	otherWidth  int
}

// missing marks the status of a result that is null.
const missing = 0x80

func newAnswers(rows int, features []transforms.Feature) *Answers {
	a := &Answers{rows: rows, width: len(features), places: make([]int, len(features))}
	for i, f := range features {
		a.kinds = append(a.kinds, f.Kind)
		if a.places[i] = -1; !isNumber(f.Kind) {
			a.places[i] = a.otherWidth
			a.otherWidth++
		}
	}
	a.statuses, a.bits = make([]uint8, rows*a.width), make([]uint64, rows*a.width)
	a.others = make([]schemas.Value, rows*a.otherWidth)
	return a
}

func isNumber(k schemas.Kind) bool {
	switch k {
	case schemas.Bool, schemas.Int, schemas.Double, schemas.Timestamp:
		return true
	}
	return false
}

// set keeps the results of one label; different ones may be set at once.
func (a *Answers) set(row int, results []transforms.Result) {
	for i, r := range results {
		at := row*a.width + i
		a.statuses[at] = uint8(r.Status)
		switch {
		case r.Value.IsNull():
			a.statuses[at] |= missing
		case a.places[i] >= 0:
			a.others[row*a.otherWidth+a.places[i]] = r.Value
		case a.kinds[i] == schemas.Double:
			a.bits[at] = math.Float64bits(r.Value.Double())
		case a.kinds[i] == schemas.Timestamp:
			a.bits[at] = uint64(r.Value.Micros())
		case a.kinds[i] == schemas.Bool && r.Value.Bool():
			a.bits[at] = 1
		case a.kinds[i] == schemas.Int:
			a.bits[at] = uint64(r.Value.Int())
		}
	}
}

// answered tells whether a label's results have been set.
func (a *Answers) answered(row int) bool { return a.statuses[row*a.width] != 0 }

// Len returns the number of labels.
func (a *Answers) Len() int { return a.rows }

// Status returns the status of a label's feature.
func (a *Answers) Status(row, feature int) transforms.Status {
	return transforms.Status(a.statuses[row*a.width+feature] &^ missing)
}

// Result returns a label's feature.
func (a *Answers) Result(row, feature int) transforms.Result {
	at := row*a.width + feature
	r := transforms.Result{Status: a.Status(row, feature)}
	switch {
	case a.statuses[at]&missing != 0:
	case a.places[feature] >= 0:
		r.Value = a.others[row*a.otherWidth+a.places[feature]]
	case a.kinds[feature] == schemas.Double:
		r.Value = schemas.DoubleValue(math.Float64frombits(a.bits[at]))
	case a.kinds[feature] == schemas.Timestamp:
		r.Value = schemas.TimestampValue(schemas.Micros(a.bits[at]))
	case a.kinds[feature] == schemas.Bool:
		r.Value = schemas.BoolValue(a.bits[at] != 0)
	case a.kinds[feature] == schemas.Int:
		r.Value = schemas.IntValue(int64(a.bits[at]))
	}
	return r
}

// Row returns the features of a label.
func (a *Answers) Row(row int) []transforms.Result {
	out := make([]transforms.Result, a.width)
	for i := range out {
		out[i] = a.Result(row, i)
	}
	return out
}
