package reconcile

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Lines that Print spends on differences, features and notes.
const (
	printDifferences = 10
	printFeatures    = 12
	printNotes       = 6
)

// Print writes the report for people, on one screen.
func (rep *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "view %s (fingerprint %s)\n", rep.View, rep.Fingerprint)
	fmt.Fprintf(w, "%s\n", rep.headline())
	for _, y := range rep.Why {
		fmt.Fprintf(w, "  %s\n", y)
	}
	if rep.Alert {
		fmt.Fprintf(w, "ALERT: %s of %s values lie more than 1 %% apart\n", count(rep.Diverging), count(rep.Values))
	}
	rep.printCounts(w)
	rep.printFeatures(w)
	rep.printDifferences(w)
	for i, n := range rep.Notes {
		if i == printNotes {
			fmt.Fprintf(w, "  … and %d notes more\n", len(rep.Notes)-i)
			break
		}
		fmt.Fprintf(w, "  note: %s\n", n)
	}
}

func (rep *Report) headline() string {
	compared := fmt.Sprintf("%s, %s values of %s entities", rep.units(), count(rep.Values), count(rep.Compared))
	if rep.Sample < 1 {
		compared += fmt.Sprintf(", a sample of %g %%", rep.Sample*100)
	}
	switch rep.Verdict {
	case Equal:
		return "equal, to the bit: " + compared
	case Differs:
		var causes []string
		for _, c := range Causes() {
			if n := rep.Causes[c]; n > 0 {
				causes = append(causes, fmt.Sprintf("%s %s", count(n), c))
			}
		}
		text := fmt.Sprintf("DIFFERS in %s places (%s); compared: %s", count(rep.Differences), strings.Join(causes, ", "), compared)
		if rep.Causes[Logic] > 0 {
			text += fmt.Sprintf("\nBUG: %s differences fit no cause", count(rep.Causes[Logic]))
			if !rep.Replayed {
				text += "; with --brokers, a replay of the log tells corruption from a bug"
			}
		}
		return text
	}
	return "NOTHING WAS COMPARED"
}

func (rep *Report) printCounts(w io.Writer) {
	if rep.Cells != nil {
		rep.printCells(w)
		return
	}
	fmt.Fprintf(w, "  closed before %v; %s entities, %s states (%s not compared)\n", rep.Boundary, count(rep.Entities), count(rep.States), count(rep.Skipped))
	for _, l := range rep.Levels {
		fmt.Fprintf(w, "  level %-5s %s tiles compared, %s differ; %s out of reach, %s incomplete, open %s online and %s offline\n", l.Hop,
			count(l.Compared), count(l.Different), count(l.OutOfReach), count(l.Incomplete), count(l.OpenOnline), count(l.OpenOffline))
	}
	fmt.Fprintf(w, "  table features: %s rows as of %v compared\n", count(rep.TableRows), rep.TableAsOf)
	on, off := sum(rep.Ledgers.Online), sum(rep.Ledgers.Offline)
	fmt.Fprintf(w, "  ledgers: %d compared, %d differ, %d not comparable (other positions)\n", rep.Ledgers.Compared, rep.Ledgers.Different, rep.Ledgers.NotComparable)
	fmt.Fprintf(w, "    online:  %v\n    offline: %v\n", &on, &off)
}

// units says how much was compared of what a view consists of.
func (rep *Report) units() string {
	if rep.Cells != nil {
		return count(rep.Cells.Compared) + " cells"
	}
	return count(rep.Tiles) + " tiles"
}

// printCells is printCounts for a table.
func (rep *Report) printCells(w io.Writer) {
	c := rep.Cells
	fmt.Fprintf(w, "  both have read up to %v; %s entities, %s states (%s not compared)\n", rep.Boundary, count(rep.Entities), count(rep.States), count(rep.Skipped))
	fmt.Fprintf(w, "  cells: %s compared, %s differ; of %s, %s not comparable (the log no longer holds the newer record) and %s open (beyond the other's position)\n",
		count(c.Compared), count(c.Different), count(c.total()), count(c.NotComparable), count(c.Open))
	fmt.Fprintf(w, "  table features: %s rows as of %v compared\n", count(rep.TableRows), rep.TableAsOf)
	on, off := sum(rep.Ledgers.Online), sum(rep.Ledgers.Offline)
	fmt.Fprintf(w, "  ledgers: not compared, as compaction removes records of a table\n    online:  %v\n    offline: %v\n", &on, &off)
}

func sum(list []LedgerEntry) (l transforms.Ledger) {
	for i := range list {
		l.Merge(&list[i].Ledger)
	}
	return l
}

// printFeatures lists the features, those that differ first.
func (rep *Report) printFeatures(w io.Writer) {
	list := slices.Clone(rep.Features)
	slices.SortStableFunc(list, func(a, b FeatureReport) int {
		return int(min(1, max(-1, b.Different-a.Different)))
	})
	for i, f := range list {
		if i == printFeatures && len(list) > i+1 { // the line that says so would hold the last one
			fmt.Fprintf(w, "  … and %d features more\n", len(list)-i)
			break
		}
		fmt.Fprintf(w, "  %-28s as of %s: %s values, %s differ, %s diverge\n", f.Feature, f.AsOf.AsOf(), count(f.Compared), count(f.Different), count(f.Diverging))
	}
}

func (rep *Report) printDifferences(w io.Writer) {
	for i := range rep.Listed {
		if i == printDifferences {
			break
		}
		fmt.Fprintf(w, "  %s\n", rep.Listed[i].line())
	}
	if n := rep.Differences - int64(min(printDifferences, len(rep.Listed))); n > 0 {
		fmt.Fprintf(w, "  … and %s differences more\n", count(n))
	}
}

// where says what differs.
func (d *Difference) where() string {
	var at []string
	at = append(at, d.Key...)
	if len(d.Key) == 0 && d.Shard != nil {
		at = append(at, fmt.Sprintf("shard %d", *d.Shard))
	}
	if d.Partition != nil {
		at = append(at, fmt.Sprintf("partition %d", *d.Partition))
	}
	switch d.Kind {
	case TileKind:
		at = append(at, fmt.Sprintf("%s tile of %v", d.Level, *d.Start))
	case ValueKind, RowKind:
		at = append(at, fmt.Sprintf("%s as of %s", d.Feature, d.AsOf.AsOf()))
	default:
		at = append(at, string(d.Kind))
	}
	return strings.Join(at, ", ")
}

// line is a difference in one line.
func (d *Difference) line() string {
	cause := string(d.Cause)
	if d.Side != "" {
		cause += " " + string(d.Side)
	}
	e := &d.Evidence
	line := fmt.Sprintf("%s: %s: online %s; offline %s; %s", cause, d.where(), d.Online, d.Offline, e.Text)
	if max(e.OnlineLast, e.MarkerNext, e.OfflineLast, e.CutEnd) < 0 {
		return line // of a whole view, which has no offsets
	}
	return line + fmt.Sprintf(" (offsets: online %d before %d, offline %d before %d)", e.OnlineLast, e.MarkerNext, e.OfflineLast, e.CutEnd)
}

// AsOf says as of when a value is: of a table's newest records no instant is named.
func (t Instant) AsOf() string {
	if schemas.Micros(t) == schemas.Never {
		return "the newest record"
	}
	return t.String()
}

// count formats a count with commas.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
