package avro

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// record emits a writer's record as the reader's: fields in the writer's order.
// path is the reader path of the record with a dot behind it, at the writer's.
func (c *compiler) record(w, r *node, wanted *want, path, at string) {
	source := map[*field]*field{} // writer field → the reader field that it becomes
	var missing []*field
	for _, name := range sorted(wanted.kids) {
		rf := r.field(name)
		wf := counterpart(w, rf)
		switch {
		case wf == nil:
			missing = append(missing, rf)
		case source[wf] != nil:
			c.mismatch(Mismatch{Path: path + name, Writer: wf.typ.String(), Reader: rf.typ.String(),
				Problem: fmt.Sprintf("the reader's fields `%s` and `%s` are both the writer's `%s`", source[wf].name, name, wf.name),
				Hint:    "remove the alias from one of them"})
		default:
			source[wf] = rf
		}
	}
	for _, wf := range w.fields {
		if rf := source[wf]; rf != nil {
			c.value(wf.typ, rf.typ, wanted.kids[rf.name], path+rf.name, at+wf.name)
		} else {
			c.skip(wf.typ, at+wf.name)
		}
	}
	for _, rf := range missing {
		c.absent(w, rf, wanted.kids[rf.name], path+rf.name)
	}
}

// counterpart returns the writer's field for a reader's: by name, then by alias.
func counterpart(w *node, rf *field) *field {
	if f := w.field(rf.name); f != nil {
		return f
	}
	for _, a := range rf.aliases {
		if f := w.field(a); f != nil {
			return f
		}
	}
	return nil
}

// value emits a value that somebody asked something of. All mismatches of a
// union's branches concern the same path: one is reported.
func (c *compiler) value(w, r *node, wanted *want, path, at string) {
	if c.halted {
		return
	}
	c.d.partial = c.d.partial || w.kind == kUnion || w.kind == kNull
	if w.kind != kUnion {
		inner, refusal, _ := choose(w, r)
		if refusal != nil {
			c.refuse(*refusal, w, r, path)
			return
		}
		c.read(w, inner, r, wanted, path, at)
	} else if c.branches(w, r, path) {
		c.union(w, at, func(b *node) {
			inner, refusal, _ := choose(b, r)
			if refusal != nil {
				c.emit(op{code: opMismatch}, at)
				return
			}
			c.read(b, inner, r, wanted, path, at)
		})
	}
	for _, list := range [][]leaf{wanted.value, wanted.size} {
		for i, l := range list { // one path asked for twice
			if i > 0 {
				c.emit(op{code: opCopy, dst: l.dst, n: list[0].dst}, at)
			}
		}
	}
}

// branches checks a writer's union: a value of some branch must fit, and none
// may differ from the reader in meaning only. Branches of another type are
// faults of the records that have them.
func (c *compiler) branches(w, r *node, path string) bool {
	found := false
	var first *Mismatch
	for _, b := range w.branches {
		_, refusal, meaning := choose(b, r)
		if meaning {
			c.refuse(*refusal, w, r, path)
			return false
		}
		if b.kind == kNull {
			continue
		}
		found = found || refusal == nil
		if first == nil {
			first = refusal
		}
	}
	if inner, _ := r.deref(); found || first == nil && inner.kind == kNull {
		return true
	}
	if first == nil {
		first = &Mismatch{Problem: "the writer's field is always null", Hint: "write a `migrate` rule for it"}
	}
	c.refuse(*first, w, r, path)
	return false
}

// choose returns the reader's type, of a union's branches the one, that a
// writer's type that is no union is read as: the same one before one that it is
// promoted to. meaning says that only what the value means differs.
func choose(w, r *node) (inner *node, refusal *Mismatch, meaning bool) {
	inner, nullable := r.deref()
	if inner.kind != kUnion {
		refusal, meaning = fits(w, inner, nullable)
		return inner, refusal, meaning
	}
	if w.kind == kNull && nullable {
		return inner, nil, false
	}
	for _, same := range []bool{true, false} {
		for _, b := range inner.branches {
			if b.kind == kNull || (b.kind == w.kind) != same {
				continue
			}
			why, differs := fits(w, b, nullable)
			if why == nil || differs {
				return b, why, differs
			}
			if refusal == nil || same {
				refusal = why
			}
		}
	}
	return nil, refusal, false
}

func (c *compiler) refuse(m Mismatch, w, r *node, path string) {
	m.Path, m.Writer, m.Reader = path, w.String(), r.String()
	c.mismatch(m)
}

// read emits a value that is no union and fits the reader's type inner, which
// is r or a branch of it.
func (c *compiler) read(w, inner, r *node, wanted *want, path, at string) {
	switch {
	case w.kind == kNull:
		return // it, and what is within, reads null
	case w.kind == kRecord:
		c.nested(w, inner, wanted, path, at)
	case w.kind == kArray || w.kind == kMap:
		c.items(w, inner, wanted, path, at)
	case len(wanted.value) > 0:
		if u, _ := r.deref(); u.kind == kUnion && merged(u).kind == kDouble {
			inner = merged(u)
		}
		c.scalar(w, inner, wanted.value[0].dst, at)
	default:
		c.skip(w, at)
	}
	for _, l := range wanted.present {
		c.constant(l.dst, schemas.BoolValue(true), at)
	}
}

