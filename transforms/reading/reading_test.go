package reading_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

// writers is a Schema Registry in memory.
type writers struct {
	schemas map[int]*registry.Writer
	err     error // if not nil, what it answers
	asked   int
}

func (w *writers) Writer(_ context.Context, id int) (*registry.Writer, error) {
	w.asked++
	if w.err != nil {
		return nil, w.err
	}
	if s := w.schemas[id]; s != nil {
		return s, nil
	}
	return nil, &registry.IDError{ID: id, Where: "memory", Kind: registry.ErrUnknownID}
}

func (w *writers) add(t *testing.T, id int, name, text string) {
	t.Helper()
	s, err := avro.Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	w.schemas[id] = &registry.Writer{ID: id, Name: name, Schema: s}
}

// define parses a definition whose schema files are the given one and old.avsc.
func define(t *testing.T, schema, yaml string) *definition.Definition {
	t.Helper()
	d, err := definition.Parse("t.yaml", []byte(yaml), func(path string) ([]byte, error) {
		if strings.HasSuffix(path, "old.avsc") {
			return []byte(oldSchema), nil
		}
		return []byte(schema), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// record frames the body of a record of that schema.
func record(id int, offset int64, body ...[]byte) *schemas.Record {
	b := testbed.Frame(uint32(id))
	for _, x := range body {
		b = append(b, x...)
	}
	return &schemas.Record{Offset: offset, Timestamp: schemas.KafkaMillis(offset), Value: b}
}

func long(n int64) []byte  { return testbed.AppendLong(nil, n) }
func text(s string) []byte { return testbed.AppendText(nil, s) }

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const (
	readerSchema = `{"type":"record","name":"ev","fields":[{"name":"k","type":"string"},{"name":"et","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"cents","type":"long"},{"name":"note","type":["null","string"],"default":null}]}`
	oldSchema = `{"type":"record","name":"ev","fields":[{"name":"k","type":"string"},{"name":"et","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"euros","type":["null","long"]},{"name":"note","type":["null","string"]}]}`
	twoViews = `
sources:
  ev:
    schema: ev.avsc
    event_time: et
    MORE
views:
  amounts:
    source: ev
    entity: {k: string}
    features: {s: {sum: cents, over: 24h}}
  counts:
    source: ev
    entity: {k: string}
    features: {n: {count: "*", over: 24h}}
`
)

// both reads one record as both views see it; the verdict on it must not depend
// on which (V6).
func both(t *testing.T, d *definition.Definition, w registry.Resolver, rec *schemas.Record) (*schemas.Event, error) {
	t.Helper()
	var events [2]*schemas.Event
	var errs [2]error
	for i, v := range d.Views {
		s := reading.NewSource(v, w)
		events[i] = s.NewEvent()
		errs[i] = s.NewReader().Read(background(t), rec, events[i])
	}
	a, b := events[0], events[1]
	if (errs[0] == nil) != (errs[1] == nil) || (a.Fault == nil) != (b.Fault == nil) || a.EventTime != b.EventTime || a.Fault != nil && *a.Fault != *b.Fault {
		t.Errorf("V6: one view has %+v %v, the other %+v %v", a, errs[0], b, errs[1])
	}
	return a, errs[0]
}

// TestUnknownID: a record of an unknown schema is invalid; once the schema is
// registered, the records that follow are not (S1, V6).
func TestUnknownID(t *testing.T) {
	d := define(t, readerSchema, strings.Replace(twoViews, "MORE", "", 1))
	w := &writers{schemas: map[int]*registry.Writer{}}
	s := reading.NewSource(d.Views[0], w)
	r, e, ctx := s.NewReader(), s.NewEvent(), background(t)
	rec := record(7, 1, text("a"), long(5), long(100), long(0))
	if err := r.Read(ctx, rec, e); err != nil || e.Fault == nil || e.Fault.Stage != schemas.StageDecode || e.EventTime != schemas.Never {
		t.Fatalf("unknown: %+v %+v %v, want a decode fault without an event time", e, e.Fault, err)
	}
	w.add(t, 7, "ev", readerSchema)
	if err := r.Read(ctx, rec, e); err != nil || e.Fault != nil || e.EventTime != 5 || e.Fields[d.Views[0].Slots()[0]].IsNull() {
		t.Fatalf("registered meanwhile: %+v %+v %v", e, e.Fault, err)
	}
	asked := w.asked
	for range 3 {
		if err := s.NewReader().Read(ctx, rec, e); err != nil || e.Fault != nil {
			t.Fatal(e.Fault, err)
		}
	}
	if w.asked != asked {
		t.Errorf("a known id is asked for again")
	}
}

// TestResolverFails: an error that may pass stops the read, is no verdict, and
// is not remembered (V6).
func TestResolverFails(t *testing.T) {
	d := define(t, readerSchema, strings.Replace(twoViews, "MORE", "incompatible: quarantine", 1))
	w := &writers{schemas: map[int]*registry.Writer{}, err: errors.New("connection refused")}
	w.add(t, 7, "ev", readerSchema)
	s := reading.NewSource(d.Views[0], w)
	r, e := s.NewReader(), s.NewEvent()
	rec := record(7, 1, text("a"), long(5), long(100), long(0))
	if err := r.Read(background(t), rec, e); !errors.Is(err, w.err) || !strings.Contains(err.Error(), "source ev") {
		t.Fatalf("error %v, want the resolver's, with the source", err)
	}
	w.err = nil
	if err := r.Read(background(t), rec, e); err != nil || e.Fault != nil {
		t.Fatalf("afterwards: %v %v", e.Fault, err)
	}
}

// TestIncompatible: a writer schema that no rule makes readable stops, naming
// the record, or makes its records invalid (S2).
func TestIncompatible(t *testing.T) {
	w := &writers{schemas: map[int]*registry.Writer{}}
	w.add(t, 1, "old", oldSchema)
	rec := record(1, 42, text("a"), long(5), long(1), long(3), long(0))
	for _, policy := range []string{"stop", "quarantine"} {
		d := define(t, readerSchema, strings.Replace(twoViews, "MORE", "incompatible: "+policy, 1))
		s := reading.NewSource(d.Views[0], w)
		e := s.NewEvent()
		err := s.NewReader().Read(background(t), rec, e)
		var x *reading.IncompatibleError
		switch {
		case policy == "stop" && (!errors.As(err, &x) || x.At.Offset != 42 || !strings.Contains(err.Error(), "old (id 1)")):
			t.Errorf("stop: %v, want an *IncompatibleError at offset 42", err)
		case policy == "quarantine" && (err != nil || e.Fault == nil || e.Fault.Stage != schemas.StageMigrate):
			t.Errorf("quarantine: %+v %v, want a migrate fault", e.Fault, err)
		}
	}
}

// TestMigration: a rule computes a field; where it gives null or fails, the
// record is invalid for every view, also for one that does not read it (S2, V6).
func TestMigration(t *testing.T) {
	w := &writers{schemas: map[int]*registry.Writer{}}
	w.add(t, 1, "old", oldSchema)
	w.add(t, 2, "ev", readerSchema)
	d := define(t, readerSchema, strings.Replace(twoViews, "MORE", "migrate: {old: {cents: euros * 100}}", 1))
	slot := d.Views[0].Slots()
	for _, c := range []struct {
		name string
		rec  *schemas.Record
		want string // "" = none, else the beginning of the fault
	}{
		{"renamed", record(1, 1, text("a"), long(5), long(1), long(3), long(0)), ""},
		{"no rule", record(2, 2, text("a"), long(5), long(300), long(0)), ""},
		{"null", record(1, 3, text("a"), long(5), long(0), long(0)), "migrate: cents is null"},
		{"overflow", record(1, 4, text("a"), long(5), long(1), long(math.MaxInt64), long(0)), "migrate: cents"},
		{"short", record(1, 5, text("a"), long(5)), "decode"},
		{"empty", &schemas.Record{Offset: 6, Value: []byte{}}, "decode"},
		{"null value", &schemas.Record{Offset: 7}, "decode: the value is null"},
	} {
		e, err := both(t, d, w, c.rec)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "" && (e.Fault != nil || e.EventTime != 5):
			t.Errorf("%s: %v at %v, want an event", c.name, e.Fault, e.EventTime)
		case c.want != "" && (e.Fault == nil || !strings.HasPrefix(e.Fault.Error(), c.want) || e.EventTime != schemas.Never):
			t.Errorf("%s: %v at %v, want %q and no event time", c.name, e.Fault, e.EventTime, c.want)
		}
		if c.want == "" {
			sum := schemas.Value{}
			for _, i := range slot {
				if d.Views[0].Source.Paths[i] == "cents" {
					sum = e.Fields[i]
				}
			}
			if sum != schemas.IntValue(300) {
				t.Errorf("%s: cents = %v, want 300", c.name, sum)
			}
		}
	}
}

// TestEventTime: each kind of event time; a record whose event time cannot be
// read has none (V10, V6).
func TestEventTime(t *testing.T) {
	const long64, str = `"long"`, `"string"`
	micros := func(s string) schemas.Micros {
		x, err := schemas.ParseInstant(s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	local := func(s string) []byte { // as local-timestamp-millis has it
		return long(int64(micros(s+"Z")) / 1000)
	}
	for _, c := range []struct {
		typ, spec string
		body      []byte
		want      string // "" = an event time fault
	}{
		{`{"type":"long","logicalType":"timestamp-millis"}`, "et", long(1), "1970-01-01T00:00:00.001Z"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, "et", long(-1), "1969-12-31T23:59:59.999999Z"},
		{long64, "{field: et, unit: s}", long(-2), "1969-12-31T23:59:58Z"},
		{long64, "{field: et, unit: s}", long(math.MaxInt64 / 1000), ""},
		{long64, "{field: et, unit: ms}", long(math.MinInt64), ""},
		{`["null","long"]`, "{field: et, unit: us}", long(0), ""},
		{str, "et", text("2024-11-03T01:30:00-04:00"), "2024-11-03T05:30:00Z"},
		{str, "et", text("2024-11-03T01:30:00"), ""},
		{str, "{field: et, zone: America/New_York}", text("2024-11-03T01:30:00"), "2024-11-03T05:30:00Z"}, // fold: the earlier
		{str, "{field: et, zone: America/New_York, fold: later}", text("2024-11-03T01:30:00"), "2024-11-03T06:30:00Z"},
		{str, "{field: et, zone: America/New_York, fold: invalid}", text("2024-11-03T01:30:00"), ""},
		{str, "{field: et, zone: America/New_York}", text("2024-03-10T02:30:00"), "2024-03-10T07:30:00Z"}, // gap: forward
		{str, "{field: et, zone: America/New_York, gap: invalid}", text("2024-03-10T02:30:00"), ""},
		{str, "{field: et, zone: America/New_York}", text("2024-03-10"), ""},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, "{field: et, zone: America/New_York}", local("2024-11-03T01:30:00"), "2024-11-03T05:30:00Z"},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, "{field: et, zone: America/New_York, gap: backward}", local("2024-03-10T02:30:00"), "2024-03-10T06:30:00Z"},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, "{field: et, zone: America/New_York, fold: invalid}", local("2024-11-03T01:30:00"), ""},
	} {
		schema := `{"type":"record","name":"ev","fields":[{"name":"k","type":"string"},{"name":"et","type":` + c.typ + `}]}`
		d := define(t, schema, `
sources:
  ev: {schema: ev.avsc, event_time: `+c.spec+`}
views:
  counts:
    source: ev
    entity: {k: string}
    features: {n: {count: "*", over: 24h}}
`)
		w := &writers{schemas: map[int]*registry.Writer{}}
		w.add(t, 1, "ev", schema)
		s := reading.NewSource(d.Views[0], w)
		e := s.NewEvent()
		if err := s.NewReader().Read(background(t), record(1, 1, text("a"), c.body), e); err != nil {
			t.Fatal(err)
		}
		switch {
		case c.want == "" && (e.Fault == nil || e.Fault.Stage != schemas.StageEventTime || e.EventTime != schemas.Never):
			t.Errorf("%s %s %q: %v at %v, want an event time fault and no event time", c.typ, c.spec, c.body, e.Fault, e.EventTime)
		case c.want != "" && (e.Fault != nil || e.EventTime != micros(c.want)):
			t.Errorf("%s %s %q: %v %v, want %s", c.typ, c.spec, c.body, e.EventTime, e.Fault, c.want)
		}
	}
}
