package transforms

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/expr"
)

// Input is an event as one view sees it: its entity, identity, filter results
// and aggregation inputs, or why it is invalid. It is reused from event to
// event; its text aliases the record.
type Input struct {
	Partition int32
	Offset    int64
	Clock     schemas.Micros
	EventTime schemas.Micros
	Fault     *schemas.Fault // nil = valid so far (V6)
	// Entity is the canonical encoding of the key fields, empty when the record
	// has none.
	Entity  []byte
	ID      []byte
	Version int64
	Accept  bool // passes the view's filter
	// Tombstone: the entity of a table has no value from here on (K6).
	Tombstone bool
	filters   []bool
	values    []schemas.Value
	row       []byte
	order     orderKey // set when the event is placed
	work      *workspace
}

// NewInput returns an Input for Prepare.
func (v *View) NewInput() *Input { return v.NewInputs(1)[0] }

// NewInputs returns n Inputs for one goroutine: they share working memory.
func (v *View) NewInputs(n int) []*Input {
	work, ins := v.newWorkspace(), make([]*Input, n)
	for i := range ins {
		ins[i] = &Input{filters: make([]bool, len(v.spec.Filters)), values: make([]schemas.Value, len(v.spec.Inputs)), work: work}
	}
	return ins
}

// bindFields finds which fields the view's programs and the source's
// expectations read, and which filters guard each input.
func (v *View) bindFields() {
	seen := map[int]bool{}
	read := func(p *expr.Program) {
		for _, s := range p.Slots() {
			seen[s] = true
		}
	}
	s := &v.spec
	for _, k := range s.Key {
		if !s.Table {
			read(k.Expr)
		}
	}
	for _, r := range s.Expect {
		read(r.Expr)
	}
	if s.Where != nil {
		read(s.Where)
	}
	for _, p := range append(slices.Clone(s.Filters), s.Inputs...) {
		read(p)
	}
	for i := range seen {
		v.slots = append(v.slots, i)
	}
	slices.Sort(v.slots)
	v.uses = make([][]int, len(s.Inputs))
	for _, f := range s.Features {
		if f.Derived != nil || f.Input < 0 {
			continue
		}
		v.use(f.Input, f.Filter)
		if f.Aggregation.ByInput() {
			v.use(f.By, f.Filter)
		}
	}
}

func (v *View) use(input, filter int) {
	if !slices.Contains(v.uses[input], filter) {
		v.uses[input] = append(v.uses[input], filter)
	}
}

// Prepare evaluates the view's key, expectations, identity, filters and inputs
// over an event, in the order of V6. What it finds wrong stands in in.Fault.
// Input expressions are evaluated only where the filters let them count; a
// field that is not finite makes the record invalid wherever the view reads it.
func (v *View) Prepare(in *Input, e *schemas.Event) {
	in.Partition, in.Offset, in.Clock, in.EventTime = e.Partition, e.Offset, e.Clock, e.EventTime
	in.Fault, in.Entity, in.ID, in.Version, in.Accept = e.Fault, in.Entity[:0], in.ID[:0], 0, false
	in.Tombstone = e.Tombstone
	if in.Fault != nil {
		return
	}
	key := e.Fields
	if v.spec.Table {
		key = e.Key
	}
	if in.Fault = v.key(in, key); in.Fault != nil {
		in.Entity = in.Entity[:0]
		return
	}
	if in.Tombstone {
		in.Accept = true
		return
	}
	if in.Fault = v.expect(e.Fields); in.Fault != nil {
		return
	}
	if in.Fault = v.identify(in, e.Fields); in.Fault != nil {
		return
	}
	in.Fault = v.inputs(in, e.Fields)
}

func (v *View) key(in *Input, fields []schemas.Value) *schemas.Fault {
	for i := range v.spec.Key {
		k := &v.spec.Key[i]
		x, err := k.Expr.Eval(fields)
		if err != nil {
			return fault(schemas.StageKey, "%s: %v", k.Name, err)
		}
		if x.IsNull() {
			return fault(schemas.StageKey, "%s is null", k.Name)
		}
		in.Entity = x.Append(in.Entity)
	}
	return nil
}

func (v *View) expect(fields []schemas.Value) *schemas.Fault {
	for i := range v.spec.Expect {
		r := &v.spec.Expect[i]
		x, err := r.Expr.Eval(fields)
		switch {
		case err != nil:
			return fault(schemas.StageExpect, "%s: %v", r.Text, err)
		case x.IsNull():
			return fault(schemas.StageExpect, "%s is null", r.Text)
		case !x.Bool():
			return fault(schemas.StageExpect, "%s is false", r.Text)
		}
	}
	return nil
}

func (v *View) identify(in *Input, fields []schemas.Value) *schemas.Fault {
	if v.spec.Identity == Anonymous {
		if v.spec.Version != nil { // of a table
			return v.version(in, fields)
		}
		return nil
	}
	x, err := v.spec.ID.Eval(fields)
	if err != nil || x.IsNull() {
		return fault(schemas.StageKey, "the id is null")
	}
	in.ID = x.Append(in.ID)
	if v.spec.Identity == ByID {
		return nil
	}
	return v.version(in, fields)
}

func (v *View) version(in *Input, fields []schemas.Value) *schemas.Fault {
	x, err := v.spec.Version.Eval(fields)
	switch {
	case err != nil || x.IsNull():
		return fault(schemas.StageKey, "the version is null")
	case x.Kind() == schemas.String:
		n, ok := ParseLSN(x.Text())
		if !ok {
			return fault(schemas.StageKey, "the version %q is not a PostgreSQL LSN such as 16/B374D848", x.Text())
		}
		in.Version = n
	default:
		in.Version = x.Int()
	}
	return nil
}

