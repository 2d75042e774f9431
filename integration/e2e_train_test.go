package integration

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eLabel asks for a key as of t.
type e2eLabel struct {
	key map[string]oracle.Val
	t   int64
}

// train: every value of every label, for views and services, by both kinds of
// knowledge, from CSV and Parquet (V3, V4, V9, §10).
func (p *e2eProject) train() {
	for _, v := range p.views {
		labels := p.labels([]*e2eJudged{v}, 60)
		for _, knowledge := range []string{"complete", "arrival"} {
			rows := p.ask(v.key, labels, "--view", v.name, "--knowledge", knowledge)
			p.answers(knowledge, rows, labels, []*e2eJudged{v}, nil)
		}
	}
	for _, s := range p.services {
		if len(s.uses) == 0 {
			continue
		}
		var vs []*e2eJudged
		var keys []e2eKey
		for _, v := range p.views {
			if s.uses[v.name] == nil {
				continue
			}
			vs = append(vs, v)
			for _, k := range v.key {
				if !slices.ContainsFunc(keys, func(o e2eKey) bool { return o.name == k.name }) {
					keys = append(keys, k)
				}
			}
		}
		labels := p.labels(vs, 40)
		knowledge := pick(p.r, "complete", "arrival")
		rows := p.ask(keys, labels, "--service", s.name, "--knowledge", knowledge)
		p.answers(knowledge, rows, labels, vs, s.uses)
	}
}

// keyOf returns the values of a view's key fields.
func (v *e2eView) keyOf(vals []oracle.Val) (map[string]oracle.Val, bool) {
	out := map[string]oracle.Val{}
	for _, k := range v.key {
		x, ok := k.expr.eval(vals)
		if !ok || x.Kind == oracle.Null {
			return nil, false
		}
		out[k.name] = x
	}
	return out, true
}

// labels draws labels for views together: entities of their logs and unknown
// ones, instants at and around clocks, event times and boundaries, and far off.
func (p *e2eProject) labels(vs []*e2eJudged, n int) []e2eLabel {
	r := p.r
	var out []e2eLabel
	for range n {
		l := e2eLabel{key: map[string]oracle.Val{}}
		for _, v := range vs {
			log := v.src.logs[r.IntN(v.src.parts)]
			if len(log) == 0 {
				continue
			}
			i := r.IntN(len(log))
			if l.t == 0 || r.IntN(3) == 0 {
				l.t = p.instant(v, int(log[i].partition), i)
			}
			if log[i].event {
				key, _ := v.keyOf(log[i].vals)
				for k, x := range key {
					l.key[k] = x
				}
			}
		}
		for _, v := range vs {
			for _, k := range v.key {
				if _, ok := l.key[k.name]; !ok || r.IntN(25) == 0 {
					l.key[k.name] = unknownKey(k.typ)
				}
			}
		}
		out = append(out, l)
	}
	return out
}

func unknownKey(typ string) oracle.Val {
	switch typ {
	case "string":
		return oracle.Val{Kind: oracle.String, S: "nobody's"}
	case "int":
		return oracle.Val{Kind: oracle.Int, I: -99}
	case "bool":
		return oracle.Val{Kind: oracle.Bool}
	case "bytes":
		return oracle.Val{Kind: oracle.Bytes, S: "\x00nobody"}
	}
	return oracle.Val{Kind: oracle.Timestamp, I: -1}
}

const earliestLabel, latestLabel = -62_135_596_800_000_000, 253_402_300_799_999_999 // the years 1 to 9999

func (p *e2eProject) instant(v *e2eJudged, part, i int) int64 {
	r := p.r
	t := v.logs[part][i].EventTime
	if t < earliestLabel/2 || t > latestLabel/2 || r.IntN(2) == 0 {
		t = v.clocks[part][i]
	}
	if t < earliestLabel/2 {
		t = v.src.time.start
	}
	switch r.IntN(4) {
	case 0:
		t = ceil(t, pick(r, 5*minute, hour, day))
	case 1:
		t = floorDiv(t, pick(r, 5*minute, hour, day)) * day / day
	case 2:
		w := pick(r, v.cfg.Features...).Window
		t += w.Length
	}
	if r.IntN(15) == 0 {
		t = pick(r, earliestLabel, latestLabel, 0, t+400*day, t-400*day)
	}
	return min(latestLabel, max(earliestLabel, t+pick[int64](r, -1, 0, 0, 1)))
}

// ask writes labels, runs train and reads what it wrote.
func (p *e2eProject) ask(keys []e2eKey, labels []e2eLabel, args ...string) []map[string]parquet.Value {
	p.Helper()
	keys = slices.Clone(keys)
	p.r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	raw := slices.ContainsFunc(keys, func(k e2eKey) bool { return k.typ == "bytes" })
	name := "labels.csv"
	if raw || p.r.IntN(2) == 0 {
		name = "labels.parquet"
		p.must(os.WriteFile(filepath.Join(p.dir, name), labelsParquet(keys, labels), 0o644))
	} else {
		p.must(os.WriteFile(filepath.Join(p.dir, name), labelsCSV(keys, labels), 0o644))
	}
	args = append([]string{"train", "--brokers", p.brokers, "--cut", "cut.json", "--labels", name, "-o", "train.parquet", "--timestamp-column", "asked at"}, args...)
	if p.r.IntN(3) == 0 {
		args = append(args, "--memory", "1MB", "--parallel", fmt.Sprint(1+p.r.IntN(3)))
	}
	if p.ok(args...); p.failed > 0 {
		return nil
	}
	return p.rows(filepath.Join(p.dir, "train.parquet"))
}

