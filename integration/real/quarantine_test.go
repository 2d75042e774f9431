//go:build real

package real

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/cmd/wire"
)

// quarantined returns what lies in the quarantine, as view and position; copies,
// which a crash may leave, count once.
func (x *rig) quarantined() map[string]bool {
	x.Helper()
	topic := x.topic + ".quarantine"
	ends, err := x.admin().ListEndOffsets(x.ctx, topic)
	x.must(err)
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		x.must(o.Err)
		if o.Offset > 0 {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().AtStart(), o.Offset
		}
	})
	got := map[string]bool{}
	if len(left) == 0 {
		return got
	}
	c, err := x.kafka.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	x.must(err)
	defer c.Close()
	for len(left) > 0 {
		fs := c.PollFetches(x.ctx)
		x.must(fs.Err())
		fs.EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				if h.Key == wire.HeaderView {
					got[string(h.Value)+" "+string(r.Key)] = true
				}
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return got
}

// isolated: the quarantine holds every record of the log that the fold did not
// count, and no other one of this topic (V8).
func (f *fold) isolated(got map[string]bool, topicID string) {
	f.x.Helper()
	n := 0
	for at := range f.quarantined {
		if !got[at] {
			f.x.Errorf("V8: the quarantine lacks %s", at)
		}
		n++
	}
	for at := range got {
		of, known := strings.CutPrefix(at, f.view.Name+" "+topicID+"/")
		partition, _, _ := strings.Cut(of, "/")
		if known && partition != f.x.rewritten && !f.quarantined[at] {
			f.x.Errorf("V8: the quarantine holds %s, which a fold counts", at)
		}
	}
	if n == 0 {
		f.x.Errorf("view %s: nothing was to be quarantined", f.view.Name)
	}
}
