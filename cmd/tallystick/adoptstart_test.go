package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tallystick/tallystick/store/offline"
)

// K3, K8: what tables have of before the log's start is not taken away by a replay that
// was to go on from them, and one that replaces them says what goes, and where it is left.
func TestAdoptedStartBesideLongerTables(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(6, nil)
	g.replay(exitOK, "t")
	was, _ := g.published("t")
	start := g.begin.AddDate(0, 0, 4)
	admin := kadm.NewClient(g.producer)
	begins, err := admin.ListOffsetsAfterMilli(t.Context(), start.UnixMilli(), "ev")
	if err == nil {
		_, err = admin.DeleteRecords(t.Context(), begins.Offsets())
	}
	if err != nil {
		t.Fatal(err)
	}
	g.days(1, nil)
	args := []string{"replay", "--adopt-start", "--start-clock", start.Format(time.RFC3339), "--gate", "report", "--out", filepath.Join(g.dir, "t")}

	text, err := os.ReadFile(g.definition)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(text), "s: {sum: amt", "total: {sum: amt", 1)
	if err := os.WriteFile(g.definition, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{append(slices.Clone(args), "--continue"),
		{"replay", "plan", "--continue", "--adopt-start", "--start-clock", start.Format(time.RFC3339), "--out", filepath.Join(g.dir, "t")}} {
		said := g.run(exitFailed, args...)
		if !strings.Contains(said, "--continue: the tables have other columns, and of partition 0 they begin at offset 0, the log at ") {
			t.Errorf("K3: %s", said)
		}
	}
	if now, _ := g.published("t"); !maps.Equal(now.Versions, was.Versions) {
		t.Fatalf("versions %v, they were %v", now.Versions, was.Versions)
	}
	if err := os.WriteFile(g.definition, text, 0o600); err != nil {
		t.Fatal(err)
	}

	before := datesOf(g.live("t"))
	replay := func() replayedView {
		t.Helper()
		var r replayOutput
		if err := json.NewDecoder(strings.NewReader(g.run(exitOK, append(slices.Clone(args), "--json")...))).Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r.Views[0]
	}
	v := replay()
	now := datesOf(g.live("t"))
	gone := datesBefore(before, now[0])
	want := &goneOutput{From: gone[0], To: gone[len(gone)-1], Dates: len(gone), Version: was.Versions[offline.Features]}
	if len(gone) < 3 || len(v.BeginsAfter) != 3 || v.BeginsAfter[0] != 0 || v.DatesGone == nil || *v.DatesGone != *want {
		t.Errorf("K3: begins after %v, gone %+v, are %+v", v.BeginsAfter, v.DatesGone, want)
	}
	if v := replay(); v.BeginsAfter != nil || v.DatesGone != nil {
		t.Errorf("nothing goes the second time: %v, %+v", v.BeginsAfter, v.DatesGone)
	}
}

// K3: tables of a topic that was created again are replaced, but not by --continue; it
// is told.
func TestTopicCreatedAgainBesideTables(t *testing.T) {
	t.Parallel()
	g := newGateRig(t)
	g.days(6, nil)
	g.replay(exitOK, "t")
	admin := kadm.NewClient(g.producer)
	if _, err := admin.DeleteTopics(t.Context(), "ev"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopics(t.Context(), 3, 1, nil, "ev"); err != nil {
		t.Fatal(err)
	}
	g.producer.PurgeTopicsFromClient("ev")
	g.days(2, nil)
	before := datesOf(g.live("t"))
	out := filepath.Join(g.dir, "t")
	if said := g.run(exitFailed, "replay", "--continue", "--out", out); !strings.Contains(said, "--continue: the topic was created again, and the tables have records of the one before: ") {
		t.Errorf("K3: %s", said)
	}
	said := g.run(exitOK, "replay", "--gate", "report", "--out", out)
	gone := datesBefore(before, datesOf(g.live("t"))[0])
	if want := fmt.Sprintf("without %d dates that the tables have, %s to %s: ", len(gone), gone[0], gone[len(gone)-1]); len(gone) < 5 || !strings.Contains(said, want) {
		t.Errorf("K3: %q is not in\n%s", want, said)
	}
}

// datesOf returns the dates of which files of features are.
func datesOf(files map[string]string) []string {
	dates := map[string]bool{}
	for name := range files {
		if rest, ok := strings.CutPrefix(name, "features/event_date="); ok {
			dates[rest[:len("2026-01-01")]] = true
		}
	}
	return slices.Sorted(maps.Keys(dates))
}

func datesBefore(dates []string, date string) []string {
	n, _ := slices.BinarySearch(dates, date)
	return dates[:n]
}
