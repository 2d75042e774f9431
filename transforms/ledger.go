package transforms

import "fmt"

// Ledger accounts for the records of one view and partition (V8): what was
// read is the sum of the seven outcomes. Ticks are not read.
type Ledger struct {
	Applied     int64 `json:"applied"`
	Filtered    int64 `json:"filtered"`
	Duplicate   int64 `json:"duplicate"`
	Superseded  int64 `json:"superseded"`
	Late        int64 `json:"late"`
	Future      int64 `json:"future"`
	Invalid     int64 `json:"invalid"`
	Conflicts   int64 `json:"conflicts"`    // of the duplicates, those with other content
	SealedEarly int64 `json:"sealed_early"` // ids forgotten because of max_open
}

// Read returns how many records were read.
func (l *Ledger) Read() int64 {
	return l.Applied + l.Filtered + l.Duplicate + l.Superseded + l.Late + l.Future + l.Invalid
}

// Count returns the entry of an outcome.
func (l *Ledger) Count(o Outcome) *int64 {
	switch o {
	case Applied:
		return &l.Applied
	case Filtered:
		return &l.Filtered
	case Duplicate:
		return &l.Duplicate
	case Superseded:
		return &l.Superseded
	case Late:
		return &l.Late
	case Future:
		return &l.Future
	}
	return &l.Invalid
}

// Add books a verdict; a replaced event moves to superseded.
func (l *Ledger) Add(r *Verdict) {
	*l.Count(r.Outcome)++
	if r.Replaced {
		*l.Count(r.ReplacedOutcome)--
		l.Superseded++
	}
	if r.Conflict {
		l.Conflicts++
	}
	l.SealedEarly += int64(r.SealedEarly)
}

// Merge adds another ledger.
func (l *Ledger) Merge(o *Ledger) {
	for k := range Outcomes {
		*l.Count(k) += *o.Count(k)
	}
	l.Conflicts += o.Conflicts
	l.SealedEarly += o.SealedEarly
}

// Negative returns the ledger that makes nothing of this one when they are merged.
func (l *Ledger) Negative() Ledger {
	n := Ledger{Conflicts: -l.Conflicts, SealedEarly: -l.SealedEarly}
	for k := range Outcomes {
		*n.Count(k) = -*l.Count(k)
	}
	return n
}

// LoadError says that too much of a declared load of old events is late (K7).
type LoadError struct {
	Partition  int32
	Late, Read int64
}

func (e *LoadError) Error() string {
	return fmt.Sprintf("partition %d: %d of the %d records of its history load are late, more than 5 %%: "+
		"sort the load by event time before it is produced, or declare a history_lateness that covers them", e.Partition, e.Late, e.Read)
}

// minLoad is the least number of records of a load whose share of late ones
// says anything.
const minLoad = 100

// CheckLoad looks at the ledger of a whole load: of one with more than 5 % late
// records little is kept, and the features would be wrong without anybody
// noticing (K7). The error is a *LoadError.
func (l *Ledger) CheckLoad(partition int32) error {
	if read := l.Read(); read >= minLoad && l.Late > read/20 {
		return &LoadError{partition, l.Late, read}
	}
	return nil
}

func (l *Ledger) String() string {
	return fmt.Sprintf("read %d = applied %d + filtered %d + duplicate %d + superseded %d + late %d + future %d + invalid %d",
		l.Read(), l.Applied, l.Filtered, l.Duplicate, l.Superseded, l.Late, l.Future, l.Invalid)
}