func rfc3339(t int64) string {
	return time.UnixMicro(t).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}

func labelsCSV(keys []e2eKey, labels []e2eLabel) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	head := []string{"row", "asked at"}
	for _, k := range keys {
		head = append(head, k.name)
	}
	w.Write(append(head, "weiß nicht"))
	for i, l := range labels {
		row := []string{strconv.Itoa(i), rfc3339(l.t)}
		for _, k := range keys {
			switch x := l.key[k.name]; x.Kind {
			case oracle.Int:
				row = append(row, strconv.FormatInt(x.I, 10))
			case oracle.Bool:
				row = append(row, strconv.FormatBool(x.I != 0))
			case oracle.Timestamp:
				row = append(row, rfc3339(x.I))
			default:
				row = append(row, x.S)
			}
		}
		w.Write(append(row, extraText(i)))
	}
	w.Flush()
	return b.Bytes()
}

// extraText is what a column that train only carries through holds.
func extraText(i int) string { return []string{"", "a,b", "\"q\"", "x\ny", "ß"}[i%5] }

func labelsParquet(keys []e2eKey, labels []e2eLabel) []byte {
	g := parquet.Group{"row": parquet.Int(32), "asked at": parquet.Timestamp(parquet.Microsecond), "weiß nicht": parquet.Optional(parquet.String()),
		"double": parquet.Optional(parquet.Leaf(parquet.DoubleType))}
	nodes := map[string]parquet.Node{"string": parquet.String(), "int": parquet.Int(64), "bool": parquet.Leaf(parquet.BooleanType),
		"bytes": parquet.Leaf(parquet.ByteArrayType), "timestamp": parquet.Timestamp(parquet.Microsecond)}
	for _, k := range keys {
		g[k.name] = nodes[k.typ]
	}
	schema := parquet.NewSchema("labels", g)
	at := map[string]int{}
	for i, c := range schema.Columns() {
		at[c[0]] = i
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[any](&b, schema)
	for i, l := range labels {
		row := make(parquet.Row, len(at))
		put := func(name string, v parquet.Value, definition int) { row[at[name]] = v.Level(0, definition, at[name]) }
		put("row", parquet.Int32Value(int32(i)), 0)
		put("asked at", parquet.Int64Value(l.t), 0)
		put("weiß nicht", parquet.ByteArrayValue([]byte(extraText(i))), 1)
		put("double", parquet.DoubleValue(float64(i)/3), 1)
		if i%7 == 0 {
			put("double", parquet.NullValue(), 0)
		}
		for _, k := range keys {
			switch x := l.key[k.name]; x.Kind {
			case oracle.Int, oracle.Timestamp:
				put(k.name, parquet.Int64Value(x.I), 0)
			case oracle.Bool:
				put(k.name, parquet.BooleanValue(x.I != 0), 0)
			default:
				put(k.name, parquet.ByteArrayValue([]byte(x.S)), 0)
			}
		}
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// answers compares what train wrote with the oracle: row for row, the columns
// carried through among it. uses is nil for a view.
func (p *e2eProject) answers(knowledge string, rows []map[string]parquet.Value, labels []e2eLabel, vs []*e2eJudged, uses map[string][]int) {
	if p.failed > 0 {
		return
	}
	if len(rows) != len(labels) {
		p.bad("train: %d rows for %d labels", len(rows), len(labels))
		return
	}
	for i, l := range labels {
		p.carried(rows[i], i, l)
		for _, v := range vs {
			key := ""
			for _, k := range v.key {
				key += string(oracle.Canonical(l.key[k.name]))
			}
			want, features, prefix := v.complete(key, l.t), v.all(), ""
			if knowledge == "arrival" {
				want = v.arrival(key, l.t)
			}
			if uses != nil {
				features, prefix = uses[v.name], v.name+"__"
			}
			p.same("train "+knowledge, v, features, prefix, rows[i], want, fmt.Sprintf("row %d, %v at %s (%d)", i, l.key, rfc3339(l.t), l.t))
		}
	}
}

// carried: the label's own columns come back as they were.
func (p *e2eProject) carried(row map[string]parquet.Value, i int, l e2eLabel) {
	if n := row["row"]; parquetText(n) != strconv.Itoa(i) && parquetText(n) != strconv.Quote(strconv.Itoa(i)) {
		p.bad("train: row %d carries row number %v", i, n)
	}
	if t := row["asked at"]; t.Int64() != l.t {
		p.bad("train: row %d carries t %d, want %d", i, t.Int64(), l.t)
	}
	if s := row["weiß nicht"]; s.IsNull() || string(s.ByteArray()) != extraText(i) {
		p.bad("train: row %d carries %v, want %q", i, s, extraText(i))
	}
	if d, ok := row["double"]; ok && d.IsNull() != (i%7 == 0) || ok && !d.IsNull() && math.Float64bits(d.Double()) != math.Float64bits(float64(i)/3) {
		p.bad("train: row %d carries %v", i, d)
	}
	for k, x := range l.key {
		if v, ok := row[k]; ok && parquetText(v) != valText(x) {
			p.bad("train: row %d carries %s=%s, want %s", i, k, parquetText(v), valText(x))
		}
	}
}