func (c *compiler) nested(w, r *node, wanted *want, path, at string) {
	if len(wanted.kids) == 0 {
		c.skip(w, at)
		return
	}
	deeper := !c.empty(w)
	if deeper {
		c.emit(op{code: opEnter}, at)
	}
	c.record(w, r, wanted, path+".", at+".")
	if deeper {
		c.emit(op{code: opLeave}, at)
	}
}

// scalar emits a value that fits.
func (c *compiler) scalar(w, r *node, dst int32, at string) {
	o := op{code: conversion(w, r), dst: dst}
	switch w.kind {
	case kFixed:
		o.n = int32(w.size)
	case kEnum:
		table := make([]symbol, len(w.symbols))
		for i, s := range w.symbols {
			table[i] = symbol{s, slices.Contains(r.symbols, s)}
			if !table[i].known && r.enumDefault != "" {
				table[i] = symbol{r.enumDefault, true}
			}
		}
		c.d.enums = append(c.d.enums, table)
		o.n = int32(len(c.d.enums) - 1)
	}
	c.emit(o, at)
}

// conversion returns the op that reads a scalar of w as r; they fit.
func conversion(w, r *node) opcode {
	switch w.kind {
	case kBoolean:
		return opBool
	case kInt:
		switch {
		case r.logical == "date":
			return opDate
		case r.kind == kFloat:
			return opIntFloat
		case r.kind == kDouble:
			return opIntDouble
		}
		return opInt
	case kLong:
		switch {
		case strings.HasSuffix(r.logical, "timestamp-millis"):
			return opMillis
		case strings.HasSuffix(r.logical, "timestamp-micros"):
			return opMicros
		case strings.HasSuffix(r.logical, "timestamp-nanos"):
			return opNanos
		case r.kind == kFloat:
			return opLongFloat
		case r.kind == kDouble:
			return opLongDouble
		}
		return opLong
	case kFloat:
		return opFloat
	case kDouble:
		return opDouble
	case kString:
		if r.kind == kBytes {
			return opStringBytes
		}
		return opString
	case kBytes:
		if r.kind == kString {
			return opString
		}
		return opBytes
	case kEnum:
		return opEnum
	}
	return opFixed
}

// fits tells whether a writer's type that is no union can be read as the
// reader's, nil = yes; meaning says that only what the value means differs.
func fits(w, r *node, nullable bool) (refusal *Mismatch, meaning bool) {
	if w.kind == kNull {
		if nullable || r.kind == kNull {
			return nil, false
		}
		return &Mismatch{Problem: "the writer's field is always null, the reader's is never null", Hint: "make the reader's a union with null, or write a `migrate` rule"}, false
	}
	if !promotes(w.kind, r.kind) {
		return &Mismatch{Problem: "a change of type that Avro does not promote", Hint: "write a `migrate` rule that converts it"}, false
	}
	if w.name != "" {
		if why := sameName(w, r); why != "" {
			return &Mismatch{Problem: why, Hint: fmt.Sprintf("if they are the same thing, add \"aliases\": [%q] to the reader's %s", w.name, kindNames[r.kind])}, false
		}
	}
	if w.kind == kFixed && w.size != r.size {
		return &Mismatch{Problem: fmt.Sprintf("the writer's fixed has %d bytes, the reader's %d", w.size, r.size), Hint: "write a `migrate` rule that converts it"}, false
	}
	// A reader's decimal of more digits holds each of the writer's, as the same number.
	if w.attr != r.attr || w.logical != r.logical || w.precision > r.precision || w.scale != r.scale {
		return &Mismatch{Problem: "the logical type differs, so the same number means something else", Hint: "write a `migrate` rule that converts the unit"}, true
	}
	return nil, false
}

// promotes tells whether Avro reads kind w as kind r.
func promotes(w, r kind) bool {
	switch w {
	case r:
		return true
	case kInt:
		return r == kLong || r == kFloat || r == kDouble
	case kLong:
		return r == kFloat || r == kDouble
	case kFloat:
		return r == kDouble
	case kString:
		return r == kBytes
	case kBytes:
		return r == kString
	}
	return false
}

// sameName matches named types as Avro does, by their unqualified names or by
// an alias of the reader's; "" = they match.
func sameName(w, r *node) string {
	if unqualified(w.name) == unqualified(r.name) {
		return ""
	}
	for _, a := range r.aliases {
		if a == w.name || unqualified(a) == unqualified(w.name) {
			return ""
		}
	}
	return fmt.Sprintf("the writer's %s is named %s, the reader's %s", kindNames[w.kind], w.name, r.name)
}
