package integration

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eJudged is a view over its source's log, judged by the oracle.
type e2eJudged struct {
	*e2eView
	logs     [][]oracle.Record
	clocks   [][]int64
	verdicts [][]oracle.Verdict
	snaps    [][]oracle.Snapshot
}

func judged(v *e2eView) *e2eJudged {
	j := &e2eJudged{e2eView: v}
	for _, log := range v.src.logs {
		rs := make([]oracle.Record, 0, len(log))
		for i := range log {
			rs = append(rs, v.record(&log[i]))
		}
		clocks := oracle.Clocks(&v.cfg, rs)
		verdicts, snaps := oracle.Verdicts(&v.cfg, rs, clocks)
		j.logs, j.clocks, j.verdicts, j.snaps = append(j.logs, rs), append(j.clocks, clocks), append(j.verdicts, verdicts), append(j.snaps, snaps)
	}
	return j
}

// record is a record as the view's definition reads it.
func (v *e2eView) record(rec *e2eRecord) oracle.Record {
	o := oracle.Record{Partition: rec.partition, Offset: rec.offset, Timestamp: rec.stampMS*1000 + 999, Kind: oracle.Bad}
	if rec.tick {
		o.Kind = oracle.Tick
		return o
	}
	if !rec.event || rec.fault {
		return o
	}
	for _, i := range append(v.reads(), max(0, v.src.id), max(0, v.src.version)) {
		if x := rec.vals[i]; x.Kind == oracle.String && !utf8.ValidString(x.S) && (i > 0 || slices.Contains(v.reads(), i)) {
			return o // bytes read as a string
		}
	}
	at, ok := v.src.time.read(rec.vals[v.src.timeAt])
	if !ok {
		return o
	}
	o.Kind, o.EventTime = oracle.Data, at
	if key, ok := v.entity(rec.vals); ok {
		o.Entity = key
	}
	v.identify(&o, rec.vals)
	for _, i := range v.reads() {
		o.Invalid = o.Invalid || !finite(rec.vals[i])
	}
	for _, e := range v.src.expect {
		o.Invalid = o.Invalid || e.bool3(rec.vals) != 1
	}
	v.measure(&o, rec.vals)
	return o
}

func (v *e2eView) entity(vals []oracle.Val) (string, bool) {
	key := ""
	for _, k := range v.key {
		x, ok := k.expr.eval(vals)
		if !ok || x.Kind == oracle.Null {
			return "", false
		}
		key += string(oracle.Canonical(x))
	}
	return key, true
}

func (v *e2eView) identify(o *oracle.Record, vals []oracle.Val) {
	if v.src.id >= 0 {
		id := vals[v.src.id]
		o.ID, o.HasID = string(oracle.Canonical(id)), id.Kind != oracle.Null
	}
	if v.src.version >= 0 {
		x := vals[v.src.version]
		o.Version, o.HasVer = x.I, x.Kind != oracle.Null
		if v.src.lsn && o.HasVer {
			o.Version, o.HasVer = parseLSN(x.S)
		}
	}
}

// measure fills in the filters and inputs. An input that fails makes the record
// invalid where a filter lets it count.
func (v *e2eView) measure(o *oracle.Record, vals []oracle.Val) {
	o.Pass = v.where == nil || v.where.bool3(vals) == 1
	for _, f := range v.filters {
		o.Filters = append(o.Filters, f.bool3(vals) == 1)
	}
	failed := make([]bool, len(v.inputs))
	for i, e := range v.inputs {
		x, ok := e.eval(vals)
		o.Inputs, failed[i] = append(o.Inputs, x), !ok
	}
	for _, f := range v.cfg.Features {
		reads := f.Derived == nil && f.Input >= 0 && (failed[f.Input] || f.Agg.ByInput() && failed[f.By])
		if reads && o.Pass && (f.Filter < 0 || o.Filters[f.Filter]) {
			o.Invalid = true
		}
	}
}

// accepted are the events in force of an entity once n[p] records of each
// partition have been read.
func (j *e2eJudged) accepted(entity string, n func(p int) int) (rs []*oracle.Record) {
	for p := range j.logs {
		for _, r := range j.snaps[p][n(p)].Accepted {
			if r.Entity == entity {
				rs = append(rs, r)
			}
		}
	}
	return rs
}

// complete is an entity as of t by what is true at the cut.
func (j *e2eJudged) complete(entity string, t int64) []oracle.Result {
	return oracle.Values(&j.cfg, j.accepted(entity, func(p int) int { return len(j.logs[p]) }), t)
}

// arrival is an entity as of t by the records with clock ≤ t (§10).
func (j *e2eJudged) arrival(entity string, t int64) []oracle.Result {
	return oracle.Values(&j.cfg, j.accepted(entity, func(p int) int {
		n := 0
		for n < len(j.clocks[p]) && j.clocks[p][n] <= t {
			n++
		}
		return n
	}), t)
}

