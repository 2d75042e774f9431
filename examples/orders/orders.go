// Package orders holds the project that `tallystick init` writes, and the events
// for its topic: made up, the same ones for the same seed, with what real ones
// bring along: copies, corrections, late and unsound events.
package orders

import (
	"embed"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/linkedin/goavro/v2"
)

// Files are the definition (tallystick.yaml), its schemas and a README.
//
//go:embed tallystick.yaml README.md schemas
var Files embed.FS

// Message is one Kafka record. Its key is the customer, so that whatever is said
// of an order stands in one partition.
type Message struct {
	Time  time.Time // the record's timestamp
	Key   []byte
	Value []byte // Confluent wire format
}

// Start is the time of the first order.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Days is how many days the messages are spread over, however many there are.
const Days = 30

// schemaID is the id of schemas/order.v1.avsc.
const schemaID = 1

// order is what a message says of an order.
type order struct {
	id, customer, category, channel, status string
	revision                                int32
	placed                                  time.Time
	cents                                   int64
	coupon                                  any
}

// delivery is a message on its way to the log.
type delivery struct {
	at time.Time
	order
}

// Events calls fn with n messages in the order of the log.
func Events(seed uint64, n int, fn func(Message) error) error {
	text, err := Files.ReadFile("schemas/order.v1.avsc")
	if err != nil {
		return err
	}
	codec, err := goavro.NewCodec(string(text))
	if err != nil {
		return err
	}
	for _, d := range deliveries(seed, n) {
		value, err := codec.BinaryFromNative(binary.BigEndian.AppendUint32([]byte{0}, schemaID), d.native())
		if err != nil {
			return fmt.Errorf("order %s: %w", d.id, err)
		}
		if err := fn(Message{Time: d.at, Key: []byte(d.customer), Value: value}); err != nil {
			return err
		}
	}
	return nil
}

func (o *order) native() map[string]any {
	return map[string]any{"order_id": o.id, "revision": o.revision, "placed_at": o.placed, "customer": o.customer, "category": o.category,
		"channel": o.channel, "status": o.status, "amount_cents": o.cents, "coupon": o.coupon}
}

// deliveries makes n messages up, sorted by when they arrive.
func deliveries(seed uint64, n int) []delivery {
	r := rand.New(rand.NewPCG(seed, 1))
	// More are made than are taken: else the log would end with days in which only
	// what is delayed arrives.
	all := n + n/10 + 10
	list := make([]delivery, 0, all+1)
	for i := 0; len(list) < all; i++ {
		// An order may bring a second message along: the place in time goes by messages.
		t := Start.Add(Days * 24 * time.Hour / time.Duration(n) * time.Duration(len(list)))
		list = append(list, said(r, placed(r, i, t.Add(within(r, time.Minute)).Truncate(time.Millisecond)))...)
	}
	slices.SortStableFunc(list, func(a, b delivery) int { return a.at.Compare(b.at) })
	return list[:n]
}

// within returns a duration of whole milliseconds below d.
func within(r *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(r.Int64N(d.Milliseconds())) * time.Millisecond
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

// placed makes an order up. Some customers order far more than others.
func placed(r *rand.Rand, i int, at time.Time) order {
	o := order{id: fmt.Sprintf("o%06d", i), customer: fmt.Sprintf("c%03d", min(r.IntN(200), r.IntN(200))), revision: 1, placed: at,
		category: pick(r, "books", "food", "garden", "games", "music", "tools"), channel: pick(r, "app", "web", "shop"),
		status: "placed", cents: 200 + r.Int64N(100)*r.Int64N(100)}
	if r.IntN(8) == 0 {
		o.coupon = map[string]any{"string": pick(r, "WELCOME", "WINTER")}
	}
	return o
}

// said returns the messages about an order. The lateness of the definition is a
// day: only what is delayed for longer is lost.
func said(r *rand.Rand, o order) []delivery {
	first := delivery{o.placed.Add(within(r, 30*time.Second)), o}
	second := first
	second.revision = 2
	switch chance := r.IntN(1000); {
	case chance < 30: // a producer that was not answered sends it again
		second.revision = 1
		second.at = first.at.Add(within(r, 10*time.Minute))
	case chance < 80: // cancelled
		second.status = "cancelled"
		second.at = first.at.Add(within(r, 20*time.Hour))
	case chance < 120: // corrected
		second.cents += 500
		second.at = first.at.Add(within(r, 20*time.Hour))
	case chance < 125: // the correction overtakes what it corrects
		first.at = second.at.Add(time.Minute + within(r, time.Hour))
	case chance < 150: // the till was offline for a while,
		first.at = first.at.Add(within(r, 20*time.Hour))
		return []delivery{first}
	case chance < 154: // or for days
		first.at = first.at.Add(30*time.Hour + within(r, 48*time.Hour))
		return []delivery{first}
	case chance < 156: // breaks an expectation
		first.cents = -first.cents
		return []delivery{first}
	case chance < 157: // a clock that is ahead
		first.placed = first.placed.Add(time.Hour)
		return []delivery{first}
	default:
		return []delivery{first}
	}
	return []delivery{first, second}
}
