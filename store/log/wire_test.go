package log

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// mixStamps fills partition 0 of an empty topic: offsets 0 and 1 with
// CreateTime, offset 2 with LogAppendTime. kfake spoils the checksum of
// LogAppendTime batches, so the batches are caught when produced and fetches
// are answered with them from here.
func (r *rig) mixStamps(topic string) {
	r.Helper()
	var (
		mu      sync.Mutex
		batches [][]byte
	)
	r.k.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.k.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		batches = append(batches, slices.Clone(req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records))
		return nil, nil, false
	})
	for _, v := range []string{"a", "b", "c"} {
		r.produce(topic, 0, v)
	}
	for i, b := range batches {
		binary.BigEndian.PutUint64(b, uint64(i)) // base offset, outside the checksum
	}
	stampByBroker(batches[2])
	id := r.rawID(topic)
	r.k.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.k.KeepControl()
		fr := req.(*kmsg.FetchRequest)
		if len(fr.Topics) != 1 || len(fr.Topics[0].Partitions) != 1 || fr.Topics[0].Partitions[0].FetchOffset > 2 {
			return nil, nil, false
		}
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.HighWatermark, rp.LastStableOffset = 3, 3
		rp.RecordBatches = slices.Concat(batches[fr.Topics[0].Partitions[0].FetchOffset:]...)
		rt := kmsg.NewFetchResponseTopic()
		rt.TopicID = id
		rt.Partitions = append(rt.Partitions, rp)
		resp := fr.ResponseKind().(*kmsg.FetchResponse)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
}

// stampByBroker sets the timestamp type of a v2 record batch to LogAppendTime:
// bit 3 of the attributes at byte 21, covered by the checksum at byte 17.
func stampByBroker(b []byte) {
	b[22] |= 0x08
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}
