package definition

import (
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

const windowed = explainable + `      n: {count: "*", over: [2h, 7d, {days: 1}, {days: 3}, {days: 2, exclude_current: true}, {weeks: 1}, {months: 1}, lifetime]}
      r: {expr: n_7d + n_lifetime}
`

// V3: what is said of midnights is what the windows cover there, at each of them.
func TestMidnightWarnings(t *testing.T) {
	v := mustParse(t, windowed).Views[0]
	ws, err := v.Warnings()
	if err != nil {
		t.Fatal(err)
	}
	warned := map[string]string{}
	for _, w := range ws {
		warned[w.Features[0]] = w.Text
	}
	for _, f := range v.Spec.Features {
		always := f.Derived == nil && f.Window.Kind == transforms.Days
		for day := schemas.Micros(20_000); day < 20_400 && f.Derived == nil; day++ {
			midnight := day * schemas.Day
			lo, hi := f.Window.Span(midnight)
			begun := f.Window
			begun.N--
			if begun.N > 0 {
				begun.ExcludeCurrent = true
				a, b := begun.Span(midnight)
				always = always && lo == a && hi == b
			}
			always = always && !f.Window.ExcludeCurrent && hi-lo == schemas.Micros(f.Window.N-1)*schemas.Day
		}
		if _, ok := warned[f.Name]; ok != always {
			t.Errorf("%s: warned of: %v, lacks the day of t at each midnight: %v", f.Name, ok, always)
		}
	}
	if !strings.Contains(warned["n_cur_1d"], "always empty") || !strings.Contains(warned["n_cur_3d"], "covers the 2 days before only; write {days: 2, exclude_current: true}") {
		t.Errorf("%v", warned)
	}
}

// K8: a window is warned of when it can begin before the oldest record that is
// kept, a lateness when records can be gone before what they belong to is closed.
func TestRetentionWarnings(t *testing.T) {
	v := mustParse(t, windowed).Views[0]
	for _, c := range []struct {
		kept     schemas.Micros
		source   bool
		features []string
	}{
		{schemas.Hour, true, []string{"n_2h", "n_7d", "n_cur_1d", "n_cur_3d", "n_prev_2d", "n_cur_1w", "n_cur_1mo", "n_lifetime"}},
		{2 * schemas.Hour, true, []string{"n_7d", "n_cur_1d", "n_cur_3d", "n_prev_2d", "n_cur_1w", "n_cur_1mo", "n_lifetime"}},
		{3 * schemas.Day, false, []string{"n_7d", "n_cur_1w", "n_cur_1mo", "n_lifetime"}},
		{31 * schemas.Day, false, []string{"n_lifetime"}},
	} {
		if got := v.Source.KeptFor(c.kept); (len(got) > 0) != c.source {
			t.Errorf("kept for %v µs: %v", c.kept, got)
		}
		if got := v.KeptFor(c.kept); len(got) != 1 || !slices.Equal(got[0].Features, c.features) {
			t.Errorf("kept for %v µs: %v, want %v", c.kept, got, c.features)
		}
	}
	table := mustParse(t, tableBase).Views[0]
	if got := table.Source.KeptFor(400 * schemas.Day); len(got) != 1 || !strings.Contains(got[0].Text, "cleanup.policy=compact") || table.KeptFor(schemas.Day) != nil {
		t.Errorf("a table whose records are deleted: %v", got)
	}
	if got := mustParse(t, base).Views[0].KeptFor(schemas.Day); got != nil {
		t.Errorf("a window of a day that is kept: %v", got)
	}
}
