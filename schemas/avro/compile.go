package avro

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// maxOps bounds a program: only a schema made to explode comes near.
const maxOps = 1 << 17

// Options says which reader paths need no counterpart in the writer (S2).
type Options struct {
	// Supplied paths are computed by a migration rule: the decoder leaves them
	// null. A record's path covers the fields within.
	Supplied map[string]bool
	// AcceptDefault paths, when the writer lacks them, take the Avro default of
	// the reader schema, because the definition names them.
	AcceptDefault map[string]bool
}

// Compile builds a decoder for bodies written with writer that yields reader's
// view of paths, in the order of paths. Only what the paths need has to resolve.
// The error is a *ResolutionError that lists every mismatch.
func Compile(writer, reader *Schema, paths []string, opt Options) (*Decoder, error) {
	c := &compiler{
		d:     &Decoder{width: len(paths)},
		opt:   opt,
		zero:  map[*node]bool{},
		parts: map[*node]int{},
		fault: &ResolutionError{Writer: writer.name, Reader: reader.name},
	}
	root := &want{}
	for i, path := range paths {
		t, _ := parsePath(path) // what is no path is told by Lookup
		if covered(opt.Supplied, t.inner) {
			c.d.partial = true
			continue
		}
		if _, err := reader.Lookup(path); err != nil {
			c.mismatch(Mismatch{Path: path, Writer: "any", Reader: "none", Problem: err.Error(), Hint: "name a scalar of the reader schema"})
			continue
		}
		root.add(path, t, int32(i))
	}
	if writer.bare != reader.bare {
		c.mismatch(unlike(writer, reader))
	} else if why := sameName(writer.top, reader.top); why != "" {
		c.mismatch(Mismatch{Writer: writer.top.String(), Reader: reader.top.String(), Problem: why,
			Hint: fmt.Sprintf("if they are the same thing, add \"aliases\": [%q] to the reader's record", writer.top.name)})
	} else {
		c.record(writer.top, reader.top, root, "", "")
	}
	c.emit(op{code: opReturn}, "")
	c.finish()
	if len(c.fault.Mismatches) > 0 {
		return nil, c.fault
	}
	return c.d, nil
}

// unlike says of two schemas that one of them is a record.
func unlike(writer, reader *Schema) Mismatch {
	text := func(s *Schema) string {
		if s.bare {
			return s.top.fields[0].typ.String()
		}
		return s.top.String()
	}
	return Mismatch{Writer: text(writer), Reader: text(reader), Problem: "one of them is a record, the other is not",
		Hint: "is it the schema of the record's key, or of its value?"}
}

// covered tells whether set names path or a record around it.
func covered(set map[string]bool, path string) bool {
	for i := range len(path) {
		if path[i] == '.' && set[path[:i]] {
			return true
		}
	}
	return set[path]
}

type compiler struct {
	d      *Decoder
	opt    Options
	zero   map[*node]bool // types whose values take no bytes
	parts  map[*node]int  // records called, and where their part begins
	calls  []call
	queue  []*node
	target int // the latest op that is jumped to
	fault  *ResolutionError
	halted bool
}

type call struct {
	at  int
	rec *node
}

func (c *compiler) mismatch(m Mismatch) {
	if !slices.Contains(c.fault.Mismatches, m) {
		c.fault.Mismatches = append(c.fault.Mismatches, m)
	}
}

// emit appends an op and returns its index.
func (c *compiler) emit(o op, field string) int {
	d := c.d
	if len(d.ops) >= maxOps {
		if !c.halted {
			c.halted = true
			c.mismatch(Mismatch{Writer: "the schema", Reader: "the schema", Problem: fmt.Sprintf("reading takes more than %d steps", maxOps), Hint: "simplify the writer's unions of records"})
		}
		return 0
	}
	// Bytes that need no look are skipped in one step.
	if last := len(d.ops) - 1; o.code == opSkipFixed && last >= 0 && d.ops[last].code == opSkipFixed && c.target != last+1 && int64(d.ops[last].n)+int64(o.n) < 1<<30 {
		d.ops[last].n += o.n
		return last
	}
	d.ops = append(d.ops, o)
	d.fields = append(d.fields, field)
	return len(d.ops) - 1
}

// finish adds the parts that are called and fills in where they begin.
func (c *compiler) finish() {
	for len(c.queue) > 0 && !c.halted {
		rec := c.queue[0]
		c.queue = c.queue[1:]
		c.label()
		c.parts[rec] = len(c.d.ops)
		for _, f := range rec.fields {
			c.skip(f.typ, unqualified(rec.name)+"."+f.name)
		}
		c.emit(op{code: opReturn}, "")
	}
	for _, call := range c.calls {
		c.d.ops[call.at].n = int32(c.parts[call.rec])
	}
}

// label marks the next op as one that is jumped to: it does not merge with
// what comes before.
func (c *compiler) label() { c.target = len(c.d.ops) }

