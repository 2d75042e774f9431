package reading_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

const (
	valueSchema = `{"type":"record","name":"ev","fields":[{"name":"k","type":"string"},{"name":"et","type":{"type":"long","logicalType":"timestamp-micros"}}]}`
	keyRecord   = `{"type":"record","name":"Key","fields":[{"name":"region","type":"string"},{"name":"k","type":["null","long"]}]}`
	tableYAML   = `sources:
  accounts: {kind: table, key: KEY, schema: t.avsc, event_time: et}
views:
  v:
    source: accounts
    entity: ENTITY
    features: {s: {last: k}}
`
)

// tableSource reads a table with keys of that declaration, whose values have
// schema 1 and whose keys have 2, 3 (long) and 4 (a record of other fields).
func tableSource(t *testing.T, key, entity, extra string) (*reading.Reader, *schemas.Event, *definition.View) {
	t.Helper()
	text := strings.NewReplacer("KEY", key, "ENTITY", entity, "event_time: et", "event_time: et"+extra).Replace(tableYAML)
	d, err := definition.Parse("t.yaml", []byte(text), func(path string) ([]byte, error) {
		switch path {
		case "key.avsc":
			return []byte(keyRecord), nil
		case "long.avsc":
			return []byte(`"long"`), nil
		}
		return []byte(valueSchema), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &writers{schemas: map[int]*registry.Writer{}}
	for id, text := range map[int]string{1: valueSchema, 2: keyRecord, 3: `{"type":"long"}`, 4: strings.Replace(keyRecord, "region", "zone", 1)} {
		s, err := avro.ParseAny("s", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		w.schemas[id] = &registry.Writer{ID: id, Name: "s", Schema: s}
	}
	src := reading.NewSource(d.Views[0], w)
	return src.NewReader(), src.NewEvent(), d.Views[0]
}

func framed(id uint32, body ...[]byte) []byte {
	b := testbed.Frame(id)
	for _, x := range body {
		b = append(b, x...)
	}
	return b
}

// K6: the entity comes from the record's key, as it is declared.
func TestTableKeys(t *testing.T) {
	uuid := "0aB1c2d3-0000-1111-2222-0123456789ab"
	for _, c := range []struct {
		key, entity string
		bytes       []byte
		want        []schemas.Value
		fault       string
	}{
		{"string", "{a: string}", []byte("eins"), []schemas.Value{schemas.StringValue("eins")}, ""},
		{"string", "{a: string}", []byte{}, []schemas.Value{schemas.StringValue("")}, ""},
		{"string", "{a: string}", []byte{0xff}, nil, "not UTF-8"},
		{"string", "{a: string}", nil, nil, "the key is null"},
		{"uuid", "{a: string}", []byte(uuid), []schemas.Value{schemas.StringValue(uuid)}, ""},
		{"uuid", "{a: string}", []byte(uuid[1:]), nil, "not a UUID"},
		{"uuid", "{a: string}", []byte(strings.Replace(uuid, "-", "0", 1)), nil, "not a UUID"},
		{"bytes", "{a: bytes}", []byte{0xff}, []schemas.Value{schemas.BytesValue("\xff")}, ""},
		{"long", "{a: int}", binary.BigEndian.AppendUint64(nil, 1<<63+5), []schemas.Value{schemas.IntValue(-1<<63 + 5)}, ""},
		{"long", "{a: int}", []byte{1, 2, 3, 4}, nil, "4 bytes, long keys have 8"},
		{"int", "{a: int}", []byte{0xff, 0xff, 0xff, 0xfe}, []schemas.Value{schemas.IntValue(-2)}, ""},
		{"int", "{a: int}", nil, nil, "null"},
		{"key.avsc", "{k: int, region: string}", framed(2, text("eu"), long(1), long(7)), []schemas.Value{schemas.IntValue(7), schemas.StringValue("eu")}, ""},
		{"key.avsc", "{k: int, region: string}", framed(2, text("eu"), long(0)), nil, "k is null"},
		{"key.avsc", "{k: int, region: string}", framed(2, text("eu")), nil, "key: "},
		{"key.avsc", "{k: int, region: string}", []byte("europe"), nil, "magic"},
		{"key.avsc", "{k: int, region: string}", framed(9), nil, "unknown schema id 9"},
		{"long.avsc", "{any: int}", framed(3, long(-4)), []schemas.Value{schemas.IntValue(-4)}, ""},
	} {
		r, e, v := tableSource(t, c.key, c.entity, "")
		engine, err := transforms.NewView(v.Spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range []*schemas.Record{record(1, 5, text("v"), long(9)), {Offset: 6, Timestamp: schemas.KafkaMillis(6)}, record(1, 7, text("v"), long(9))} {
			rec.Key = c.bytes
			if err := r.Read(background(t), rec, e); err != nil {
				t.Fatal(err)
			}
			in := engine.NewInput()
			e.Clock = e.Timestamp
			engine.Prepare(in, e)
			if c.fault != "" {
				if in.Fault == nil || in.Fault.Stage != schemas.StageKey || !strings.Contains(in.Fault.Reason, c.fault) || len(in.Entity) > 0 {
					t.Errorf("%s %x: fault %v, want one with %q", c.key, c.bytes, in.Fault, c.fault)
				}
				continue
			}
			if want := transforms.EncodeEntity(nil, c.want...); in.Fault != nil || string(in.Entity) != string(want) {
				t.Errorf("%s %x: fault %v, entity %x, want %x", c.key, c.bytes, in.Fault, in.Entity, want)
			}
			if gone := rec.Value == nil; in.Tombstone != gone || gone && in.EventTime != rec.Timestamp || !gone && in.EventTime != 9 {
				t.Errorf("tombstone %t at %d", in.Tombstone, in.EventTime)
			}
		}
	}
}

// S2: keys that the declared schema cannot be read from stop the pipeline, or
// go to the quarantine; V6: a value that does not decode comes first.
func TestTableKeySchemas(t *testing.T) {
	for _, id := range []uint32{3, 4} {
		r, e, _ := tableSource(t, "key.avsc", "{k: int, region: string}", "")
		rec := record(1, 5, text("v"), long(9))
		rec.Key = framed(id, text("eu"), long(1), long(7))
		var ie *reading.IncompatibleError
		if err := r.Read(background(t), rec, e); !errors.As(err, &ie) || !ie.Key || !strings.Contains(err.Error(), "correct `key`") {
			t.Errorf("schema %d: error %v", id, err)
		}
		r, e, _ = tableSource(t, "key.avsc", "{k: int, region: string}", ", incompatible: quarantine")
		if err := r.Read(background(t), rec, e); err != nil || e.Fault == nil || e.Fault.Stage != schemas.StageKey {
			t.Errorf("schema %d: error %v, fault %v", id, err, e.Fault)
		}
		rec.Value = []byte("?")
		if err := r.Read(background(t), rec, e); err != nil || e.Fault == nil || e.Fault.Stage != schemas.StageDecode {
			t.Errorf("error %v, fault %v", err, e.Fault)
		}
	}
	r, e, _ := tableSource(t, "long.avsc", "{k: int}", "")
	rec := record(2, 5, text("v"), long(1), long(9)) // the value is written with the schema of a key
	rec.Key = framed(3, long(1))
	if err := r.Read(background(t), rec, e); !errors.As(err, new(*reading.IncompatibleError)) {
		t.Errorf("error %v", err)
	}
	rec = record(3, 5, long(1)) // with one that is no record
	if err := r.Read(background(t), rec, e); err == nil || !strings.Contains(err.Error(), "the record's key") {
		t.Errorf("error %v", err)
	}
}
