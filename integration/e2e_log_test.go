package integration

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"unicode/utf8"

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eRecord is a record of a topic and what the generator knows of it.
type e2eRecord struct {
	partition int32
	offset    int64 // once it is appended
	stampMS   int64
	value     []byte // nil = null
	tick      bool
	aborted   bool // of a transaction that is given up
	// Of decodable ones:
	event   bool
	fault   bool // a migration fails
	vals    []oracle.Val
	raws    []oracle.Val
	boxNull bool
	writer  int
}

// e2eLog draws the records of a source.
type e2eLog struct {
	*e2eSource
	r       *rand.Rand
	now     int64
	past    int64
	unit    int64
	jumps   bool
	regress bool
	sent    [][]*e2eRecord // events by partition, to copy from
	serial  int
}

// fill draws n records; the result is in the order of production.
func (s *e2eSource) fill(r *rand.Rand, n int) (order []*e2eRecord) {
	g := &e2eLog{e2eSource: s, r: r, now: s.time.start, unit: pick(r, second, minute, 20*minute, hour, 6*hour), jumps: r.IntN(3) == 0, regress: r.IntN(2) == 0}
	if s.time.typ == "date" {
		g.unit = 6 * hour
	}
	g.past = g.now - 20*day
	g.sent = make([][]*e2eRecord, s.parts)
	idle := r.IntN(s.parts + 1)
	for range n {
		g.advance()
		p := r.IntN(s.parts)
		if p == idle && r.IntN(5) > 0 || s.parts > 1 && p == (idle+1)%s.parts && r.IntN(30) == 0 {
			continue
		}
		order = append(order, g.record(p))
	}
	return order
}

func (g *e2eLog) advance() {
	g.now += pick(g.r, 0, 0, 1000, g.unit, g.unit, 2*g.unit, 5*g.unit)
	if g.r.IntN(8) == 0 {
		h := pick(g.r, 5*minute, hour, day)
		g.now = ceil(g.now, h) + pick[int64](g.r, -1, 0, 0, 1)
	}
	if g.jumps && g.r.IntN(12) == 0 {
		g.now += pick(g.r, day, 3*day, 8*day, 20*day, 45*day)
	}
}

func (g *e2eLog) record(p int) *e2eRecord {
	rec := &e2eRecord{partition: int32(p), stampMS: floorDiv(g.now, 1000), aborted: g.r.IntN(25) == 0}
	if g.regress {
		rec.stampMS -= pick(g.r, 0, 0, 0, 1, g.unit/1000, g.cfg.Lateness/1000)
	}
	switch x := g.r.IntN(100); {
	case x < 5:
		rec.tick = true
		return rec
	case x < 7:
		return rec // a null value without the tick header
	case x < 15:
		g.draw(rec, nil)
		g.spoil(rec)
		return rec
	}
	var like *e2eRecord
	if old := g.sent[p]; len(old) > 0 && g.r.IntN(3) == 0 {
		like = pick(g.r, old[max(0, len(old)-8):]...)
	}
	if like != nil && g.r.IntN(3) == 0 { // redelivered as it was
		rec.event, rec.fault, rec.vals, rec.raws, rec.boxNull, rec.writer, rec.value = true, like.fault, like.vals, like.raws, like.boxNull, like.writer, like.value
		return rec
	}
	g.draw(rec, like)
	if !rec.aborted {
		g.sent[p] = append(g.sent[p], rec)
	}
	return rec
}

