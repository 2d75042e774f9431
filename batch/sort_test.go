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
		row := func() []byte {
			entity := []byte(nil)
			for range rapid.IntRange(1, 2).Draw(r, "fields") {
				text := strings.Repeat("a", rapid.SampledFrom([]int{0, 1, 13, 14, 15, 16, 21}).Draw(r, "length")) + rapid.SampledFrom([]string{"", "b", "\x00", "c"}).Draw(r, "end")
				entity = schemas.StringValue(text).Append(entity)
			}
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
