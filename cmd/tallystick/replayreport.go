package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// replayOutput is what `replay --json` prints.
type replayOutput struct {
	Cut   *schemas.Cut   `json:"cut"`
	Views []replayedView `json:"views"`
	Root  string         `json:"tables,omitempty"`
	// Calls are those to the store of the tables.
	Calls *offline.CallCounts `json:"store_calls,omitempty"`
}

type replayedView struct {
	View        string              `json:"view"`
	Fingerprint string              `json:"fingerprint"`
	Table       bool                `json:"table,omitempty"`                       // nothing of it is closed
	Boundary    *string             `json:"closed_boundary" jsonschema:"nullable"` // null while a partition is empty
	ValidFrom   *string             `json:"valid_from" jsonschema:"nullable"`      // null when the log begins at offset 0
	Partitions  []replayedPartition `json:"partitions"`
	Total       ledgerOutput        `json:"total"`
	Days        []replayedDay       `json:"days"`
	Entities    int64               `json:"entities"`
	Features    int64               `json:"feature_rows"`
	Tiles       int64               `json:"tile_rows"`
	States      int64               `json:"open_states"`
	Spilled     int64               `json:"spilled_bytes"`
	BrokenIDs   *batch.BrokenIDs    `json:"ids_in_several_places"`
	// Offsets of the log that were to be read, and the records that this process has read:
	// more of these than offsets is what was read twice.
	Offsets     int64          `json:"offsets"`
	RecordsRead int64          `json:"records_read"`
	Units       *replayedUnits `json:"units,omitempty"`
	Continued   bool           `json:"continued,omitempty"` // from tables: rows are those of this run, ledgers of the whole log
	// BackFrom is where the cut of the tables ends in the partitions in which this one ends
	// earlier.
	BackFrom map[int32]int64 `json:"back_from,omitempty"`
	// BeginsAfter is where the cut of the tables begins in the partitions in which this one
	// begins later.
	BeginsAfter map[int32]int64 `json:"begins_after,omitempty"`
	DatesGone   *goneOutput     `json:"dates_gone,omitempty"`
	// Dates of which rows were written; ledgers count from where the log was read.
	Dates *offline.DateRange `json:"dates,omitempty"`
	// Range is what entities the tables and ledgers are of; Outside counts the other ones'
	// records, as far as this run read them.
	Range   *offline.EntityRange `json:"entity_range,omitempty"`
	Outside int64                `json:"outside,omitempty"`
	// Changes of rows that were there, where the replay went on or wrote some dates anew;
	// Uncompared says why there are none, as the tables could not be read.
	Changes    *changesOutput `json:"changes,omitempty"`
	Uncompared string         `json:"uncompared,omitempty"`
	Gate       *gateOutput    `json:"gate,omitempty"` // with tables
}

// replayedUnits says what this process did: units that were finished before, by a
// run that was killed or by other processes, were found.
type replayedUnits struct {
	Ran   int64 `json:"ran"`
	Found int64 `json:"found"`
}

// goneOutput are the dates before the first one of a replay that the tables have which it
// replaces: this version of table features is the last one with them.
type goneOutput struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Dates   int    `json:"dates"`
	Version int64  `json:"version"`
}

type replayedPartition struct {
	Partition int32        `json:"partition"`
	Start     int64        `json:"start"`
	End       int64        `json:"end"`
	Clock     *string      `json:"clock" jsonschema:"nullable"` // RFC 3339, null when empty
	Ticks     int64        `json:"ticks"`
	Ledger    ledgerOutput `json:"ledger"`
}

type replayedDay struct {
	Partition int32        `json:"partition"`
	Day       *string      `json:"day" jsonschema:"nullable"` // of event time, UTC; null for records without one
	Ledger    ledgerOutput `json:"ledger"`
}

// ledgerOutput is a ledger with its sum.
type ledgerOutput struct {
	Read int64 `json:"read"`
	transforms.Ledger
}

func ledgerOf(l *transforms.Ledger) ledgerOutput { return ledgerOutput{l.Read(), *l} }

// instant formats an instant for JSON, null for Never.
func instant(t schemas.Micros) *string {
	if t == schemas.Never {
		return nil
	}
	s := t.String()
	return &s
}

func replayed(v *definition.View, tc schemas.TopicCut, from schemas.Micros, r *batch.Report) replayedView {
	out := replayedView{View: v.Name, Fingerprint: v.Fingerprint, Table: v.Spec.Table, Boundary: instant(r.Boundary), ValidFrom: instant(from),
		Entities: r.Entities, Features: r.Features, Tiles: r.Tiles, States: r.States, Spilled: r.Spilled, BrokenIDs: r.BrokenIDs,
		Days: []replayedDay{}}
	var total transforms.Ledger
	ledgers := r.Partitions()
	for _, p := range tc.PartitionIDs() {
		l := ledgers[p]
		total.Merge(l)
		pc := tc.Partitions[p]
		out.Partitions = append(out.Partitions, replayedPartition{Partition: p, Start: pc.Start, End: pc.End,
			Clock: instant(r.Clocks[p]), Ticks: r.Ticks[p], Ledger: ledgerOf(l)})
	}
	out.Total = ledgerOf(&total)
	days := make([]batch.PartitionDay, 0, len(r.Days))
	for d := range r.Days {
		days = append(days, d)
	}
	slices.SortFunc(days, func(a, b batch.PartitionDay) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(min(1, max(-1, a.Day-b.Day)))
	})
	for _, d := range days {
		row := replayedDay{Partition: d.Partition, Ledger: ledgerOf(r.Days[d])}
		if d.Day != batch.NoDay {
			s := gate.Day(d.Day).String()
			row.Day = &s
		}
		out.Days = append(out.Days, row)
	}
	return out
}

