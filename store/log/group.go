package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ErrGroupHasMembers says that only members may commit offsets for a group.
var ErrGroupHasMembers = errors.New("the group has members")

// CommitOffsets commits next offsets for a consumer group without members, as
// a gauge of its lag for Kafka's own tools: nothing is ever read from there (K4).
// Where the group has members the error wraps ErrGroupHasMembers.
func (c *Client) CommitOffsets(ctx context.Context, group, topic string, next map[int32]int64) error {
	var o kadm.Offsets
	for p, at := range next {
		o.AddOffset(topic, p, at, -1)
	}
	err := c.adm.CommitAllOffsets(ctx, group, o)
	for _, refused := range []error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.StaleMemberEpoch, kerr.RebalanceInProgress} {
		if errors.Is(err, refused) {
			err = fmt.Errorf("%w: %w", ErrGroupHasMembers, err)
			break
		}
	}
	if err != nil {
		return fmt.Errorf("group %s: commit offsets of topic %s: %w", group, topic, err)
	}
	return nil
}
