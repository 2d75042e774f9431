package batch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/schemas"
)

// B1: rows are sorted by their prefixes first, which must agree with the order in
// which they are folded, for entities of one field or several, short and long.
func TestRowPrefix(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		// Both rows have the same first field and second fields of one length, more often
		// than chance would have it.
		field := func(n int) schemas.Value {
			return schemas.StringValue(strings.Repeat("a", n) + rapid.SampledFrom([]string{"a", "b", "\x00"}).Draw(r, "end"))
		}
		length := rapid.SampledFrom([]int{0, 1, 12, 13, 14, 15, 20})
		first, n := field(length.Draw(r, "length")), length.Draw(r, "length")
		fields := rapid.IntRange(0, 1).Draw(r, "fields")
		row := func() []byte {
			var entity []byte
			if fields > 0 {
				entity = first.Append(entity)
			}
			entity = field(max(0, n-rapid.IntRange(0, 1).Draw(r, "shorter"))).Append(entity)
			b := binary.BigEndian.AppendUint64(nil, rapid.Uint64Range(0, 2).Draw(r, "clock"))
			b = binary.BigEndian.AppendUint32(b, rapid.Uint32Range(0, 1).Draw(r, "partition"))
			b = binary.BigEndian.AppendUint64(b, rapid.Uint64Range(0, 2).Draw(r, "offset"))
			return append(binary.AppendUvarint(b, uint64(len(entity))), entity...)
		}
		a, b := row(), row()
		pa, pb := rowPrefix(a), rowPrefix(b)
		if c := slices.Compare(pa[:], pb[:]); c != 0 && cmp.Compare(c, 0) != cmp.Compare(compareRows(a, b), 0) {
			r.Fatalf("%x, %x: the prefixes order them %d, the rows %d", a, b, c, compareRows(a, b))
		}
		if c := compareRows(a, b); c == 0 && !bytes.Equal(a, b) {
			r.Fatalf("%x, %x: equal", a, b)
		}
	})
}
