package log

import (
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/schemas"
)

// K1, K3: a cut that the log cannot be read up to is refused before it is read;
// one that lies behind the log's end, or at it, is not.
func TestCheckCut(t *testing.T) {
	r := newRig(t)
	r.create("t", 2, nil)
	for range 3 {
		r.produce("t", 1, "x")
	}
	hanging := r.txn("hanging")
	r.send(hanging, &kgo.Record{Topic: "t", Partition: 1, Value: []byte("not yet stable")})
	defer r.end(hanging, kgo.TryAbort)
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	at := cut.Topics["t"]
	for end, want := range map[int64]bool{0: true, 2: true, 3: true, 4: false, 99: false} {
		tc := at
		tc.Partitions = maps.Clone(at.Partitions)
		tc.Partitions[1] = schemas.PartitionCut{End: end}
		begin := time.Now()
		err := r.c.CheckCut(r.ctx, "t", tc)
		if want {
			r.must(err)
			continue
		}
		if e := wantErr[*ShrunkError](t, err); e.Topic != "t" || e.Partition != 1 || e.Needed != end || e.Have != 3 {
			t.Errorf("%+v", e)
		}
		if took := time.Since(begin); took > 4*time.Second { // Read waits for RetryFor
			t.Errorf("refused after %v", took)
		}
	}
	tc := at
	tc.TopicID = "AAAAAAAAAAAAAAAAAAAAAA"
	wantErr[*RecreatedError](t, r.c.CheckCut(r.ctx, "t", tc))
	tc = at
	tc.Partitions = map[int32]schemas.PartitionCut{7: {}}
	wantErr[*FewerPartitionsError](t, r.c.CheckCut(r.ctx, "t", tc))
}

// K7: ticks are appended to all partitions that are named, or to none.
func TestTickNowhereElse(t *testing.T) {
	r := newRig(t)
	r.create("t", 2, nil)
	for _, p := range []int32{2, -1} {
		_, err := r.c.Tick(r.ctx, "t", 0, p)
		if e := wantErr[*MissingPartitionError](t, err); e.Partition != p || e.Have != 2 {
			t.Errorf("%+v", e)
		}
	}
	cut, err := r.c.Cut(r.ctx, "t")
	r.must(err)
	for p, pc := range cut.Topics["t"].Partitions {
		if pc.End != 0 {
			t.Errorf("partition %d has %d records", p, pc.End)
		}
	}
}
