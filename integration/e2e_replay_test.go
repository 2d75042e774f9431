package integration

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eReport is what replay and stream print of a view.
type e2eReport struct {
	Views []struct {
		View       string
		Partitions []struct {
			Partition int32
			Ledger    map[string]int64
		}
		Total map[string]int64
	}
}

// replay: the ledger, the quarantine and the features table (V8, B1).
func (p *e2eProject) replay() {
	var out e2eReport
	text := p.ok("replay", "--json", "--brokers", p.brokers, "--cut", "cut.json", "--quarantine", "quarantine", "--out", "tables")
	if p.failed > 0 {
		return
	}
	p.must(json.Unmarshal([]byte(text), &out))
	for _, v := range p.views {
		p.quarantine(v)
	}
	p.ledgers("replay", &out)
	for _, v := range p.views {
		p.features(v)
	}
}

// ledgers compares what a command printed with the oracle's ledgers.
func (p *e2eProject) ledgers(command string, out *e2eReport) {
	for i, v := range p.views {
		if out.Views[i].View != v.name || len(out.Views[i].Partitions) != v.src.parts {
			p.bad("%s reports view %s with %d partitions, want %s with %d", command, out.Views[i].View, len(out.Views[i].Partitions), v.name, v.src.parts)
			continue
		}
		for n, got := range out.Views[i].Partitions {
			if want := v.ledger(n); !maps.Equal(got.Ledger, want) {
				p.bad("%s: V8: view %s partition %d: ledger\n  %v, want\n  %v", command, v.name, n, got.Ledger, want)
			}
		}
	}
}

func (p *e2eProject) rows(path string) []map[string]parquet.Value {
	b, err := os.ReadFile(path)
	p.must(err)
	rows, err := parquetRows(b)
	if err != nil {
		p.bad("%s: %v", path, err)
	}
	return rows
}

// quarantine: every record that is late, future, invalid or in conflict, once.
func (p *e2eProject) quarantine(v *e2eJudged) {
	got, reasons := make([]map[int64]string, v.src.parts), map[string]string{}
	for i := range got {
		got[i] = map[int64]string{}
	}
	for _, row := range p.rows(filepath.Join(p.dir, "quarantine", v.name+".parquet")) {
		part, offset := row["source_partition"].Int64(), row["offset"].Int64()
		if _, twice := got[part][offset]; twice {
			p.bad("V8: view %s: position %d/%d is quarantined twice", v.name, part, offset)
		}
		got[part][offset] = string(row["outcome"].ByteArray())
		reasons[fmt.Sprint(part, offset)] = string(row["reason"].ByteArray())
		if len(row["reason"].ByteArray()) == 0 {
			p.bad("V8: view %s: position %d/%d is quarantined without a reason", v.name, part, offset)
		}
	}
	for n := range got {
		want := v.quarantine(n)
		for i := range v.logs[n] {
			if at := v.logs[n][i].Offset; got[n][at] != want[at] {
				p.bad("V8: view %s, position %d/%d: quarantined as %q (%s), want %q; event time and fields %v", v.name, n, at, got[n][at],
					reasons[fmt.Sprint(n, at)], want[at], v.src.logs[n][i].vals)
			}
			delete(got[n], v.logs[n][i].Offset)
		}
		if len(got[n]) > 0 {
			p.bad("V8: view %s partition %d: quarantined positions that hold no record: %v", v.name, n, got[n])
		}
	}
}

// features: a row for each entity and boundary up to the least clock at which it
// is not absent, with the values that are true at the cut (V3, V4, V9).
func (p *e2eProject) features(v *e2eJudged) {
	type place struct {
		entity string
		t      int64
	}
	want := map[place][]oracle.Result{}
	least, _ := v.now()
	for _, e := range v.entities() {
		first := v.earliest(e)
		for b := ceil(first, v.snapshots); first <= least && b <= least; b += v.snapshots {
			if res := v.complete(e, b); res[0].Status != oracle.Absent {
				want[place{e, b}] = res
			}
		}
	}
	found := map[place]bool{}
	p.must(filepath.WalkDir(filepath.Join(p.dir, "tables", v.name, "features"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".parquet") {
			return err
		}
		for _, row := range p.rows(path) {
			at := place{string(row["entity"].ByteArray()), row["boundary"].Int64()}
			if found[at] {
				p.bad("view %s: features has two rows for %q at %d", v.name, at.entity, at.t)
			}
			found[at] = true
			p.same("features", v, v.all(), "", row, want[at], fmt.Sprintf("entity %q at %d", at.entity, at.t))
		}
		return nil
	}))
	for at := range want {
		if !found[at] {
			p.bad("view %s: features has no row for %q at %d", v.name, at.entity, at.t)
		}
	}
}

// earliest is the least event time of an entity's accepted events.
func (j *e2eJudged) earliest(entity string) int64 {
	_, last := j.now()
	for _, r := range j.accepted(entity, func(p int) int { return len(j.logs[p]) }) {
		last = min(last, r.EventTime)
	}
	return last
}

func (v *e2eView) all() (at []int) {
	for i := range v.names {
		at = append(at, i)
	}
	return at
}

// same compares the columns of a view's features in a row with results.
func (p *e2eProject) same(what string, v *e2eJudged, features []int, prefix string, row map[string]parquet.Value, want []oracle.Result, where string) {
	if want == nil {
		p.bad("%s: view %s: there is a row for %s, and should be none", what, v.name, where)
		return
	}
	for _, i := range features {
		col := prefix + v.names[i]
		value, ok := row[col]
		status, okStatus := row[col+"__status"]
		if !ok || !okStatus {
			p.bad("%s: column %s or its status is missing", what, col)
			continue
		}
		if diff := cellIs(value, status, want[i]); diff != "" {
			p.bad("%s: view %s, %s, %s (%s): %s", what, v.name, where, col, v.cfg.Features[i].Agg, diff)
		}
	}
}
