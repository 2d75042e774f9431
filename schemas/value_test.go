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
