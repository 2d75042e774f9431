package marker

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

func sample() Mark {
	return Mark{Phase: Live, TopicID: "abc", Next: 300, Clock: 5, Newest: schemas.Never, ValidFrom: -1,
		Ledger: transforms.Ledger{Applied: 1, Filtered: 2, Duplicate: 3, Superseded: 4, Late: 5, Future: 6, Invalid: 7, Conflicts: 8, SealedEarly: 9}, Token: 1<<63 | 7}
}

// The bytes stand in stores: they change only with Format.
func TestGolden(t *testing.T) {
	m := sample()
	const want = "010203616263d80405000000000000000000000000000080ffffffffffffffff" +
		"020406080a0c0e10120700000000000080"
	got := hex.EncodeToString(m.Append(nil))
	if got[:len(got)-8] != want {
		t.Errorf("got  %s\nwant %s + CRC32C", got, want)
	}
}

func TestRoundTripAndHostileBytes(t *testing.T) {
	m := sample()
	b := m.Append([]byte("x"))[1:]
	got, err := Parse(b)
	if err != nil || got != m {
		t.Fatalf("%+v, %v", got, err)
	}
	for n := range b { // cut short, or one bit turned
		flipped := append([]byte(nil), b...)
		flipped[n] ^= 1
		for _, bad := range [][]byte{b[:n], flipped} {
			if _, err := Parse(bad); err == nil {
				t.Fatalf("%x was accepted", bad)
			} else if _, ok := errors.AsType[*transforms.CorruptError](err); !ok {
				t.Fatalf("error %T", err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	m := sample()
	f.Add(m.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := Parse(b); err == nil {
			if _, err := Parse(m.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
