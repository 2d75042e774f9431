package log

import "github.com/twmb/franz-go/pkg/kgo"

// pageSize is how many bytes the next page of a partition may have as compressed: as
// many as unpack to about unpackedBytes. A log that repeats itself unpacks to fifty
// times its size, and of a page, as it comes, all is in memory (B3).
type pageSize struct{ now, most int32 }

// A page unpacks to unpackedBytes, with what its records take besides. The first one is
// small, as nothing is known yet; no page is asked for that has less than leastFetch.
const (
	unpackedBytes = 4 << 20
	recordBytes   = 128
	firstFetch    = 32 << 10
	leastFetch    = 16 << 10
)

// after goes by what a page has unpacked to.
func (s *pageSize) after(recs []*kgo.Record) {
	unpacked := int64(1)
	for _, r := range recs {
		unpacked += int64(len(r.Key) + len(r.Value) + recordBytes)
	}
	next := max(min(int64(s.now)*unpackedBytes/unpacked, 4*int64(s.now)), leastFetch)
	s.now = int32(min(next, int64(s.most)))
}
