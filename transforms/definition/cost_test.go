package definition

import (
	"strings"
	"testing"
)

func TestCost(t *testing.T) { // O5
	small, err := mustParse(t, base).Views[0].Cost()
	if err != nil {
		t.Fatal(err)
	}
	// 24 h + 1 h hop + 72 h lateness + 48 h, in tiles of 1 h, and 16 that stay longer; bare count needs no cell.
	if l := small.Levels[0]; len(small.Levels) != 1 || l.Tiles != 161 || l.Cells != 0 || len(small.Warnings) != 0 || small.OpenBytes != 0 {
		t.Errorf("%+v", small)
	}
	big, err := mustParse(t, strings.Replace(base, `count: "*", over: 24h`, "count_distinct: gate, over: [7d, 24h]", 1)).Views[0].Cost()
	if err != nil {
		t.Fatal(err)
	}
	if big.Levels[0].Cells != 1 || len(big.Warnings) != 1 || !strings.Contains(big.Warnings[0], "count_distinct keeps up to 8 KB") {
		t.Errorf("%+v", big)
	}
	ids, err := mustParse(t, example(t)).Views[0].Cost()
	if err != nil || ids.OpenBytes == 0 || len(ids.Levels) != 3 {
		t.Errorf("%+v, %v", ids, err)
	}
}
