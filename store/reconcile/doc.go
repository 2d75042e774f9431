// Package reconcile compares the online and the offline store of a view over all
// keys, names the cause of every difference, and says what it could not compare.
// It imports formats and Value only (R6): the stores and the log are reached
// through the ports in ports.go, wired in cmd.
//
//	ports.go   Online, Offline, Replayer
//	frame.go   what is within reach: boundaries, clocks, positions
//	run.go     shard by shard: a merge join of sorted streams
//	entity.go  the states of one entity: read, judged, compared
//	values.go  values at the closed boundaries, and R2
//	ledger.go  ledgers, and the verdict
//	cause.go   who is right: causes, with the help of a replay
//	report.go  what is said, print.go as text
//
// # What is compared (R1)
//
// The closed boundary of a level, B_h, is the greatest multiple of its hop at
// or before the least clock, of the markers and the cut, over all partitions,
// minus lateness. Markers are read before the states, so every state stands at or
// beyond the positions that B_h follows from.
//
//   - Tiles, per (entity, partition, level), byte for byte: those that end at or
//     before B_h and after the later of the partition's two clocks - retention.
//     The partition's clock, not the state's: a state that no record advances
//     keeps tiles that another copy of it, advanced, has dropped. This marker is
//     read after the states, so that none stands beyond it. The offline tiles are
//     rows of the table; the online ones are those of the state trimmed at the
//     finest level's B_h (V11). A state that holds nothing equals a missing one.
//   - Values at B_h, per (entity, feature), of all partitions, each feature at the
//     boundary of its own level, where all tiles that it needs are within reach on
//     both sides. The offline state is the open remainder with the closed tiles
//     put back (B5). ABSENT says something of all windows, so where one of them is
//     out of reach, no ABSENT is compared. A unit that is ABSENT on both sides is
//     not counted. Lifetime is compared by value only, while the later clock -
//     retention < B_h: beyond, the base has taken in what came after B_h.
//   - The features table's rows as of its last closed boundary, with the values of
//     the online states. A row that contradicts the tiles beside it is wrong by
//     that alone.
//   - Ledgers, per (shard, partition), where both sides stand at one position.
//   - Windows and tiles that begin at or before valid_from are INCOMPLETE (K8) and
//     are not compared.
//
// # Causes (R3)
//
// Every difference has exactly one. The first that fits:
//
//   - definition: readers of the online store, or the tables, use another
//     fingerprint. Nothing else is compared then.
//   - lag: a (shard, partition) is being bootstrapped, or went back while it was
//     read. It is left out of the comparison.
//   - missing: a marker, a state, its served or open part, a tile, a row is on one
//     side alone; Side says where it is missing. A replay that does not know it
//     either makes the other side corrupt.
//   - corrupt: bytes that fail their checksum or do not parse; a state whose clock
//     or last offset lies beyond its marker. Side says which side is wrong.
//   - history: tiles differ, the two sides' folds began at different positions
//     (K8), and the source has ids, which may have moved across the start.
//   - late: a record came after the cut with a timestamp older than what close_idle
//     had closed (K7), and what the tables have was true at the cut.
//   - corrupt also: content that differs from the other side's, where a replay of
//     the entity up to the cut gives exactly the other side's. What is closed has
//     the same bytes at every later position, so one replay judges both sides.
//   - logic: what fits none. That is a bug and printed as such. Without a
//     Replayer, content that differs cannot be told from corruption and stands
//     here.
//
// A value that differs follows from the first difference in a state of its entity
// and has that one's cause. open explains differences between moments, as in the
// waterfall of a served value (R4): closed windows have none.
package reconcile