// now is the least log clock at the end, NoClock where a partition has none;
// last is the greatest.
func (j *e2eJudged) now() (least, last int64) {
	least, last = math.MaxInt64, oracle.NoClock
	for p := range j.logs {
		c := j.snaps[p][len(j.logs[p])].Clock
		least, last = min(least, c), max(last, c)
	}
	return least, last
}

// ledger is a partition's, in the words of V8.
func (j *e2eJudged) ledger(p int) map[string]int64 {
	s := j.snaps[p][len(j.logs[p])]
	out := map[string]int64{"read": s.Read, "conflicts": s.Conflicts, "sealed_early": s.SealedEarly}
	for i, n := range outcomeNames {
		out[n] = s.Ledger[i]
	}
	return out
}

var outcomeNames = []string{"applied", "filtered", "duplicate", "superseded", "late", "future", "invalid"}

// quarantine is what a partition's log leaves there: offset → outcome.
func (j *e2eJudged) quarantine(p int) map[int64]string {
	out := map[int64]string{}
	for i, v := range j.verdicts[p] {
		if !v.Tick && (v.Outcome >= oracle.Late || v.Conflict) {
			out[j.logs[p][i].Offset] = outcomeNames[v.Outcome]
		}
	}
	return out
}

// entities are those of the log, each once.
func (j *e2eJudged) entities() []string {
	seen := map[string]bool{}
	for _, log := range j.logs {
		for i := range log {
			if log[i].Kind == oracle.Data && log[i].Entity != "" {
				seen[log[i].Entity] = true
			}
		}
	}
	out := []string{}
	for e := range seen {
		out = append(out, e)
	}
	slices.Sort(out)
	return out
}

// cellIs compares a table's cell and status with a result; "" = equal.
func cellIs(value, status parquet.Value, want oracle.Result) string {
	got := "null"
	if text, list := listText(value); list {
		got = text
	} else if !value.IsNull() {
		got = parquetText(value)
	}
	if st := string(status.ByteArray()); st != string(want.Status) || got != valText(want.Val) {
		return fmt.Sprintf("%s %s, want %s %s", got, st, valText(want.Val), want.Status)
	}
	return ""
}

// parquetText and valText write equal bits as equal text.
func parquetText(v parquet.Value) string {
	switch v.Kind() {
	case parquet.Boolean:
		return fmt.Sprint(v.Boolean())
	case parquet.Int64:
		return fmt.Sprint(v.Int64())
	case parquet.Int32:
		return fmt.Sprint(v.Int32())
	case parquet.Double:
		return fmt.Sprintf("%v (%x)", v.Double(), math.Float64bits(v.Double()))
	}
	return fmt.Sprintf("%q", v.ByteArray())
}

func valText(v oracle.Val) string {
	switch v.Kind {
	case oracle.Null:
		return "null"
	case oracle.Bool:
		return fmt.Sprint(v.I != 0)
	case oracle.Int, oracle.Timestamp:
		return fmt.Sprint(v.I)
	case oracle.Double:
		return fmt.Sprintf("%v (%x)", v.F, math.Float64bits(v.F))
	}
	if v.Kind == oracle.List {
		texts := []string{}
		for _, x := range oracle.Elements(v) {
			texts = append(texts, valText(x))
		}
		return fmt.Sprint(texts)
	}
	return fmt.Sprintf("%q", v.S)
}

// listMark begins the text that stands for a list in what parquetRows returns.
const listMark = "list "

// addTo adds a value to a row: as it is, or to the text of a list.
func addTo(row map[string]parquet.Value, path []string, v parquet.Value) {
	name := path[0]
	if len(path) == 1 || v.DefinitionLevel() == 0 { // a null list is as any null
		row[name] = v.Clone()
		return
	}
	text := "[]"
	switch before, more := listText(row[name]); {
	case v.RepetitionLevel() > 0 && more:
		text = strings.TrimSuffix(before, "]") + " " + parquetText(v) + "]"
	case !v.IsNull():
		text = "[" + parquetText(v) + "]"
	}
	row[name] = parquet.ByteArrayValue([]byte(listMark + text))
}

func listText(v parquet.Value) (string, bool) {
	if v.IsNull() || v.Kind() != parquet.ByteArray {
		return "", false
	}
	return strings.CutPrefix(string(v.ByteArray()), listMark)
}

// parquetRows reads a Parquet file of scalars and lists of them.
func parquetRows(data []byte) (rows []map[string]parquet.Value, err error) {
	f, err := parquet.OpenFile(strings.NewReader(string(data)), int64(len(data)))
	if err != nil {
		return nil, err
	}
	cols := f.Schema().Columns()
	buf := make([]parquet.Row, 64)
	for _, g := range f.RowGroups() {
		rs := g.Rows()
		for {
			n, err := rs.ReadRows(buf)
			for _, row := range buf[:n] {
				m := map[string]parquet.Value{}
				for _, v := range row {
					addTo(m, cols[v.Column()], v)
				}
				rows = append(rows, m)
			}
			if n == 0 || err != nil {
				break
			}
		}
		if err := rs.Close(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}
