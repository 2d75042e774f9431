package wire

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Membership is a process's place in a consumer group. It is a stream.Membership.
type Membership struct {
	client *log.Client
	o      log.GroupOptions
	member atomic.Pointer[log.Member] // nil = not yet
}

// NewMembership returns a place that is not taken before Changes is called.
func NewMembership(client *log.Client, o log.GroupOptions) *Membership {
	return &Membership{client: client, o: o}
}

// Check tells whether the group may be joined, and changes nothing.
func (m *Membership) Check(ctx context.Context) error { return m.client.CheckGroup(ctx, m.o) }

// Changes returns what the group has decided since the last call. The first call
// joins the group.
func (m *Membership) Changes(ctx context.Context) ([]stream.Change, error) {
	member := m.member.Load()
	if member == nil {
		var err error
		if member, err = m.client.Join(ctx, m.o); err != nil {
			return nil, outside(err)
		}
		m.member.Store(member)
	}
	cs, err := member.Changes()
	out := make([]stream.Change, len(cs))
	for i, c := range cs {
		out[i] = stream.Change(c)
	}
	return out, outside(err)
}

// Commit tells the group where its partitions stand.
func (m *Membership) Commit(ctx context.Context, next map[int32]int64) error {
	member := m.member.Load()
	if member == nil {
		return nil
	}
	return member.Commit(ctx, next)
}

// Close leaves the group, if it was joined. No other method is called any more.
func (m *Membership) Close(ctx context.Context) error {
	member := m.member.Load()
	if member == nil {
		return nil
	}
	return member.Close(ctx)
}

// outside marks an error that keeps this process out of its group for now; what an
// operator has to put right stays as it is.
func outside(err error) error {
	var (
		group *log.GroupError
		auth  *log.UnauthorisedError
		topic *log.MissingTopicError
	)
	if err == nil || errors.As(err, &group) || errors.As(err, &auth) || errors.As(err, &topic) {
		return err
	}
	return away{err}
}

// away is an error that may pass.
type away struct{ error }

// Is implements the interface that errors.Is looks for.
func (a away) Is(target error) bool { return target == marker.ErrUnavailable }

func (a away) Unwrap() error { return a.error }
