package main

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
)

// B5, V6: an event time that no date has, which one broken producer sends, is future or
// late, and stands in the ledger by day: tables that have it are gone on from.
func TestContinueAfterFarEventTimes(t *testing.T) {
	t.Parallel()
	for name, et := range map[string]int64{
		"year 10000": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(),
		"year 0":     time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(),
		"before it":  time.Date(-1, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro(),
		"the first":  math.MinInt64 + 1,
		"the last":   math.MaxInt64,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateRig(t)
			g.days(3, nil)
			e := testbed.Event{Ent: "e1", ID: "far", Ver: 1, ET: et, Amt: 1}
			at := g.begin.AddDate(0, 0, g.next).Add(-time.Minute)
			if err := g.producer.ProduceSync(t.Context(), &kgo.Record{Topic: "ev", Partition: 0, Timestamp: at, Value: e.Bytes()}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			g.run(exitOK, "replay", "--out", filepath.Join(g.dir, "daily"))
			g.days(1, nil)
			g.run(exitOK, "replay", "--continue", "--out", filepath.Join(g.dir, "daily"))
			g.run(exitOK, "replay", "--out", filepath.Join(g.dir, "whole"))
			if d := differing(g.live("daily"), g.live("whole")); len(d) > 0 {
				t.Errorf("B5: %v differ", d)
			}
			a, _ := g.published("daily")
			b, _ := g.published("whole")
			if len(a.Info.Days) != len(b.Info.Days) {
				t.Errorf("%d days in the ledger, from the beginning %d", len(a.Info.Days), len(b.Info.Days))
			}
		})
	}
}
