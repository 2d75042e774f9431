package integration

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/expr"
	"github.com/tallystick/tallystick/transforms/reading"
)

const conceptSchema = `{"type":"record","name":"order","fields":[{"name":"shop","type":"string"},{"name":"id","type":"string"},
 {"name":"version","type":"long"},{"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"amount","type":"double"}]}`

// concepts is docs/concepts.md with its view and its log.
type concepts struct {
	*document
	view   *definition.View
	source *reading.Source
	engine *transforms.View
	rows   [][]string
	log    []schemas.Record
}

func newConcepts(t *testing.T) *concepts {
	d := &concepts{document: newDocument(t, "concepts.md")}
	d.view = testbed.View(t, d.block("yaml definition"), conceptSchema)
	d.source = reading.NewSource(d.view, testbed.Writers(d.view))
	var err error
	if d.engine, err = transforms.NewView(d.view.Spec); err != nil {
		t.Fatal(err)
	}
	d.rows = d.table("offset | record | event | shop |")
	for i, row := range d.rows {
		r := schemas.Record{Offset: int64(i), Timestamp: schemas.KafkaMillis(int64(d.today(row[1])) / 1000), Tick: row[2] == "tick"}
		if row[0] != fmt.Sprint(i) {
			t.Fatalf("offset %s in row %d", row[0], i)
		}
		if !r.Tick {
			version, _ := strconv.ParseInt(row[5], 10, 64)
			amount, _ := strconv.ParseFloat(row[6], 64)
			r.Value = testbed.Event{Ent: row[3], ID: row[4], Ver: version, ET: int64(d.today(row[2])), Amt: amount}.Bytes()
		}
		d.log = append(d.log, r)
	}
	return d
}

// today reads an hour and minute of the page's day.
func (d *document) today(clock string) schemas.Micros {
	d.Helper()
	return d.instantOf("2026-01-01 " + clock)
}

// ReadCut is the log for batch.Train.
func (d *concepts) ReadCut(_ context.Context, _ string, _ schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	return fn(0, d.log)
}

// TestDocsConcepts runs the log of docs/concepts.md: clocks, verdicts, the ledger
// and the values that training finds are those of the page.
func TestDocsConcepts(t *testing.T) {
	d := newConcepts(t)
	reader, event, in := d.source.NewReader(), d.source.NewEvent(), d.engine.NewInput()
	states := map[string]*transforms.State{}
	var clock schemas.Clock
	var ledger transforms.Ledger
	for i := range d.log {
		verdict := ""
		if d.log[i].Tick {
			clock.Tick(&d.log[i])
		} else {
			if err := reader.Read(t.Context(), &d.log[i], event); err != nil {
				t.Fatal(err)
			}
			clock.Stamp(event)
			d.engine.Prepare(in, event)
			e := string(in.Entity)
			if states[e] == nil {
				states[e] = d.engine.NewState(0)
			}
			v := d.engine.Step(states[e], in)
			ledger.Add(&v)
			if verdict = v.Outcome.String(); v.Conflict {
				verdict += ", conflict"
			}
			if v.Replaced {
				verdict += fmt.Sprintf(", in place of offset %d", v.ReplacedOffset)
			}
		}
		d.is("the clock and verdict at offset "+d.rows[i][0], d.rows[i][7]+" "+d.rows[i][8], clock.Now().Time().Format("15:04")+" "+verdict)
	}
	d.is("the ledger", strings.TrimSpace(d.block("text ledger")), ledger.String())
	d.values()
	for o := range transforms.Outcomes {
		if !strings.Contains(d.text, "| `"+o.String()+"` |") {
			t.Errorf("the verdict %v is not explained", o)
		}
	}
	for s := transforms.Present; s <= transforms.Incomplete; s++ {
		if !strings.Contains(d.text, "| `"+s.String()+"` |") {
			t.Errorf("the status %v is not explained", s)
		}
	}
}

