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

// CheckRead asks for nothing at the end of a topic, to find out whether this
// client may read it: a stream should not begin to write before that is known.
// What may pass is no error.
func (c *Client) CheckRead(ctx context.Context, topic string) error {
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return err
	}
	f, err := c.newFetcher(ctx, Ref{Name: topic})
	if err != nil {
		return err
	}
	for p, end := range ends {
		if _, err = f.once(ctx, p, end, f.c.o.FetchBytes, 0); err != nil {
			if final, err := f.diagnose(ctx, p, end, err); final {
				return err
			}
		}
		break // rights are of a topic
	}
	return nil
}
