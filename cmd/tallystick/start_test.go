package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
)

// K8: of a truncated partition that holds no record the start's clock is not
// known, so no window is complete unless the operator states it.
func TestTruncatedToNothing(t *testing.T) {
	kafka := testbed.Kafka(t)
	producer := testbed.Producer(t, kafka, "")
	admin := kadm.NewClient(producer)
	bound := "3600000"
	if _, err := admin.CreateTopic(t.Context(), 2, 1, map[string]*string{"message.timestamp.after.max.ms": &bound}, "ev"); err != nil {
		t.Fatal(err)
	}
	const at = int64(1_700_000_000_000_000)
	for p := range int32(2) {
		value := testbed.Event{Ent: "a", ID: "i", Ver: 1, ET: at, Amt: 1}.Bytes()
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "ev", Partition: p, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var gone kadm.Offsets
	gone.AddOffset("ev", 1, 1, -1)
	if _, err := admin.DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"ev.avsc": testbed.EventSchema, "labels.csv": "ent,t\na,2023-11-15T00:00:00Z\n",
		"d.yaml": strings.Replace(testbed.EventDefinition, "    lateness: 1h\n", "    lateness: 87600h\n", 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	train := func(args ...string) string {
		out, _ := tally(t, exitOK, append([]string{"train", "-f", filepath.Join(dir, "d.yaml"), "--brokers", kafka.ListenAddrs()[0], "--view", "v",
			"--labels", filepath.Join(dir, "labels.csv"), "-o", filepath.Join(dir, "out.parquet"), "--json", "--adopt-start"}, args...)...)
		return out
	}
	if out := train(); !strings.Contains(out, "INCOMPLETE") || strings.Contains(out, "PRESENT") {
		t.Errorf("windows count as complete:\n%s", out)
	}
	for range 2 { // the second run reads what the first has published
		tally(t, exitOK, "replay", "-f", filepath.Join(dir, "d.yaml"), "--brokers", kafka.ListenAddrs()[0], "--out", filepath.Join(dir, "out"), "--adopt-start")
	}
	if out := train("--start-clock", "2001-01-01T00:00:00Z"); !strings.Contains(out, "PRESENT") {
		t.Errorf("a stated clock is not heeded:\n%s", out)
	}
}