func examples(ids []batch.BrokenID) string {
	var list []string
	for _, id := range ids {
		list = append(list, id.String())
	}
	return strings.Join(list, ", ")
}

// tell prints what was done; the error says that views are held.
func (o *replayOutput) tell(w io.Writer, asJSON bool) error {
	if !asJSON {
		o.print(w)
	} else if err := printJSON(w, o); err != nil {
		return err
	}
	return o.outcome()
}

// outcome is an error where the gate holds a publication.
func (o *replayOutput) outcome() error {
	var views []string
	for _, v := range o.Views {
		if v.Gate != nil && v.Gate.Verdict == verdictHeld {
			views = append(views, v.View)
		}
	}
	if len(views) == 0 {
		return nil
	}
	return &exitError{exitHeld, fmt.Errorf("view %s: the gate holds the publication back, nothing of it is visible: if the figures are right, `tallystick replay accept --reason TEXT` publishes it; if not, mend the source and replay again", strings.Join(views, ", "))}
}

func (o *replayOutput) print(w io.Writer) {
	for _, v := range o.Views {
		fmt.Fprintf(w, "view %s (fingerprint %s)\n", v.View, v.Fingerprint)
		for _, p := range v.Partitions {
			fmt.Fprintf(w, "  partition %d, offsets %d to %d: %v\n", p.Partition, p.Start, p.End, &p.Ledger.Ledger)
		}
		t := v.Total
		fmt.Fprintf(w, "  all: %v\n", &t.Ledger)
		if t.Conflicts > 0 {
			fmt.Fprintf(w, "  %d duplicates have other content than the event in force (conflicts)\n", t.Conflicts)
		}
		if t.SealedEarly > 0 {
			fmt.Fprintf(w, "  %d ids were forgotten early because of max_open\n", t.SealedEarly)
		}
		if b := v.BrokenIDs; b != nil && b.Count > 0 {
			fmt.Fprintf(w, "  warning: %d ids occur in several partitions or entities, so copies of them are not recognised; for example %s\n", b.Count, examples(b.Examples))
		}
		if v.Continued && v.Units == nil {
			fmt.Fprintln(w, "  nothing has come since: the tables stay as they are")
			continue
		}
		if v.Table {
			fmt.Fprintf(w, "  a table: %d entities, %d feature rows, %d states\n", v.Entities, v.Features, v.States)
		} else if v.Boundary != nil {
			fmt.Fprintf(w, "  closed up to %s; %d entities, %d feature rows, %d tiles, %d open states\n", *v.Boundary, v.Entities, v.Features, v.Tiles, v.States)
		} else {
			fmt.Fprintln(w, "  nothing is closed yet: a partition holds no record")
		}
		fmt.Fprintf(w, "  %d records read, of %d offsets\n", v.RecordsRead, v.Offsets)
		if v.Continued {
			fmt.Fprintln(w, "  gone on from the tables; rows are those of the dates that were written anew")
		}
		for _, p := range slices.Sorted(maps.Keys(v.BackFrom)) {
			fmt.Fprintf(w, "  an earlier state than that of the tables, which had read partition %d up to offset %d\n", p, v.BackFrom[p])
		}
		for _, p := range slices.Sorted(maps.Keys(v.BeginsAfter)) {
			fmt.Fprintf(w, "  begins later than the tables, which had read partition %d from offset %d\n", p, v.BeginsAfter[p])
		}
		if g := v.DatesGone; g != nil {
			fmt.Fprintf(w, "  without %d dates that the tables have, %s to %s: once this is published, version %d of table features alone has them, until `tallystick gc` removes its files\n", g.Dates, g.From, g.To, g.Version)
		}
		if v.Range != nil {
			fmt.Fprintf(w, "  of %v alone; %d records of others were passed over\n", v.Range, v.Outside)
		}
		if v.Dates != nil && v.Dates.To == noLastDate {
			fmt.Fprintf(w, "  rows of %s and later were written\n", v.Dates.From)
		} else if v.Dates != nil {
			fmt.Fprintf(w, "  rows of %s to %s were written\n", v.Dates.From, v.Dates.To)
		}
		if v.Changes != nil {
			v.Changes.print(w, v.Dates != nil)
		}
		if v.Uncompared != "" {
			fmt.Fprintf(w, "  what has changed is not known: %s\n", v.Uncompared)
		}
		if u := v.Units; u != nil && u.Found > 0 {
			fmt.Fprintf(w, "  %d units were run, %d were finished before\n", u.Ran, u.Found)
		}
		if v.Gate != nil {
			v.Gate.print(w)
		}
	}
	if o.Root != "" {
		fmt.Fprintf(w, "tables in %s; %s\n", o.Root, callsText(o.Calls))
	}
}
