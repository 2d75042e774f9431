package reading

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms/definition"
)

// readKey reads the key of a table's record into e.Key (K6). What is wrong with
// it stands in e.Fault; an error stops the pipeline, as for values.
func (r *Reader) readKey(ctx context.Context, rec *schemas.Record, e *schemas.Event) error {
	spec := r.src.def.Key
	switch {
	case rec.Key == nil:
		e.Fault = keyFault("the key is null: a table has one value per key")
		return nil
	case spec.Raw != "":
		var err error
		if e.Key[0], err = rawKey(spec.Raw, rec.Key); err != nil {
			e.Fault = keyFault(err.Error())
		}
		return nil
	}
	id, body, err := avro.Frame(rec.Key)
	if err != nil {
		e.Fault = keyFault("key: " + err.Error())
		return nil
	}
	if r.lastKey == nil || id != r.lastKeyID || r.lastKey.unknown {
		p, err := r.src.keyProgram(ctx, id, rec)
		if err != nil {
			return err
		}
		r.lastKey, r.lastKeyID = p, id
	}
	if e.Fault = r.lastKey.fault; e.Fault != nil {
		return nil
	}
	if err := r.lastKey.decoder.Decode(e.Key, body); err != nil {
		e.Fault = keyFault("key: " + err.Error())
	}
	return nil
}

func keyFault(reason string) *schemas.Fault {
	return &schemas.Fault{Stage: schemas.StageKey, Reason: reason}
}

// rawKey reads a key as Kafka's serializers write it. Text aliases b.
func rawKey(kind string, b []byte) (schemas.Value, error) {
	text := unsafe.String(unsafe.SliceData(b), len(b)) // of a record, which is never reused
	switch kind {
	case "int", "long":
		size := 4
		if kind == "long" {
			size = 8
		}
		switch {
		case len(b) != size:
			return schemas.Value{}, fmt.Errorf("the key has %d bytes, %s keys have %d", len(b), kind, size)
		case size == 4:
			return schemas.IntValue(int64(int32(binary.BigEndian.Uint32(b)))), nil
		}
		return schemas.IntValue(int64(binary.BigEndian.Uint64(b))), nil
	case "bytes":
		return schemas.BytesValue(text), nil
	}
	if !utf8.ValidString(text) {
		return schemas.Value{}, errors.New("the key is not UTF-8 text")
	}
	if kind == "uuid" && !isUUID(text) {
		return schemas.Value{}, fmt.Errorf("the key %.40q is not a UUID such as 01234567-89ab-cdef-0123-456789abcdef", text)
	}
	return schemas.StringValue(text), nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// keyProgram returns how to read keys written with a schema id.
func (s *Source) keyProgram(ctx context.Context, id int, rec *schemas.Record) (*program, error) {
	return s.cached(ctx, s.keys, id, rec, schemas.StageKey, func(w *registry.Writer) (*program, error) {
		d, err := avro.Compile(w.Schema, s.def.Key.Reader, s.def.Key.Paths, avro.Options{})
		return &program{decoder: d}, err
	})
}

// keyWidth is how many fields a source's keys have.
func keyWidth(def *definition.Source) int {
	if !def.Table {
		return 0
	}
	return len(def.Key.Paths)
}