func (v *View) inputs(in *Input, fields []schemas.Value) *schemas.Fault {
	for _, s := range v.slots {
		if !fields[s].Finite() {
			name := "a field that the view reads"
			if s < len(v.spec.Fields) {
				name = v.spec.Fields[s]
			}
			return fault(schemas.StageInput, "%s is %v", name, fields[s])
		}
	}
	ok, err := true, error(nil)
	if v.spec.Where != nil {
		if ok, err = isTrue(v.spec.Where, fields); err != nil {
			return fault(schemas.StageInput, "where: %v", err)
		}
	}
	in.Accept = ok
	for i, p := range v.spec.Filters {
		if in.filters[i] = false; ok {
			if in.filters[i], err = isTrue(p, fields); err != nil {
				return fault(schemas.StageInput, "where %s: %v", p.Canonical(), err)
			}
		}
	}
	for i, p := range v.spec.Inputs {
		if in.values[i] = (schemas.Value{}); ok && in.counts(v.uses[i]) {
			if in.values[i], err = p.Eval(fields); err != nil {
				return fault(schemas.StageInput, "%s: %v", p.Canonical(), err)
			}
		}
	}
	return nil
}

func (in *Input) counts(filters []int) bool {
	for _, f := range filters {
		if f < 0 || in.filters[f] {
			return true
		}
	}
	return false
}

func isTrue(p *expr.Program, fields []schemas.Value) (bool, error) {
	x, err := p.Eval(fields)
	return err == nil && !x.IsNull() && x.Bool(), err
}

func fault(s schemas.Stage, format string, a ...any) *schemas.Fault {
	return &schemas.Fault{Stage: s, Reason: fmt.Sprintf(format, a...)}
}

// ParseLSN reads a PostgreSQL log sequence number, two hexadecimal numbers of
// up to 8 digits around a slash (`16/B374D848`), as one number (V5). One beyond
// 2^63-1 is refused, as it would not keep its order as an int64.
func ParseLSN(s string) (int64, bool) {
	a, b, found := strings.Cut(s, "/")
	if !found || !hexDigits(a) || !hexDigits(b) {
		return 0, false
	}
	hi, err1 := strconv.ParseUint(a, 16, 32)
	lo, err2 := strconv.ParseUint(b, 16, 32)
	n := int64(hi<<32 | lo)
	return n, err1 == nil && err2 == nil && n >= 0
}

func hexDigits(s string) bool {
	return s != "" && len(s) <= 8 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// A row is what an event that is kept raw adds: one bit per filter, then the
// inputs in the canonical typed encoding.

// appendRow appends the event's row.
func (in *Input) appendRow(dst []byte) []byte {
	var b byte
	for i, f := range in.filters {
		if f {
			b |= 1 << (i & 7)
		}
		if i&7 == 7 || i == len(in.filters)-1 {
			dst = append(dst, b)
			b = 0
		}
	}
	for _, x := range in.values {
		dst = x.Append(dst)
	}
	return dst
}

// parseRow reads a row into in, whose text then does not alias it; false when
// it is not one of this view.
func (v *View) parseRow(row string, in *Input) bool { return v.parseRowBytes([]byte(row), in) }

func (v *View) parseRowBytes(row []byte, in *Input) bool {
	n := (len(in.filters) + 7) / 8
	if len(row) < n {
		return false
	}
	for i := range in.filters {
		in.filters[i] = row[i/8]>>(i&7)&1 == 1
	}
	if r := len(in.filters) & 7; r != 0 && row[n-1]>>r != 0 {
		return false
	}
	rest := row[n:]
	for i := range in.values {
		x, w := schemas.ParseValue(rest)
		if w == 0 || !x.IsNull() && x.Kind() != v.spec.Inputs[i].Type().Kind {
			return false
		}
		in.values[i], rest = x, rest[w:]
	}
	return len(rest) == 0
}

// EntityShard returns which of n shards the entity belongs to; a record without
// an entity counts in shard 0 (O1).
func EntityShard(entity []byte, n int) int {
	if len(entity) == 0 || n <= 1 {
		return 0
	}
	return int(HashBytes(entity) % uint64(n))
}

// EncodeEntity appends the canonical encoding of key field values, given in the
// order of the view's entity.
func EncodeEntity(dst []byte, key ...schemas.Value) []byte {
	for _, x := range key {
		dst = x.Append(dst)
	}
	return dst
}

// DecodeEntity splits a canonical entity into the values of the view's key
// fields.
func (v *View) DecodeEntity(entity []byte) ([]schemas.Value, error) {
	key := make([]schemas.Value, 0, len(v.spec.Key))
	rest := entity
	for _, k := range v.spec.Key {
		x, n := schemas.ParseValue(rest)
		if n == 0 || x.Kind() != k.Kind {
			return nil, &CorruptError{Part: "entity", Reason: fmt.Sprintf("key field %s does not read as %v", k.Name, k.Kind)}
		}
		key, rest = append(key, x), rest[n:]
	}
	if len(rest) != 0 {
		return nil, &CorruptError{Part: "entity", Reason: "bytes follow the last key field"}
	}
	return key, nil
}

// CorruptError says that bytes are not an encoding that this view writes.
type CorruptError struct {
	Part   string // "served", "open", "entity", …
	Reason string
}

func (e *CorruptError) Error() string { return "corrupt " + e.Part + ": " + e.Reason }

func appendUvarintBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
