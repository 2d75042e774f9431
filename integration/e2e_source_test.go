package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eSource is a topic, its schemas and the rules by which it is read.
type e2eSource struct {
	name, topic string
	fields      []e2eField
	boxNullable bool
	writers     []e2eWriter
	time        e2eTime
	timeAt      int // fields
	id, version int // -1 = none
	lsn         bool
	expect      []*e2eExpr
	cfg         oracle.Config // but for its features
	parts       int
	wild        bool
	logs        [][]e2eRecord
}

func newE2ESource(r *rand.Rand, seed uint64, n int) *e2eSource {
	s := &e2eSource{name: fmt.Sprintf("src%d", n), topic: fmt.Sprintf("Topic.%d-%d_events", seed, n), time: newE2ETime(r), id: -1, version: -1,
		parts: pick(r, 1, 2, 3, 4), wild: r.IntN(3) == 0, boxNullable: r.IntN(2) == 0}
	s.cfg.Lateness = pick(r, second, 10*minute, 2*hour, day, 3*day)
	s.cfg.MaxFuture = pick(r, second, 5*minute, hour)
	s.cfg.MaxOpen = pick(r, 1, 3, 1<<16, 1<<16, 1<<16)
	s.cfg.Identity = pick(r, oracle.ByNothing, oracle.ByID, oracle.ByVersion, oracle.ByVersion)
	s.cfg.History = map[int32]int64{}
	if r.IntN(4) == 0 {
		s.cfg.History[int32(r.IntN(s.parts))] = int64(5 + r.IntN(30))
		if r.IntN(2) == 0 {
			s.cfg.LoadLateness = s.cfg.Lateness + pick(r, 0, 1, hour, day)
		}
	}
	s.drawFields(r)
	for v := range 2 + r.IntN(2) {
		s.writers = append(s.writers, s.newWriter(r, v))
	}
	x := &exprs{r, s.fields}
	for range r.IntN(3) {
		c := x.condition(0)
		loose := *c
		loose.text = fmt.Sprintf("(%s) || %s == null", c.text, s.fields[0].path())
		loose.reads = append([]int{0}, c.reads...)
		loose.eval = func(v []oracle.Val) (oracle.Val, bool) {
			if v[0].Kind == oracle.Null {
				return truth(1), true
			}
			return truth(c.bool3(v)), true
		}
		if r.IntN(3) == 0 {
			s.expect = append(s.expect, &loose)
		} else if r.IntN(3) == 0 {
			s.expect = append(s.expect, c)
		}
	}
	return s
}

// drawFields draws the reader schema; the first field is nullable.
func (s *e2eSource) drawFields(r *rand.Rand) {
	add := func(name, typ, role string, nullable bool) int {
		s.fields = append(s.fields, e2eField{name: name, typ: typ, role: role, nullable: nullable, box: role == "" && len(s.fields) > 0 && r.IntN(3) == 0})
		return len(s.fields) - 1
	}
	add("loose", pick(r, "double", "string", "long"), "", true)
	types := []string{"int", "long", "double", "double", "float", "string", "enum", "bytes", "boolean", "timestamp-micros", "timestamp-millis", "date"}
	for i := range 4 + r.IntN(5) {
		f := add(fmt.Sprintf("f%d", i), pick(r, types...), "", r.IntN(2) == 0)
		if t := s.fields[f].typ; r.IntN(4) == 0 && (t == "double" || t == "long" || t == "string") {
			s.fields[f].def = true
		}
	}
	add("num", "double", "", false) // there is always something to sum
	add("kstr", "string", "key", r.IntN(3) == 0)
	add("knum", "long", "key", r.IntN(3) == 0)
	add("kodd", pick(r, "boolean", "bytes", "timestamp-micros", "date"), "key", false)
	s.timeAt = add("when", s.time.typ, "time", r.IntN(4) == 0)
	if s.cfg.Identity != oracle.ByNothing {
		s.id = add("ident", pick(r, "string", "long"), "id", r.IntN(2) == 0)
	}
	if s.cfg.Identity == oracle.ByVersion {
		s.lsn = r.IntN(2) == 0
		s.version = add("ver", map[bool]string{true: "string", false: pick(r, "int", "long")}[s.lsn], "version", r.IntN(3) == 0)
	}
	for i := range s.fields {
		if f := &s.fields[i]; r.IntN(3) == 0 {
			f.alias = "old_" + f.name
		}
	}
	r.Shuffle(len(s.fields)-1, func(i, j int) { // the first stays
		i, j = i+1, j+1
		s.fields[i], s.fields[j] = s.fields[j], s.fields[i]
	})
	for i, f := range s.fields {
		switch f.role {
		case "time":
			s.timeAt = i
		case "id":
			s.id = i
		case "version":
			s.version = i
		}
	}
}

// promotions are the types that a writer may have for a reader's type.
var promotions = map[string][]string{"long": {"int", "long"}, "float": {"int", "long", "float"}, "double": {"int", "long", "float", "double", "double"},
	"string": {"string", "string", "bytes"}, "bytes": {"bytes", "string"}}

