package stream

import (
	"context"
	"slices"
)

// Changes implements Membership.
func (o *owner) Changes(context.Context) ([]Change, error) {
	if o.dead {
		return nil, errCrash
	}
	q := o.queue
	o.queue = nil
	return q, nil
}

// rejoin: a process begins anew. What the group waited for is given up, as its
// session is over.
func (o *owner) rejoin() {
	for _, c := range o.queue {
		if c.Done != nil {
			c.Done()
		}
	}
	o.queue = []Change{{Assigned: slices.Clone(o.parts)}}
}

// rebalance moves a partition to a worker: in good order, which is after the other
// has given it up; late, when that writes while it is another's already; lost, of
// which it is told no earlier; or behind its back, a zombie that is never told.
func (s *sim) rebalance(o *owner) {
	p := int32(s.r.IntN(len(s.logs)))
	other := s.owners[1-o.id]
	if slices.Contains(o.parts, p) {
		return
	}
	give := func() {
		if !slices.Contains(o.parts, p) {
			o.parts = append(o.parts, p)
			o.queue = append(o.queue, Change{Assigned: []int32{p}})
		}
	}
	how := s.r.IntN(4)
	i := slices.Index(other.parts, p)
	if i < 0 || how == 3 {
		give()
		return
	}
	other.parts = slices.Delete(other.parts, i, i+1)
	switch how {
	case 0:
		other.queue = append(other.queue, Change{Revoked: []int32{p}, Done: give})
	case 1:
		other.queue = append(other.queue, Change{Revoked: []int32{p}})
		give()
	case 2:
		other.queue = append(other.queue, Change{Lost: []int32{p}})
		give()
	}
}
