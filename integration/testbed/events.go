package testbed

import (
	"context"
	"encoding/binary"
	"math"
	"testing"

	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms/definition"
)

// EventSchema is the reader and writer schema of Event.
const EventSchema = `{"type":"record","name":"Ev","fields":[{"name":"ent","type":"string"},{"name":"id","type":"string"},
 {"name":"ver","type":"long"},{"name":"et","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"amt","type":"double"}]}`

// EventDefinition is a view v of three shards over the topic ev of Events. Its
// schema is the file ev.avsc.
const EventDefinition = `sources:
  ev:
    schema: ev.avsc
    writers: {files: {1: ev.avsc}}
    event_time: et
    id: id
    version: ver
    lateness: 1h
views:
  v:
    source: ev
    entity: {ent: string}
    where: amt < 9.0
    shards: 3
    features:
      n: {count: "*", over: [30m, 24h]}
      s: {sum: amt, over: 24h}
      l: {last: amt, over: lifetime}
`

// Event is a record of EventSchema.
type Event struct {
	Ent, ID string
	Ver     int64
	ET      int64 // µs
	Amt     float64
}

// Bytes is the value of the event's Kafka record, written with schema 1.
func (e Event) Bytes() []byte {
	b := AppendText(AppendText(Frame(1), e.Ent), e.ID)
	b = AppendLong(AppendLong(b, e.Ver), e.ET)
	return AppendDouble(b, e.Amt)
}

// Frame begins a value in the Confluent wire format.
func Frame(schema uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0}, schema) }

// AppendText appends an Avro string.
func AppendText(b []byte, s string) []byte { return append(AppendLong(b, int64(len(s))), s...) }

// AppendLong appends an Avro long; an int, a timestamp or the branch of a union
// is written the same.
func AppendLong(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

// AppendDouble appends an Avro double.
func AppendDouble(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}

// ParseView returns the first view of a definition all of whose schema files
// have the given text.
func ParseView(definitionText, schema string) (*definition.View, error) {
	def, err := definition.Parse("v.yaml", []byte(definitionText), func(string) ([]byte, error) { return []byte(schema), nil })
	if err != nil {
		return nil, err
	}
	return def.Views[0], nil
}

// View is ParseView; it fails the test where the definition is not sound.
func View(t testing.TB, definitionText, schema string) *definition.View {
	t.Helper()
	v, err := ParseView(definitionText, schema)
	if err != nil {
		t.Fatalf("%v\n%s", err, definitionText)
	}
	return v
}

// Writers resolves schema 1 to a view's own reader schema; other ids are unknown.
func Writers(v *definition.View) registry.Resolver { return oneSchema{v} }

type oneSchema struct{ view *definition.View }

// Writer implements registry.Resolver.
func (o oneSchema) Writer(_ context.Context, id int) (*registry.Writer, error) {
	if id != 1 {
		return nil, &registry.IDError{ID: id, Where: "the test", Kind: registry.ErrUnknownID}
	}
	return &registry.Writer{ID: 1, Name: "ev", Schema: o.view.Source.Reader}, nil
}
