package schemas

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A name that is mistyped, cut short, given without its path or in another case
// is found again; what resembles nothing gets no hint.
func TestSimilar(t *testing.T) {
	fields := []string{"event_time", "tailnum", "dep_delay_min", "rider.tier", "rider.name", "driver.tier", "status", "Fare", "v"}
	for name, want := range map[string]string{
		"event_tme": "[event_time]", "tail": "[tailnum]", "dep_delay": "[dep_delay_min]", "tier": "[driver.tier rider.tier]",
		"rider.teir": "[rider.tier]", "statsu": "[status]", "fair": "[Fare]", "fare": "[Fare]", "w": "[v]",
		"altitude": "[]", "": "[v]", strings.Repeat("x", similarLen+1): "[]",
	} {
		if got := fmt.Sprint(Similar(name, fields)); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if got := Similar("order", []string{"orders4", "orders3", "orders2", "orders1", "order"}); fmt.Sprint(got) != "[order orders1 orders2]" {
		t.Errorf("not the three best, by name where equal: %v", got)
	}
}

// distance is a metric: nothing only between equals, the same both ways, never
// shorter by a detour.
func TestDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	word := func() string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 5000 {
		a, b, c := word(), word(), word()
		ab := distance(a, b, 9)
		if (ab == 0) != (a == b) || ab != distance(b, a, 9) || ab > distance(a, c, 9)+distance(c, b, 9) {
			t.Fatalf("%q, %q and %q: %d, %d, %d", a, b, c, ab, distance(a, c, 9), distance(c, b, 9))
		}
		if limit := r.IntN(5); min(distance(a, b, limit), limit+1) != min(ab, limit+1) {
			t.Fatalf("%q and %q within %d: %d, without a limit %d", a, b, limit, distance(a, b, limit), ab)
		}
	}
}
