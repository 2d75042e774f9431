package log

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// CommitOffsets commits next offsets for a consumer group without members, as
// a gauge of its lag for Kafka's own tools: nothing is ever read from there (K4).
func (c *Client) CommitOffsets(ctx context.Context, group, topic string, next map[int32]int64) error {
	var o kadm.Offsets
	for p, at := range next {
		o.AddOffset(topic, p, at, -1)
	}
	if err := c.adm.CommitAllOffsets(ctx, group, o); err != nil {
		return fmt.Errorf("group %s: commit offsets of topic %s: %w", group, topic, err)
	}
	return nil
}
