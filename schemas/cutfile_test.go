package schemas

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// K1: a cut file is read as it was written, and nothing that differs from what
// is written passes for less than it says.
func TestCutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cut.json")
	clock := Micros(7)
	want := &Cut{Topics: map[string]TopicCut{"t": {TopicID: "AAECAwQFBgcICQoLDA0ODw", TimestampType: "CreateTime",
		Partitions: map[int32]PartitionCut{0: {End: 5, Clock: &clock}, 11: {Start: 3, End: 3, Idle: &clock}}}}}
	b, err := json.MarshalIndent(want, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(b, '\n'), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := LoadCut(path)
	if err != nil {
		t.Fatal(err)
	}
	g := got.Topics["t"]
	if g.TopicID != "AAECAwQFBgcICQoLDA0ODw" || g.TimestampType != "CreateTime" || len(g.Partitions) != 2 || *g.Partitions[0].Clock != 7 || g.Partitions[11].End != 3 || *g.Partitions[11].Idle != 7 {
		t.Errorf("%+v", got)
	}
	text, _ := os.ReadFile(path)
	for from, to := range map[string]string{`"11"`: `"011"`, `"topic_id"`: `"topicid"`, `"end": 5`: `"end": 5, "ende": 6`, `"CreateTime"`: `"created"`,
		"\n}\n": "\n}\n{}", `"start": 0`: `"start": 9`, `"AAECAwQFBgcICQoLDA0ODw"`: `""`,
		`AwQF`: `AwQ`, `DA0ODw`: `DA0ODx`} {
		bad := strings.Replace(string(text), from, to, 1)
		if bad == string(text) {
			t.Fatalf("%s is not there", from)
		}
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCut(path); err == nil || !strings.Contains(err.Error(), "tallystick cut") {
			t.Errorf("%s instead of %s: %v", to, from, err)
		}
	}
}

// A cut's faults are told in one order, topics and partitions ascending.
func TestCutFaultsInOrder(t *testing.T) {
	broken := map[int32]PartitionCut{2: {Start: 1}, 0: {Start: 1}, 1: {Start: 1}}
	c := &Cut{Topics: map[string]TopicCut{"b": {Partitions: broken}, "a": {Partitions: broken}}}
	want := `topic a has no topic_id
topic a partition 0: offsets 1 to 0 are not a range
topic a partition 1: offsets 1 to 0 are not a range
topic a partition 2: offsets 1 to 0 are not a range
topic b has no topic_id
topic b partition 0: offsets 1 to 0 are not a range
topic b partition 1: offsets 1 to 0 are not a range
topic b partition 2: offsets 1 to 0 are not a range`
	for range 20 {
		if got := c.Validate().Error(); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
}
