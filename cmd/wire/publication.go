package wire

import (
	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Publication is what the commits of a replay from scratch say of it; from is its
// batch.Replay.ValidFrom.
func Publication(topic string, from schemas.Micros, r *batch.Report) offline.Publication {
	p := offline.Publication{Mode: offline.ReplaceTable, Topic: topic}
	if r.Boundary != schemas.Never {
		p.Boundary = &r.Boundary
	}
	if from != schemas.Never {
		p.ValidFrom = &from
	}
	for k, l := range r.Ledgers {
		row := rows.Ledger{Shard: k.Shard, Partition: k.Partition, Ledger: *l}
		if t, ok := r.Newest[k]; ok {
			row.Newest = &t
		}
		p.Ledgers = append(p.Ledgers, row)
	}
	for k, l := range r.Days {
		p.Days = append(p.Days, offline.DayEntry{Partition: k.Partition, Day: dayText(k.Day), Ledger: *l})
	}
	return p
}

// dayText formats days since the epoch as YYYY-MM-DD, "" for none.
func dayText(day int64) string {
	if day == batch.NoDay {
		return ""
	}
	return (schemas.Micros(day) * schemas.Day).Time().Format("2006-01-02")
}
