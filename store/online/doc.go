// Package online is the Redis adapter: the online store of views, on Redis 7 or
// Valkey, standalone, behind Sentinel or as a Cluster. It knows how states and
// markers lie in keys and how they change in one unit; what they mean is package
// transforms' and transforms/marker's.
//
// # Layout
//
// V stands for `view:fingerprint:shard`, the view's name, the 32 hex digits of
// its fingerprint and the shard in decimal; the braces make all keys of a shard
// lie in one slot of a Cluster. Entities are canonical bytes (transforms.
// EncodeEntity), a shard is transforms.EntityShard of them.
//
//	{V}:e:<entity>  hash: field <partition> → served part (transforms/codec.go)
//	{V}:o:<entity>  hash: field <partition>:<hour> → one field of the open part;
//	                hour = event time / 1 h, floored. Serving never reads it.
//	{V}:m:<partition>  string: the marker (transforms/marker)
//	{V}:p           set of the partitions that have had a marker
//	{V}:held        string, of shard 0: what holds back the stream (store/gate), JSON
//	{view}:live     string: the fingerprint that readers use
//
// Partitions and hours are decimal. Nothing else is kept, nothing expires by
// itself.
//
// # What it holds to
//
//   - O1 A write is WATCH marker, GET marker, compare, MULTI … SET marker, EXEC.
//     There are no scripts and no MULTI outside of a WATCH. go-redis repeats
//     commands by itself, but not these: within Watch all go over one
//     connection, and once that breaks it refuses to go on.
//   - Reads that have to agree with a marker (Load, Walk, Scan) go over one
//     connection to one node, the marker last: on the timeline of one node a
//     marker that is still the same means that nothing was written before it.
//     Hence they ask for a Cluster's node and use that, as a Cluster's own
//     pipelines follow redirections command by command.
//   - O3 Without maxmemory-policy noeviction it refuses to start. A write that
//     fails for want of memory was not done: marker.ErrFull.
//   - O4 Answers name the positions of markers that were read before the fields.
package online