func (s *e2eSource) newWriter(r *rand.Rand, v int) e2eWriter {
	w := e2eWriter{id: 1 + v*pick(r, 1, 7, 100_000), stem: fmt.Sprintf("ev.v%d", v), boxNullable: s.boxNullable && r.IntN(3) > 0}
	var top, box []e2eColumn
	for i := range s.fields {
		f := &s.fields[i]
		if f.def && r.IntN(2) == 0 {
			continue
		}
		c := s.newColumn(r, i, v)
		if c.box = f.box; c.box {
			box = append(box, c)
		} else {
			top = append(top, c)
		}
	}
	for i := range r.IntN(3) {
		t := pick(r, "long", "double", "string", "bytes", "boolean", "date")
		top = append(top, e2eColumn{field: -1, name: fmt.Sprintf("extra%d", i), typ: t, nullable: r.IntN(2) == 0})
	}
	if len(box) == 0 && s.hasBox() { // the reader's record must be there
		box = append(box, e2eColumn{field: -1, box: true, name: "filler", typ: "int"})
	}
	r.Shuffle(len(top), func(i, j int) { top[i], top[j] = top[j], top[i] })
	r.Shuffle(len(box), func(i, j int) { box[i], box[j] = box[j], box[i] })
	at := r.IntN(len(top) + 1)
	w.columns = append(append(append(w.columns, top[:at]...), box...), top[at:]...)
	return w
}

func (s *e2eSource) hasBox() bool {
	for i := range s.fields {
		if s.fields[i].box {
			return true
		}
	}
	return false
}

func (s *e2eSource) newColumn(r *rand.Rand, i, version int) e2eColumn {
	f := &s.fields[i]
	c := e2eColumn{field: i, name: f.name, typ: f.typ, nullable: f.nullable && r.IntN(3) > 0, nullLast: r.IntN(2) == 0, symbols: append([]string{}, e2eSymbols...)}
	r.Shuffle(len(c.symbols), func(i, j int) { c.symbols[i], c.symbols[j] = c.symbols[j], c.symbols[i] })
	if c.typ == "enum" && r.IntN(3) == 0 {
		c.symbols = append(c.symbols, "NEWER") // reads as the reader's default
	}
	if f.alias != "" && r.IntN(2) == 0 {
		c.name = f.alias
	}
	if p := promotions[f.typ]; p != nil && f.role == "" {
		c.typ = pick(r, p...)
	}
	if version > 0 || f.box || r.IntN(3) > 0 {
		return c
	}
	s.migrate(r, f, &c)
	return c
}

// migrate makes the column one that only a rule can read (S2).
func (s *e2eSource) migrate(r *rand.Rand, f *e2eField, c *e2eColumn) {
	same := func(raw oracle.Val) (oracle.Val, bool) { return raw, raw.Kind != oracle.Null || f.nullable }
	switch {
	case f.typ == "timestamp-micros":
		c.typ, c.name = "timestamp-millis", f.name
		c.rule = &e2eRule{c.name, func(raw oracle.Val) (oracle.Val, bool) {
			v, ok := raise(raw, "timestamp-millis", "timestamp-micros")
			return v, ok && (v.Kind != oracle.Null || f.nullable)
		}}
	case f.typ == "double" && f.role == "":
		c.typ, c.name = pick(r, "long", "double"), pick(r, f.name, f.name+"_s")
		c.rule = &e2eRule{c.name + " / 60.0", func(raw oracle.Val) (oracle.Val, bool) {
			if raw.Kind == oracle.Null {
				return raw, f.nullable
			}
			v := oracle.Val{Kind: oracle.Double, F: (raw.F+float64(raw.I))/60 + 0}
			return v, finite(v)
		}}
		if c.typ == "long" {
			c.rule.text = "double(" + c.name + ") / 60.0"
		}
	case f.typ == "string" || f.typ == "long" || f.typ == "boolean":
		c.name, c.typ = "was_"+f.name, f.typ
		c.nullable = c.nullable || r.IntN(3) == 0 // a null where the reader allows none is invalid
		c.rule = &e2eRule{c.name, same}
	}
}

// yaml is the source's part of the definition; paths are relative to it.
func (s *e2eSource) yaml(r *rand.Rand) string {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, "    "+format+"\n", a...) }
	fmt.Fprintf(&b, "  %s:\n", s.name)
	line("topic: %s", s.topic)
	line("schema: %s/reader.avsc", s.name)
	switch r.IntN(3) {
	case 0:
		line("writers: {directory: %s/writers}", s.name)
	default:
		var fs []string
		for _, w := range s.writers {
			fs = append(fs, fmt.Sprintf("%d: %s/writers/%s-%d.avsc", w.id, s.name, w.stem, w.id))
		}
		line("writers: {files: {%s}}", strings.Join(fs, ", "))
	}
	s.migrations(line)
	var accept []string
	for i := range s.fields {
		if s.fields[i].def {
			accept = append(accept, s.fields[i].path())
		}
	}
	if accept != nil {
		line("accept_defaults: [%s]", strings.Join(accept, ", "))
	}
	line("event_time: "+s.time.yaml, s.fields[s.timeAt].path())
	if s.id >= 0 {
		line("id: %s", s.fields[s.id].path())
	}
	if s.version >= 0 {
		line("version: %s", s.fields[s.version].path())
	}
	line("lateness: %dus", s.cfg.Lateness)
	line("max_future: %ds", s.cfg.MaxFuture/second)
	line("max_open: %d", s.cfg.MaxOpen)
	for p, n := range s.cfg.History {
		line("history: {%d: %d}", p, n)
		if s.cfg.LoadLateness != 0 {
			line("history_lateness: %dus", s.cfg.LoadLateness)
		}
	}
	for i, e := range s.expect {
		if i == 0 {
			line("expect:")
		}
		line("  - %s", quoted(e.text))
	}
	return b.String()
}

func (s *e2eSource) migrations(line func(string, ...any)) {
	first := true
	for _, w := range s.writers {
		var rules []string
		for _, c := range w.columns {
			if c.rule != nil {
				rules = append(rules, s.fields[c.field].path()+": "+quoted(c.rule.text))
			}
		}
		if rules == nil {
			continue
		}
		if first {
			line("migrate:")
			first = false
		}
		line("  %s: {%s}", fmt.Sprintf("%s-%d", w.stem, w.id), strings.Join(rules, ", "))
	}
}