// spoil makes the record's value one that does not decode.
func (g *e2eLog) spoil(rec *e2eRecord) {
	rec.event = false
	b := slices.Clone(rec.value)
	switch g.r.IntN(8) {
	case 0:
		rec.value = []byte{byte(1 + g.r.IntN(255)), 0, 0, 0, 1, 2}
	case 1:
		rec.value = append([]byte{}, b[:g.r.IntN(5)]...)
	case 2:
		rec.value = b[:5+g.r.IntN(len(b)-5)]
	case 3:
		rec.value = append(b, 0)
	case 4:
		copy(b[1:], []byte{0x7f, 1, 2, 3}) // an unknown schema id
		rec.value = b
	case 5:
		rec.value = []byte("{\"not\": \"avro\"}")
	case 6:
		rec.value = []byte{}
	default:
		rec.value = append(b[:5:5], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	}
}

// draw fills in an event; like, if not nil, is one that it corrects.
func (g *e2eLog) draw(rec *e2eRecord, like *e2eRecord) {
	g.serial++
	rec.event = true
	rec.writer = g.r.IntN(len(g.writers))
	w := &g.writers[rec.writer]
	rec.boxNull = w.boxNullable && g.hasBox() && g.r.IntN(8) == 0
	rec.vals, rec.raws = make([]oracle.Val, len(g.fields)), make([]oracle.Val, len(w.columns))
	keep := g.r.IntN(3) == 0 // all that can be kept
	for i := range w.columns {
		c := &w.columns[i]
		if c.field < 0 {
			rec.raws[i] = drawRaw(g.r, c, "", g.wild, g.now)
			continue
		}
		raw, ok := g.given(c, like, keep)
		if !ok {
			raw = drawRaw(g.r, c, g.fields[c.field].role, g.wild && g.fields[c.field].role == "", g.now)
			if c.field == g.timeAt && raw.Kind == oracle.String { // texts are known only as written
				raw.S = ""
			}
		}
		rec.raws[i] = raw
	}
	g.read(rec, w)
	rec.value = w.encode(rec.raws, rec.boxNull)
}

// given is what the column has to hold: what the record's role asks for.
func (g *e2eLog) given(c *e2eColumn, like *e2eRecord, keep bool) (oracle.Val, bool) {
	f := &g.fields[c.field]
	var want oracle.Val
	switch {
	case f.role == "time":
		return g.when(c, like)
	case f.role == "id" && like == nil:
		want = oracle.Val{Kind: f.kind(), I: int64(g.serial), S: fmt.Sprint("id-", g.serial)}
		if want.Kind == oracle.Int {
			want.S = ""
		} else {
			want.I = 0
		}
		if c.nullable && g.r.IntN(40) == 0 {
			return oracle.Val{}, true
		}
	case f.role == "version":
		return g.versionOf(c, f, like)
	case like != nil && (f.role == "id" || f.role == "key" && g.r.IntN(40) > 0 || keep && f.role == ""):
		want = like.vals[c.field]
	default:
		return oracle.Val{}, false
	}
	if c.rule != nil {
		return want, want.Kind == e2eKinds[c.typ] && c.typ == f.typ && f.role != ""
	}
	return lower(want, c, f.typ)
}

var e2eLSNs = []string{"16/B374D848", "9/FF", "10/0", "0/1", "A/ffffff", "7FFFFFFF/0"}

func (g *e2eLog) versionOf(c *e2eColumn, f *e2eField, like *e2eRecord) (oracle.Val, bool) {
	if c.nullable && g.r.IntN(30) == 0 {
		return oracle.Val{}, true
	}
	if like != nil && g.r.IntN(4) == 0 && like.vals[c.field].Kind != oracle.Null {
		return like.vals[c.field], true
	}
	if !g.lsn {
		return oracle.Val{Kind: oracle.Int, I: pick[int64](g.r, 1, 2, 3, 4, 5, -1, math.MaxInt32)}, true
	}
	return oracle.Val{Kind: oracle.String, S: pick(g.r, append(e2eLSNs, pick(g.r, "", "16", "16/", "x/1", "1/1"))...)}, true
}

// parseLSN reads a PostgreSQL log sequence number.
func parseLSN(s string) (int64, bool) {
	var hi, lo uint32
	if n, err := fmt.Sscanf(s, "%x/%x", &hi, &lo); n != 2 || err != nil {
		return 0, false
	}
	return int64(hi)<<32 | int64(lo), true
}

// when draws the event time: most on time, some late, ahead, moved or extreme.
func (g *e2eLog) when(c *e2eColumn, like *e2eRecord) (oracle.Val, bool) {
	if c.nullable && g.r.IntN(30) == 0 {
		return oracle.Val{}, true
	}
	base := g.now
	if g.cfg.History[0]+g.cfg.History[1]+g.cfg.History[2]+g.cfg.History[3] > 0 && g.r.IntN(3) == 0 {
		g.past += pick(g.r, 0, g.unit, 4*g.unit)
		base = g.past
	}
	want := base - pick(g.r, 0, 0, 1, g.unit, 5*g.unit, g.cfg.Lateness/2, g.cfg.Lateness-1, g.cfg.Lateness, g.cfg.Lateness+1, g.cfg.LoadLateness, g.cfg.LoadLateness+1) +
		pick(g.r, 0, 0, 0, 0, 1, g.unit, g.cfg.MaxFuture, g.cfg.MaxFuture+1)
	if like != nil {
		if g.r.IntN(3) == 0 {
			if like.vals[c.field].Kind != e2eKinds[c.typ] || c.rule != nil || c.typ != g.time.typ {
				return oracle.Val{}, false
			}
			return lower(like.vals[c.field], c, g.fields[c.field].typ)
		}
		if at, ok := g.time.read(like.vals[c.field]); ok && at > math.MinInt64/2 && at < math.MaxInt64/2 {
			want = at + pick(g.r, 1, -1, g.unit, -g.unit, 5*g.unit, -3*g.unit, day, -day, g.cfg.Lateness, g.cfg.MaxFuture)
		}
	}
	v := g.time.write(g.r, want)
	if g.time.typ == "timestamp-micros" && c.typ == g.time.typ && g.r.IntN(40) == 0 {
		v.I = pick[int64](g.r, math.MinInt64, math.MaxInt64)
	}
	if c.typ == "timestamp-millis" || c.typ == "local-timestamp-millis" {
		v.I = floorDiv(v.I, 1000)
		if c.typ == "timestamp-millis" && g.r.IntN(40) == 0 {
			v.I = pick[int64](g.r, math.MinInt64, math.MaxInt64)
		}
	}
	if c.typ == "date" {
		v.I = floorDiv(v.I, day)
	}
	return v, true
}

// read computes what a reader sees of the raw values.
func (g *e2eLog) read(rec *e2eRecord, w *e2eWriter) {
	for i := range g.fields {
		f := &g.fields[i]
		switch c := w.column(i); {
		case f.box && rec.boxNull:
		case c == nil:
			rec.vals[i] = e2eDefault(f, false).(oracle.Val)
		}
	}
	for i := range w.columns {
		c := &w.columns[i]
		if c.field < 0 || c.box && rec.boxNull {
			continue
		}
		f := &g.fields[c.field]
		v, ok := raise(rec.raws[i], c.typ, f.typ)
		if c.rule != nil {
			v, ok = c.rule.eval(rec.raws[i])
		}
		rec.fault = rec.fault || !ok || c.typ == "string" && !utf8.ValidString(rec.raws[i].S)
		rec.vals[c.field] = v
	}
}
