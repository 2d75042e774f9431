// Package log is the Kafka adapter: it describes topics, fixes cuts, reads
// bounded ranges and follows partitions, and appends ticks and quarantined
// records. It knows nothing of schemas, views or stores.
//
// What it holds to (numbers as in DESIGN §5):
//
//   - K1 A bounded read ends when its position reaches the end of the range,
//     and only then. The position moves over control records, aborted records
//     and compaction holes, none of which are delivered. A fetch that returns
//     nothing is not an end; offsets are never subtracted to count records.
//   - K2 Everything is read with isolation read_committed, and a cut ends at
//     the last stable offset.
//   - K3 Nothing is ever reset. What cannot be read is a typed error
//     (errors.go) that says what is lost and which command accepts it.
//   - K4 A Member only keeps its place in a consumer group: it fetches nothing and
//     reads no committed offset. What it and CommitOffsets commit is a gauge.
//   - K5 OffsetsAfter is a hint for where to start, never for where to end.
//   - K6 Topic.CheckEventSource refuses a compacted topic, CheckTableSource one
//     that is compacted and deleted from.
//   - K7 Client.Tick appends the records that move an idle partition's clock.
//
// # If debugging X, read Y
//
//   - a replay that hangs or ends early: fetch.go. Bounded reads do not use
//     franz-go's consumer, because a consumer does not show its position: when
//     a range ends in aborted records whose marker lies beyond the last stable
//     offset, it delivers nothing at all, for ever. They issue Fetch requests
//     themselves and let kgo.ProcessFetchPartition tell the next offset.
//   - a stream whose position stands still before a cut's end: Tailer.settle
//     in tail.go, which closes the same gap for the consumer.
//   - retries: fetcher.page in fetch.go decides for reads; franz-go does for
//     everything else.
package log
