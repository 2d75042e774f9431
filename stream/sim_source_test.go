package stream

import (
	"context"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/reading"
)

// reader is the log as one worker reads it.
type reader struct {
	s *sim
	o *owner
}

func (r *reader) Cut(context.Context) (schemas.TopicCut, error) {
	cut := schemas.TopicCut{TopicID: r.s.topicID, Partitions: map[int32]schemas.PartitionCut{}}
	if r.o.dead {
		return cut, errCrash
	}
	for p, end := range r.s.visible {
		cut.Partitions[int32(p)] = schemas.PartitionCut{Start: r.s.begin, End: end}
	}
	return cut, nil
}

func (r *reader) Assign(_ context.Context, at map[int32]int64) error {
	if r.o.dead {
		return errCrash
	}
	for p, o := range at {
		r.o.pos[p] = o
	}
	return nil
}

func (r *reader) Remove(ps ...int32) {
	for _, p := range ps {
		delete(r.o.pos, p)
	}
}

// Poll returns a few records of some partitions. The position may move over a
// gap with or without the record behind it.
func (r *reader) Poll(_ context.Context, wait time.Duration) ([]Batch, error) {
	if err := r.s.fault(r.o, true); err != nil {
		return nil, err
	}
	var out []Batch
	for p := range int32(len(r.s.logs)) {
		pos, ok := r.o.pos[p]
		if !ok || pos >= r.s.visible[p] || r.s.chance() < 300 {
			continue
		}
		b := Batch{Partition: p, Next: pos, Stable: r.s.visible[p]}
		n := r.s.r.IntN(6)
		for _, e := range r.s.logs[p] {
			if e.offset < pos || e.offset >= r.s.visible[p] {
				continue
			}
			b.Next = max(b.Next, e.offset)
			if len(b.Records) >= n {
				break
			}
			b.Records = append(b.Records, e.record(p))
			b.Next = e.offset + 1
		}
		if b.Next > pos {
			r.o.pos[p] = b.Next
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		r.s.now = r.s.now.Add(wait)
	}
	return out, nil
}

// flaky reads like s.records, but its registry is away at times.
func (s *sim) flaky() *reading.Source {
	return reading.NewSource(s.view, &resolver{Resolver: testbed.Writers(s.view), fail: func() bool { return s.chance() < 300 }})
}
