package log

import "context"

// Ends returns the last stable offset of every partition of a topic, as a reader
// of committed records sees it. Partitions that have no leader now are left out.
func (c *Client) Ends(ctx context.Context, topic string) (map[int32]int64, error) {
	listed, err := c.adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, c.callErr(ctx, "the ends of topic "+topic, err)
	}
	ends := map[int32]int64{}
	for _, o := range listed[topic] {
		if o.Err == nil {
			ends[o.Partition] = o.Offset
		}
	}
	return ends, nil
}
