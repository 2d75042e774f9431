//go:build real

package real

import (
	"testing"

	"github.com/tallystick/tallystick/integration/servers"
)

// The happy path, on whatever servers there are: a worker follows the log and is
// stopped; nothing differs (O1).
func TestStream(t *testing.T) {
	k, err := servers.StartKafka(t.Context(), servers.KafkaOptions{})
	servers.Check(t, err)
	t.Cleanup(k.Close)
	r, err := servers.StartRedis(t.Context(), false)
	servers.Check(t, err)
	t.Cleanup(r.Close)
	x := newRig(t, setup{fault: "nothing", kafka: k, redis: r})
	x.Logf("Kafka from %s, Redis from %s", k.From, r.From)
	x.produce(4_000)
	w := x.start()
	x.produce(4_000)
	x.last()
	w.stop()
	x.verdict()
}
