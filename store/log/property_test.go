package log

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
)

// model is what a random log holds and what is to be read of it.
type model struct {
	*rig
	rnd     *rand.Rand
	visible map[int32][]string // in offset order, as show prints
	offsets map[int32][]int64  // of visible
	end     map[int32]int64    // log end
	txns    int
}

const modelParts = 3

// record makes a random record, its kind as show prints it.
func (m *model) record() (*kgo.Record, string) {
	r := &kgo.Record{Topic: "t", Partition: int32(m.rnd.IntN(modelParts)), Timestamp: time.UnixMilli(m.rnd.Int64N(1e12))}
	switch m.rnd.IntN(4) {
	case 0:
		r.Headers = []kgo.RecordHeader{{Key: schemas.TickHeader}}
		return r, "tick"
	case 1:
		r.Key = []byte("k")
		return r, "null"
	}
	v := fmt.Sprint("v", m.rnd.IntN(1000))
	r.Value = []byte(v)
	return r, v
}

// send produces n random records, as one or more batches.
func (m *model) send(kc *kgo.Client, n int) (touched map[int32]bool, commit func()) {
	touched = map[int32]bool{}
	var rs []*kgo.Record
	var kinds []string
	for range n {
		r, kind := m.record()
		rs, kinds = append(rs, r), append(kinds, kind)
		touched[r.Partition] = true
	}
	m.rig.send(kc, rs...)
	for _, r := range rs {
		m.end[r.Partition] = max(m.end[r.Partition], r.Offset+1)
	}
	return touched, func() {
		for i, r := range rs {
			m.visible[r.Partition] = append(m.visible[r.Partition], fmt.Sprintf("%d:%s", r.Offset, kinds[i]))
			m.offsets[r.Partition] = append(m.offsets[r.Partition], r.Offset)
		}
	}
}

// step appends something random: plain records or a whole transaction.
func (m *model) step(plain *kgo.Client) {
	n := 1 + m.rnd.IntN(5)
	if m.rnd.IntN(2) == 0 {
		_, commit := m.send(plain, n)
		commit()
		return
	}
	m.txns++
	kc := m.txn(fmt.Sprint("txn", m.txns))
	defer kc.Close()
	touched, commit := m.send(kc, n)
	if m.rnd.IntN(2) == 0 {
		m.rig.end(kc, kgo.TryCommit)
		commit()
	} else {
		m.rig.end(kc, kgo.TryAbort)
	}
	for p := range touched {
		m.end[p]++ // the marker
	}
}

// between returns what is visible of p in [from, to).
func (m *model) between(p int32, from, to int64) []string {
	i, _ := slices.BinarySearch(m.offsets[p], from)
	j, _ := slices.BinarySearch(m.offsets[p], to)
	return m.visible[p][i:j]
}

// build fills a fresh cluster's topic.
func build(t *testing.T, seed uint64) *model {
	m := &model{
		rig: newRig(t, kfake.NumBrokers(2)), rnd: rand.New(rand.NewPCG(seed, 1)),
		visible: map[int32][]string{}, offsets: map[int32][]int64{}, end: map[int32]int64{},
	}
	m.create("t", modelParts, nil)
	plain := testbed.Producer(t, m.k, "")
	for range 40 {
		m.step(plain)
	}
	return m
}

// TestReadProperty: any range of a random log, read with any fetch size and
// parallelism, gives exactly what was committed in it, in order, and what a
// Tailer delivers of it is the same (K1, K2, K7).
func TestReadProperty(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			m := build(t, seed)
			hanging := m.txn("hanging") // everything below it stays readable
			m.rig.send(hanging, &kgo.Record{Topic: "t", Value: []byte("h")})
			cut, err := m.c.Cut(m.ctx, "t")
			m.must(err)
			for p := range int32(modelParts) {
				equal(t, cut.Topics["t"].Partitions[p], schemas.PartitionCut{End: m.end[p]})
			}
			clients := map[int32]*Client{1 << 20: m.c, 1: m.open(Options{FetchBytes: 1}), 300: m.open(Options{FetchBytes: 300})}
			sizes := slices.Sorted(maps.Keys(clients))
			rapid.Check(t, func(rt *rapid.T) {
				m.checkRead(rt, clients[rapid.SampledFrom(sizes).Draw(rt, "fetch bytes")], cut.Topics["t"])
			})
			tl := m.tail("t", map[int32]int64{0: 0, 1: 0, 2: 0})
			got := m.until(tl, m.end)
			for p := range int32(modelParts) {
				equal(t, got[p], m.visible[p])
			}
			m.rig.end(hanging, kgo.TryAbort)
		})
	}
}

func (m *model) checkRead(rt *rapid.T, c *Client, whole schemas.TopicCut) {
	tc := schemas.TopicCut{TopicID: whole.TopicID, TimestampType: whole.TimestampType, Partitions: map[int32]schemas.PartitionCut{}}
	for p, pc := range whole.Partitions {
		if rapid.Bool().Draw(rt, "whole") {
			tc.Partitions[p] = pc
			continue
		}
		from := rapid.Int64Range(0, pc.End).Draw(rt, "from")
		tc.Partitions[p] = schemas.PartitionCut{Start: from, End: rapid.Int64Range(from, pc.End).Draw(rt, "to")}
	}
	var mu sync.Mutex
	got := map[int32][]string{}
	busy := map[int32]bool{}
	err := c.ReadCut(m.ctx, "t", tc, rapid.IntRange(0, 4).Draw(rt, "parallel"), func(p int32, rs []schemas.Record) error {
		mu.Lock()
		if busy[p] || len(rs) == 0 {
			rt.Errorf("partition %d: concurrent or empty call", p)
		}
		busy[p] = true
		mu.Unlock()
		var seen []string
		for i := range rs {
			seen = append(seen, show(&rs[i]))
		}
		mu.Lock()
		defer mu.Unlock()
		busy[p] = false
		got[p] = append(got[p], seen...)
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	for p, pc := range tc.Partitions {
		if want := m.between(p, pc.Start, pc.End); !slices.Equal(got[p], want) {
			rt.Errorf("partition %d offsets %d to %d:\ngot  %v\nwant %v", p, pc.Start, pc.End, got[p], want)
		}
	}
}
