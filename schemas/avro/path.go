package avro

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// A path says what to read of a body, in one of these forms:
//
//	a.b.c         a scalar within records
//	a[0].b        of an array's item, counted from 0; null when there is none
//	a["k"].b      of a map's value; null when there is no such key
//	size(a)       how many items an array, entries a map has, as an Int
//	"x" in a      whether an array has an item, a map a key, as a Bool
//	present(a)    true where a has a value, of whatever type, else null
//
// Texts are quoted as strconv.Quote does, bytes likewise behind a b; an instant
// is timestamp(µs). Where anything on the way is null, what is read is null.

// reading is what a path asks of the type it leads to.
type reading uint8

const (
	readValue reading = iota
	readSize
	readIn
	readPresent
)

// target is a path taken apart.
type target struct {
	reads reading
	item  schemas.Value // of readIn
	inner string        // the path without what is around it: a.b for size(a.b)
	steps []step
}

type stepKind uint8

const (
	stepField stepKind = iota
	stepItem
	stepKey
)

type step struct {
	kind  stepKind
	name  string // of a field, or a key
	index int64  // of an item
	end   int    // inner[:end] leads here
}

// Names returns the names of the nested fields that a path begins with: a.b
// for size(a.b[0].c).
func Names(path string) string {
	inner := path
	if t, problem := parsePath(path); problem == "" {
		inner = t.inner
	}
	inner, _, _ = strings.Cut(inner, "[")
	return inner
}

// parsePath takes a path apart; problem is "" unless it is none.
func parsePath(path string) (t target, problem string) {
	t.inner = path
	if inner, ok := enclosed(path, "size("); ok {
		t.reads, t.inner = readSize, inner
	} else if inner, ok := enclosed(path, "present("); ok {
		t.reads, t.inner = readPresent, inner
	} else if item, rest, ok := leadingLiteral(path); ok {
		t.reads, t.item, t.inner = readIn, item, rest
	}
	t.steps, problem = parseSteps(t.inner)
	return t, problem
}

func enclosed(path, open string) (string, bool) {
	inner, ok := strings.CutPrefix(path, open)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, ")")
}

// leadingLiteral reads the constant of `constant in path`.
func leadingLiteral(path string) (v schemas.Value, rest string, ok bool) {
	quoted := strings.TrimPrefix(path, "b")
	if text, err := strconv.QuotedPrefix(quoted); err == nil && text[0] == '"' {
		s, err := strconv.Unquote(text)
		v = schemas.StringValue(s)
		if len(quoted) < len(path) {
			v = schemas.BytesValue(s)
		}
		rest, ok = strings.CutPrefix(quoted[len(text):], " in ")
		return v, rest, ok && err == nil
	}
	text, rest, ok := strings.Cut(path, " in ")
	if !ok {
		return v, "", false
	}
	if µs, is := enclosed(text, "timestamp("); is {
		i, err := strconv.ParseInt(µs, 10, 64)
		return schemas.TimestampValue(schemas.Micros(i)), rest, err == nil
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return schemas.IntValue(i), rest, true
	}
	if text == "true" || text == "false" {
		return schemas.BoolValue(text == "true"), rest, true
	}
	f, err := strconv.ParseFloat(text, 64)
	return schemas.DoubleValue(f), rest, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

func parseSteps(inner string) (steps []step, problem string) {
	for at := 0; ; {
		n := strings.IndexAny(inner[at:], ".[")
		if n < 0 {
			n = len(inner) - at
		}
		steps = append(steps, step{kind: stepField, name: inner[at : at+n], end: at + n})
		at += n
		for at < len(inner) && inner[at] == '[' {
			s, n := bracketed(inner[at:])
			if n == 0 {
				return nil, "what stands in [ ] must be an index from 0, as in `items[0]`, or a key in quotes, as in `map[\"key\"]`"
			}
			at += n
			s.end = at
			steps = append(steps, s)
		}
		if at == len(inner) {
			return steps, ""
		}
		if inner[at] != '.' {
			return nil, fmt.Sprintf("`%s` cannot follow ]", brief(inner[at:]))
		}
		at++
	}
}

// bracketed reads [0] or ["key"] and returns its length, 0 when it is neither.
func bracketed(s string) (step, int) {
	if text, err := strconv.QuotedPrefix(s[1:]); err == nil && text[0] == '"' && strings.HasPrefix(s[1+len(text):], "]") {
		key, err := strconv.Unquote(text)
		if err != nil {
			return step{}, 0
		}
		return step{kind: stepKey, name: key}, len(text) + 2
	}
	end := strings.IndexByte(s, ']')
	if end < 0 || !validIndex(s[1:end]) {
		return step{}, 0
	}
	i, err := strconv.ParseInt(s[1:end], 10, 32)
	if err != nil {
		return step{}, 0
	}
	return step{kind: stepItem, index: i}, end + 1
}

// validIndex takes an index in one spelling only: a path has one text.
func validIndex(s string) bool {
	return s == "0" || s != "" && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

// walk follows the steps of a path to the type they lead to; nullable tells
// whether anything on the way may be null or missing. The error is a *PathError.
func (s *Schema) walk(path string, t target) (typ *node, nullable bool, err error) {
	typ = s.top
	for i, st := range t.steps {
		before := ""
		if i > 0 {
			before = t.inner[:t.steps[i-1].end]
		}
		n, null := typ.deref()
		nullable = nullable || null
		problem, near := "", false
		switch {
		case st.kind == stepField && n.kind == kRecord:
			f := n.field(st.name)
			if f != nil {
				typ = f.typ
				continue
			}
			problem, near = "there is no such field", true
			if before != "" {
				problem = fmt.Sprintf("record `%s` (%s) has no field `%s`", before, n.name, st.name)
			}
		case st.kind == stepItem && n.kind == kArray, st.kind == stepKey && n.kind == kMap:
			typ, nullable = n.items, true
			continue
		case st.kind == stepField && n.kind == kMap:
			problem = fmt.Sprintf("`%s` is %s; write `%s[%s]`", before, n, before, strconv.Quote(st.name))
		case st.kind == stepField && n.kind == kArray:
			problem = fmt.Sprintf("`%s` is %s; name an item, as in `%s[0].%s`", before, n, before, st.name)
		case st.kind == stepField && n.kind == kUnion:
			problem = fmt.Sprintf("`%s` is %s; what is within can be used only where it has one type", before, n)
		case st.kind == stepField:
			problem = fmt.Sprintf("`%s` is a field of type %s and has no fields within", before, n)
		case n.kind == kMap:
			problem = fmt.Sprintf("`%s` is %s; write a key in quotes, as in `%s[\"key\"]`", before, n, before)
		case n.kind == kArray:
			problem = fmt.Sprintf("`%s` is %s; write an index from 0, as in `%s[0]`", before, n, before)
		default:
			problem = fmt.Sprintf("`%s` is a field of type %s; only arrays and maps take [ ]", before, n)
		}
		return nil, false, s.pathError(path, problem, near)
	}
	return typ, nullable, nil
}