// empty tells whether values of n take no bytes. Parse has seen to it that
// records do not contain themselves.
func (c *compiler) empty(n *node) bool {
	switch n.kind {
	case kNull:
		return true
	case kFixed:
		return n.size == 0
	case kRecord:
		z, ok := c.zero[n]
		if !ok {
			z = true
			for _, f := range n.fields {
				z = z && c.empty(f.typ)
			}
			c.zero[n] = z
		}
		return z
	}
	return false
}

// skip emits the walk over a value nobody asked for.
func (c *compiler) skip(n *node, at string) {
	if c.empty(n) {
		return
	}
	switch n.kind {
	case kBoolean:
		c.emit(op{code: opSkipBool}, at)
	case kInt:
		code := opSkipInt
		if n.logical == "date" {
			code = opSkipDate
		}
		c.emit(op{code: code}, at)
	case kLong:
		code := opSkipLong
		if strings.HasSuffix(n.logical, "timestamp-millis") {
			code = opSkipMillis
		}
		c.emit(op{code: code}, at)
	case kFloat:
		c.emit(op{code: opSkipFixed, n: 4}, at)
	case kDouble:
		c.emit(op{code: opSkipFixed, n: 8}, at)
	case kFixed:
		c.emit(op{code: opSkipFixed, n: int32(n.size)}, at)
	case kBytes:
		c.emit(op{code: opSkipBytes}, at)
	case kString:
		c.emit(op{code: opSkipString}, at)
	case kEnum:
		c.emit(op{code: opSkipEnum, n: int32(len(n.symbols))}, at)
	case kRecord:
		c.call(n, at)
	case kArray, kMap:
		c.skipItems(n, at)
	case kUnion:
		c.union(n, at, func(b *node) { c.skip(b, at) })
	}
}

func (c *compiler) call(rec *node, at string) {
	if _, known := c.parts[rec]; !known {
		c.parts[rec] = 0
		c.queue = append(c.queue, rec)
	}
	c.calls = append(c.calls, call{c.emit(op{code: opCall}, at), rec})
}

func (c *compiler) skipItems(n *node, at string) {
	o := op{code: opArray}
	if n.kind == kMap {
		o.code = opMap
	} else if c.empty(n.items) {
		o.dst = 1
	}
	head := c.emit(o, at)
	if n.kind == kMap {
		c.emit(op{code: opSkipString}, at)
	}
	c.label()
	c.skip(n.items, at)
	c.emit(op{code: opReturn}, at)
	c.d.ops[head].n = int32(len(c.d.ops))
	c.label()
}

// union emits a union's jump table and each of its branches.
func (c *compiler) union(u *node, at string, branch func(*node)) {
	table := c.emit(op{code: opUnion, n: int32(len(u.branches))}, at) + 1
	for range u.branches {
		c.emit(op{code: opJump}, at)
	}
	var ends []int
	for i, b := range u.branches {
		if c.halted {
			return
		}
		c.label()
		c.d.ops[table+i].n = int32(len(c.d.ops))
		branch(b)
		if i < len(u.branches)-1 {
			ends = append(ends, c.emit(op{code: opJump}, at))
		}
	}
	c.label()
	for _, at := range ends {
		c.d.ops[at].n = int32(len(c.d.ops))
	}
}

// absent handles a reader field that the writer does not have: each path wanted
// within is a default that was accepted, or a mismatch.
func (c *compiler) absent(w *node, r *field, wanted *want, missing string) {
	for _, l := range wanted.leaves() {
		c.absentLeaf(w, r, l, missing)
	}
}

func (c *compiler) absentLeaf(w *node, r *field, l leaf, missing string) {
	m := Mismatch{Path: l.path, Writer: "absent", Reader: r.typ.String(), Problem: fmt.Sprintf("the writer's record %s has no field `%s`", w.name, r.name)}
	accepted := false
	for i := len(missing); i <= len(l.inner) && !accepted; i++ {
		accepted = (i == len(l.inner) || l.inner[i] == '.' || l.inner[i] == '[') && c.opt.AcceptDefault[l.inner[:i]]
	}
	switch {
	case !r.hasDefault:
		m.Hint = "write a `migrate` rule for it, or add the writer's name for it to its \"aliases\" in the reader schema" + c.similar(w, r.name)
	case !accepted:
		m.Hint = fmt.Sprintf("its Avro default is %s: name it in `accept_defaults` to use that, or write a `migrate` rule%s", brief(r.def), c.similar(w, r.name))
	default:
		v, err := defaultOf(r, l, missing)
		if err == nil {
			c.constant(l.dst, v, l.path)
			return
		}
		m.Problem, m.Hint = err.Error(), "correct the default in the reader schema"
	}
	c.mismatch(m)
}

// constant emits an op that reads nothing and yields v.
func (c *compiler) constant(dst int32, v schemas.Value, at string) {
	c.d.consts = append(c.d.consts, v)
	c.emit(op{code: opConst, dst: dst, n: int32(len(c.d.consts) - 1)}, at)
}

func (c *compiler) similar(w *node, name string) string {
	names := make([]string, 0, len(w.fields))
	for _, f := range w.fields {
		names = append(names, f.name)
	}
	if near := schemas.Similar(name, names); len(near) > 0 {
		return "; the writer has `" + strings.Join(near, "`, `") + "`"
	}
	return ""
}
