package schemas

import (
	"math"
	"testing"
)

// A day begins at midnight UTC and floors towards minus infinity, also where its
// midnight is no instant any more.
func TestDays(t *testing.T) {
	for at, want := range map[Micros]int64{0: 0, Day - 1: 0, Day: 1, -1: -1, -Day: -1, -Day - 1: -2, math.MaxInt64: 106_751_991, math.MinInt64: -106_751_992} {
		if got := at.Days(); got != want {
			t.Errorf("%d µs lies on day %d, not %d", int64(at), want, got)
		}
	}
}

// What ParseValue returns is independent of what it was read from; what ParseAlias
// returns is the same value.
func TestParsedTextIsCopied(t *testing.T) {
	for _, v := range []Value{StringValue("text"), BytesValue("bytes"), StringValue(""), ListValue([]Value{StringValue("a"), StringValue("b")}), IntValue(7)} {
		b := v.Append(nil)
		alias, n := ParseAlias(b)
		parsed, m := ParseValue(b)
		if alias != v || n != len(b) || m != n {
			t.Errorf("%v: aliased %v, %d and %d of %d bytes", v, alias, n, m, len(b))
		}
		clear(b)
		if parsed != v {
			t.Errorf("%v has changed with the bytes that it was read from", v)
		}
	}
	b := []byte("bytes")
	if v := BytesAlias(b); v != BytesValue("bytes") || BytesAlias(nil) != BytesValue("") {
		t.Errorf("bytes alias as %v", v)
	}
}
