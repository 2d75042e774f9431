package log

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A leader that was elected just now does not know for a while how far its log is
// stable: that passes, and a cut waits for it. Where it does not pass, it is told.
func TestCutWaitsForOffsets(t *testing.T) {
	r := newRig(t)
	r.create("t", 1, nil)
	r.produce("t", 0, "a")
	var times atomic.Int64
	r.k.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.k.KeepControl()
		if times.Add(-1) < 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range req.(*kmsg.ListOffsetsRequest).Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.OffsetNotAvailable.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	times.Store(3)
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	if end := cut.Topics["t"].Partitions[0].End; end != 1 || times.Load() > 0 {
		t.Errorf("the cut ends at %d, %d refusals left", end, times.Load())
	}
	times.Store(1 << 30)
	impatient := r.open(Options{RetryFor: 200 * time.Millisecond})
	if _, err := impatient.Cut(r.ctx, "t"); !errors.Is(err, kerr.OffsetNotAvailable) {
		t.Errorf("offsets that never come: %v", err)
	}
}
