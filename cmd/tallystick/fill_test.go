package main

import (
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/log"
)

// Samples are of days long gone: a topic with the broker's timestamps, by which all
// would be late, is not filled.
func TestFillWantsProducersTimestamps(t *testing.T) {
	for kind, code := range map[string]int{log.LogAppendTime: exitFailed, log.CreateTime: exitOK} {
		kafka := testbed.Kafka(t)
		client, err := log.Open(t.Context(), log.Options{Brokers: kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.EnsureTopic(t.Context(), "orders", 2, map[string]string{"message.timestamp.type": kind}); err != nil {
			t.Fatal(err)
		}
		_, errs := tally(t, code, "fill", "--events", "10", "-f", initialised(t), "--brokers", kafka.ListenAddrs()[0])
		if code != exitOK && !strings.Contains(errs, "topic orders has LogAppendTime, by which all samples would be late") {
			t.Errorf("%s: %s", kind, errs)
		}
	}
}
