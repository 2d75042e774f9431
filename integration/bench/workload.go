//go:build real

package main

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
)

// The workload: purchases of 100,000 users over ten days, a pure function of the
// seed. Its benchmarks and others' figures rest on these constants and on the
// order of the draws in next.
const (
	allEvents = 10_000_000
	users     = 100_000
	begin     = 1767225600_000000 // 2026-01-01T00:00:00Z, in µs
	apart     = 86_400            // µs between arrivals
	ahead     = 30_000_000        // µs from arrival to the record's timestamp
	schemaID  = 1
)

var currencies = [...]string{"EUR", "USD", "GBP", "INR", "JPY"}

// purchase is an event of the workload. Instants are µs since 1970.
type purchase struct {
	user     uint64
	id       uint64
	merchant int
	cents    int
	currency int
	at       int64 // event time
	stamp    int64 // of the record
}

// workload is how many events of how many users; hot: one of these has half of all
// events.
type workload struct {
	events, users int
	hot           bool
}

// hotUser is no user of the workload.
const hotUser = 1_000_000_000

// generator makes the workload's events up.
type generator struct {
	r   *rand.Rand
	z   *rand.Zipf
	hot *rand.Rand // whether an event is the hot user's; nil = there is none
	n   int64
}

func newGenerator() *generator { return workload{users: users}.generator() }

func (w workload) generator() *generator {
	r := rand.New(rand.NewPCG(1, 1))
	g := &generator{r: r, z: rand.NewZipf(r, 1.1, 1, uint64(w.users-1))}
	if w.hot {
		g.hot = rand.New(rand.NewPCG(3, 3))
	}
	return g
}

// bytes is how many the keys and values have.
func (w workload) bytes() (n int64) {
	g, p := w.generator(), purchase{}
	for i := range w.events {
		g.next(&p, begin+int64(i)*apart)
		key := appendUser(nil, p.user)
		n += int64(len(key) + len(p.append(nil, key)))
	}
	return n
}

// next draws the next event, which arrives at the given instant.
func (g *generator) next(p *purchase, arrival int64) {
	p.user = g.z.Uint64()
	if g.hot != nil && g.hot.IntN(2) == 0 { // the other draws stay what they are
		p.user = hotUser
	}
	p.id = g.r.Uint64()
	p.merchant = g.r.IntN(10_000)
	p.cents = 1 + g.r.IntN(50_000)
	p.currency = g.r.IntN(len(currencies))
	p.at = arrival + g.r.Int64N(60_000_001) - 30_000_000
	if g.r.IntN(100) == 0 {
		p.at -= g.r.Int64N(3600_000_000)
	}
	p.stamp = arrival + ahead
	g.n++
}

// appendUser appends a user's name, the record's key.
func appendUser(b []byte, user uint64) []byte {
	return strconv.AppendUint(append(b, 'u'), user, 10)
}

// append appends the event as a serializer of a Schema Registry writes it.
func (p *purchase) append(b []byte, user []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, 0), schemaID)
	var id [16]byte
	const digits = "0123456789abcdef"
	for i, x := 15, p.id; i >= 0; i, x = i-1, x>>4 {
		id[i] = digits[x&15]
	}
	b = appendText(b, id[:])
	b = appendText(b, user)
	b = binary.AppendVarint(b, int64(p.merchant))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(p.cents)/100))
	b = appendText(b, currencies[p.currency])
	return binary.AppendVarint(b, p.at)
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

// decoded is an event read by hand; its texts alias the record.
type decoded struct {
	id, user, currency []byte
	merchant           int64
	amount             float64
	at                 int64
}

var errRecord = errors.New("a record is not the workload's")

// decode reads every field, as a hand-written consumer would.
func (d *decoded) decode(b []byte) error {
	if len(b) < 5 || b[0] != 0 || binary.BigEndian.Uint32(b[1:]) != schemaID {
		return errRecord
	}
	var w int
	if b = text(b[5:], &d.id); b == nil {
		return errRecord
	}
	if b = text(b, &d.user); b == nil {
		return errRecord
	}
	if d.merchant, w = binary.Varint(b); w <= 0 || len(b) < w+8 {
		return errRecord
	}
	d.amount = math.Float64frombits(binary.LittleEndian.Uint64(b[w:]))
	if b = text(b[w+8:], &d.currency); b == nil {
		return errRecord
	}
	if d.at, w = binary.Varint(b); w <= 0 {
		return errRecord
	}
	return nil
}

// text reads a text and returns what follows, nil where there is none.
func text(b []byte, s *[]byte) []byte {
	n, w := binary.Varint(b)
	if w <= 0 || n < 0 || n > int64(len(b)-w) {
		return nil
	}
	*s = b[w : w+int(n)]
	return b[w+int(n):]
}