// values compares the tables of values; in the first one statuses other than
// PRESENT stand in the place of the value.
func (d *concepts) values() {
	names := d.view.FeatureNames()
	for _, row := range d.table("shop | as of | knowledge | n_1h | n_24h |") {
		var got []string
		for _, r := range d.ask(row) {
			if r.Status == transforms.Present {
				got = append(got, r.Value.String())
			} else {
				got = append(got, r.Status.String())
			}
		}
		d.is(fmt.Sprint("the values of ", row[:3]), strings.Join(row[3:], " "), strings.Join(got, " "))
	}
	for _, row := range d.table("shop | as of | knowledge | n_1h | mean_1h |") {
		all := d.ask(row)
		n, mean := all[slices.Index(names, "n_1h")], all[slices.Index(names, "mean_1h")]
		d.is(fmt.Sprint("the statuses of ", row[:3]), row[3]+", "+row[4], fmt.Sprintf("%v %v, %v %v", n.Value, n.Status, mean.Value, mean.Status))
	}
}

func (d *concepts) ask(row []string) []transforms.Result {
	d.Helper()
	cut := schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{0: {End: int64(len(d.log))}}}
	job := &batch.Train{View: d.view, Source: d.source, Log: d, Knowledge: batch.Knowledge(row[2]), Cut: cut, Parallel: 1, Memory: 1 << 20, SpillDir: d.TempDir(), ValidFrom: schemas.Never}
	answers, err := job.Run(d.Context(), []batch.Label{{Entity: string(transforms.EncodeEntity(nil, schemas.StringValue(row[0]))), T: d.today(row[1])}})
	if err != nil {
		d.Fatal(err)
	}
	return answers.Row(0)
}

// TestDocsWindows compares the windows and the closed boundaries of
// docs/concepts.md.
func TestDocsWindows(t *testing.T) {
	d := newConcepts(t)
	text := d.block("yaml definition")
	head, _, _ := strings.Cut(text, "      n: {")
	for _, row := range d.table("over | as of | from |") {
		v := testbed.View(t, head+"      n: {count: \"*\", over: "+row[0]+"}\n", conceptSchema)
		from, to := v.Spec.Features[0].Window.Span(d.instantOf(row[1]))
		d.is("the window "+row[0], row[2]+" "+row[3], from.Time().Format("2006-01-02 15:04")+" "+to.Time().Format("2006-01-02 15:04"))
	}
	for _, row := range d.table("lateness | hop | clocks |") {
		d.is(fmt.Sprint("the boundary of ", row[:3]), row[3], d.boundary(row[0], row[1], row[2]))
	}
}

// boundary replays a log of one record per clock, each in its own partition.
func (d *concepts) boundary(lateness, hop, clocks string) string {
	d.Helper()
	over := map[string]string{"5m": "1h", "1h": "24h"}[hop]
	text := strings.Replace(d.block("yaml definition"), "lateness: 1h", "lateness: "+lateness, 1)
	head, _, _ := strings.Cut(text, "      n: {")
	v := testbed.View(d.T, head+"      n: {count: \"*\", over: "+over+"}\n", conceptSchema)
	log := clockLog{}
	cut := schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{}}
	for p, c := range strings.Split(clocks, ", ") {
		cut.Partitions[int32(p)] = schemas.PartitionCut{}
		if c != "none" {
			at := d.today(c)
			log[int32(p)] = schemas.Record{Timestamp: schemas.KafkaMillis(int64(at) / 1000), Partition: int32(p), Value: testbed.Event{Ent: "a", ID: "x", ET: int64(at), Amt: 1}.Bytes()}
			cut.Partitions[int32(p)] = schemas.PartitionCut{End: 1}
		}
	}
	job := &batch.Replay{View: v, Source: reading.NewSource(v, testbed.Writers(v)), Log: log, Cut: cut, Parallel: 1, Memory: 1 << 20, SpillDir: d.TempDir(), Work: wire.Work{Work: offline.NewWork(offline.NewScratch(d.TempDir()), "units", nil)}, ValidFrom: schemas.Never}
	report, err := job.Run(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	h, err := expr.ParseDuration(hop)
	if err != nil {
		d.Fatal(err)
	}
	if report.Boundary == schemas.Never {
		return "none"
	}
	return report.Boundary.Floor(h).Time().Format("15:04")
}

// clockLog has one record in each partition.
type clockLog map[int32]schemas.Record

func (l clockLog) ReadCut(_ context.Context, _ string, cut schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	for p, r := range l {
		if _, ok := cut.Partitions[p]; !ok {
			continue
		}
		if err := fn(p, []schemas.Record{r}); err != nil {
			return err
		}
	}
	return nil
}
