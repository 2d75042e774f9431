package gate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tallystick/tallystick/transforms"
)

// Record is what a commit keeps of the gate: what it said of the publication, and
// what the checks after it need.
type Record struct {
	// Fingerprint is of the definition: figures of another one are no baseline.
	Fingerprint string   `json:"fingerprint"`
	Options     *Options `json:"options,omitempty"`
	// First: no commit before it says what the days are like. What was found is on
	// record, but holds nothing back, unless it needs no baseline.
	First bool `json:"first,omitempty"`
	// Report is nil where the gate was not asked.
	Report   *Report     `json:"report,omitempty"`
	Accepted *Acceptance `json:"accepted,omitempty"` // of the breaches
	// Settled are the breaches that were ever accepted: a later run that finds the same
	// figure is not asked again.
	Settled  []Settled `json:"settled,omitempty"`
	Profiles []Profile `json:"profiles,omitempty"` // see Keep
	// Aside are figures of Profiles that breached and that nobody has accepted: they are
	// no part of a baseline.
	Aside []Figure `json:"aside,omitempty"`
	// Strays is for the caller: what stands in the ledger of a day besides its own.
	Strays *Strays `json:"strays,omitempty"`
}

// Strays is the ledger of what a run that goes on from another has read of days that
// were closed: it counts on the first day that was not, and still does when that day is
// judged by a later run.
type Strays struct {
	Day    Day               `json:"date"`
	Ledger transforms.Ledger `json:"ledger"`
}

// Acceptance says who has let a publication with breaches pass.
type Acceptance struct {
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
}

// Figure names one figure of a date.
type Figure struct {
	Table     Table     `json:"table"`
	Date      Day       `json:"date"`
	Column    string    `json:"column,omitempty"`
	Statistic Statistic `json:"statistic"`
}

// Figure names what the breach is of.
func (b *Breach) Figure() Figure { return Figure{b.Table, b.Date, b.Column, b.Statistic} }

// Settled is a figure that was accepted.
type Settled struct {
	Figure
	Is float64 `json:"is"`
}

// Judge holds the days of a run, which has written all of its tables, against the
// record of the publication before it; nil = there is none.
func Judge(before *Record, fingerprint string, now []Profile, o Options) (*Record, error) {
	if before == nil || before.Fingerprint != fingerprint {
		before = &Record{}
	}
	report, err := check(before, now, o)
	if err != nil {
		return nil, err
	}
	r := &Record{Fingerprint: fingerprint, Options: &o, First: len(before.Profiles) == 0, Report: report, Settled: before.Settled, Profiles: Keep(before.Profiles, now, o)}
	if r.First {
		r.settle(func(b *Breach) bool { return !b.Exact })
	}
	r.putAside(before.Aside, now)
	return r, nil
}

// putAside keeps the figures that breached, of the days that are kept: those of the run,
// and those of days that it says nothing of.
func (r *Record) putAside(before []Figure, now []Profile) {
	settled := map[Figure]float64{}
	for _, s := range r.Settled {
		settled[s.Figure] = s.Is
	}
	again, kept := map[Day]bool{}, map[Day]bool{}
	for i := range now {
		again[now[i].Day] = true
	}
	for i := range r.Profiles {
		kept[r.Profiles[i].Day] = true
	}
	for _, f := range before {
		if kept[f.Date] && !again[f.Date] {
			r.Aside = append(r.Aside, f)
		}
	}
	for i := range r.Report.Breaches {
		b := &r.Report.Breaches[i]
		if is, ok := settled[b.Figure()]; kept[b.Date] && (!ok || is != b.Is) {
			r.Aside = append(r.Aside, b.Figure())
		}
	}
}

// Unasked returns the record of a publication of which the gate was not asked: its days
// are taken as they are.
func Unasked(before *Record, fingerprint string, now []Profile, o Options) *Record {
	if before == nil || before.Fingerprint != fingerprint {
		before = &Record{}
	}
	return &Record{Fingerprint: fingerprint, Settled: before.Settled, Profiles: Keep(before.Profiles, now, o), Aside: before.Aside}
}

// Held tells whether there are breaches that nobody has accepted.
func (r *Record) Held() bool {
	return r.Report != nil && r.Accepted == nil && slices.ContainsFunc(r.Report.Breaches, func(b Breach) bool { return b.Exact || !r.First })
}

// Accept lets the breaches pass.
func (r *Record) Accept(a Acceptance) {
	r.Accepted = &a
	r.settle(func(*Breach) bool { return true })
	found := map[Figure]bool{}
	for i := range r.Report.Breaches {
		found[r.Report.Breaches[i].Figure()] = true
	}
	r.Aside = slices.DeleteFunc(r.Aside, func(f Figure) bool { return found[f] })
}

// settle remembers breaches, so that the same figures pass from now on.
func (r *Record) settle(which func(*Breach) bool) {
	var now []Settled
	for i := range r.Report.Breaches {
		if b := &r.Report.Breaches[i]; which(b) {
			now = append(now, Settled{b.Figure(), b.Is})
		}
	}
	all := slices.Concat(now, r.Settled) // what is newer stands first and stays
	slices.SortStableFunc(all, func(a, b Settled) int {
		return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Statistic, b.Statistic))
	})
	r.Settled = slices.CompactFunc(all, func(a, b Settled) bool { return a.Figure == b.Figure })
}

// Encode returns the bytes of a record: compact JSON, the same for equal records.
func (r *Record) Encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("gate: the record of a publication: %w", err)
	}
	return b, nil
}

// Decode reads what Encode wrote. Anything else is a *MalformedError.
func Decode(b []byte) (*Record, error) {
	var r Record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if err == nil && d.InputOffset() != int64(len(b)) {
		err = errors.New("something follows it")
	}
	if err == nil && r.Options != nil {
		err = r.Options.Validate()
	}
	if err == nil {
		err = checkAll(r.Profiles)
	}
	if err != nil {
		return nil, &MalformedError{"the record of a publication does not decode", err}
	}
	return &r, nil
}

// checkAll refuses profiles that contradict themselves or do not ascend.
func checkAll(ps []Profile) error {
	for i := range ps {
		if err := ps[i].check(); err != nil {
			return err
		}
		if i > 0 && ps[i].Day <= ps[i-1].Day {
			return fmt.Errorf("%v does not follow %v", ps[i].Day, ps[i-1].Day)
		}
	}
	return nil
}
