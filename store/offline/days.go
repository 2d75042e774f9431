package offline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tallystick/tallystick/transforms"
)

// The formats of Info: 1 has neither DaysUpon nor Sum.
const (
	firstInfoFormat = 1
	infoFormat      = 2
)

// said decodes what the last commit of ours says, nil where there is none. Its days are
// those that stand in that commit.
func (s *Snapshot) said() (*Info, error) {
	if s.Info == nil {
		return nil, nil
	}
	var info Info
	err := json.Unmarshal(s.Info, &info)
	if info.Format > infoFormat { // then it need not decode
		return nil, fmt.Errorf("its commitInfo is of format %d, this program reads %d to %d: a newer one wrote it, upgrade this", info.Format, firstInfoFormat, infoFormat)
	}
	if err == nil && info.Format < firstInfoFormat {
		err = fmt.Errorf("it is of format %d, this program reads %d to %d", info.Format, firstInfoFormat, infoFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("commitInfo: %w", err)
	}
	return &info, nil
}

// Ours returns what the last commit of ours in a snapshot of the table says, with all
// its days; nil where there is none.
func (t *Table) Ours(s *Snapshot) (*Info, error) {
	info, err := s.said()
	if err == nil && info != nil && info.DaysUpon != "" {
		if s.days.of != info.ID {
			err = fmt.Errorf("its commit is damaged, or one before it: it says what days have changed since publication %.8s, which is not the one before; %s", info.DaysUpon, restoreCommit)
		}
		info.Days, info.DaysUpon = s.days.all(), ""
	}
	if err != nil {
		return nil, &UnreadableError{t.name, s.InfoVersion, err.Error()}
	}
	return info, nil
}

// upon leaves in a commit the days that have changed since the publication before, where
// these and the ones before are all.
func (i *Info) upon(before *Info) {
	if before == nil || before.Fingerprint != i.Fingerprint {
		return
	}
	if changed, ok := changedDays(before.Days, i.Days); ok {
		i.Days, i.DaysUpon = changed, before.ID
	}
}

// changedDays returns the days of a list that an earlier one does not have, or otherwise;
// false where all have changed, one is gone, or one is named twice. now is in order.
func changedDays(before, now []DayEntry) ([]DayEntry, bool) {
	was := make(map[dayKey]transforms.Ledger, len(before))
	for i := range before {
		was[before[i].key()] = before[i].Ledger
	}
	var changed []DayEntry
	stay := 0
	for i := range now {
		if i > 0 && now[i].key() == now[i-1].key() {
			return nil, false
		}
		l, there := was[now[i].key()]
		if there {
			stay++
		}
		if !there || l != now[i].Ledger {
			changed = append(changed, now[i])
		}
	}
	return changed, stay == len(before) && len(changed) < len(now)
}

type dayKey struct {
	partition int32
	day       string
}

func (d *DayEntry) key() dayKey { return dayKey{d.Partition, d.Day} }

func sortDays(days []DayEntry) {
	slices.SortFunc(days, func(a, b DayEntry) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Day, b.Day))
	})
}

// dayList is the ledger by day while a log is read: one list, whatever the number of
// versions.
type dayList struct {
	of    string // the publication, "" where its days are not known
	whole []DayEntry
	later map[dayKey]DayEntry // what has changed since the commit with the whole list
}

// follow takes up what a commit says; nil where nobody can tell.
func (d *dayList) follow(info *Info) {
	switch {
	case info == nil || info.DaysUpon != "" && info.DaysUpon != d.of:
		*d = dayList{}
	case info.DaysUpon == "":
		*d = dayList{of: info.ID, whole: info.Days}
	default:
		d.of = info.ID
		if d.later == nil {
			d.later = map[dayKey]DayEntry{}
		}
		for _, e := range info.Days {
			d.later[e.key()] = e
		}
	}
}

// all returns the whole list.
func (d *dayList) all() []DayEntry {
	out := make([]DayEntry, 0, len(d.whole)+len(d.later))
	for _, e := range d.whole {
		if _, changed := d.later[e.key()]; !changed {
			out = append(out, e)
		}
	}
	for _, e := range d.later {
		out = append(out, e)
	}
	sortDays(out)
	return out
}
