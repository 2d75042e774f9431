package wire

import (
	"strconv"
	"strings"
	"time"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
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

// dayText formats days since the epoch as YYYY-MM-DD, "" for none; a day beyond the years
// 0 to 9999, on which broken event times lie, as "day" and its number.
func dayText(day int64) string {
	if day == batch.NoDay {
		return ""
	}
	return gate.Day(day).String()
}

// parseDay is the reverse.
func parseDay(text string) (int64, error) {
	if text == "" {
		return batch.NoDay, nil
	}
	if n, far := strings.CutPrefix(text, "day "); far {
		return strconv.ParseInt(n, 10, 64)
	}
	t, err := time.Parse(time.DateOnly, text)
	return schemas.Micros(t.UnixMicro()).Days(), err
}
