package avro

import (
	"encoding/binary"
	"fmt"
)

// Frame splits a record's value in the Confluent wire format (byte 0, schema id
// as 4 bytes big-endian, body) into schema id and body. The body aliases value.
// The error is a *FrameError.
func Frame(value []byte) (id int, body []byte, err error) {
	if len(value) < 5 {
		return 0, nil, &FrameError{Len: len(value), Reason: "shorter than the 5 bytes of its header"}
	}
	if value[0] != 0 {
		return 0, nil, &FrameError{Len: len(value), Reason: fmt.Sprintf("first byte is 0x%02x, not the magic 0x00: was it written by a Schema Registry serializer?", value[0])}
	}
	u := binary.BigEndian.Uint32(value[1:])
	if u > 1<<31-1 {
		return 0, nil, &FrameError{Len: len(value), Reason: fmt.Sprintf("schema id %d is beyond the greatest one, 2147483647", u)}
	}
	return int(u), value[5:], nil
}
