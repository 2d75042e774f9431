package wire

import (
	"errors"

	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Membership is a process's place in a consumer group. It is a stream.Membership.
type Membership struct{ Member *log.Member }

// Changes returns what the group has decided since the last call.
func (m Membership) Changes() ([]stream.Change, error) {
	cs, err := m.Member.Changes()
	out := make([]stream.Change, len(cs))
	for i, c := range cs {
		out[i] = stream.Change(c)
	}
	return out, outside(err)
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
