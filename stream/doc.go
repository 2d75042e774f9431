// Package stream folds a view's source into an online store, exactly once: the
// worker assigned → marks → poll → apply → flush → commit. It declares the
// ports it works through (ports.go) and knows neither Kafka nor Redis; the wall
// clock, sleeping and random tokens are injected, so that a simulator can drive
// it step by step.
//
// What it holds to (numbers as in DESIGN):
//
//   - O1 The states of one (shard, partition) and its marker change in one
//     write, whose condition is the marker last read. The marker's token is new
//     with every write.
//   - O1 A write whose reply was lost is never repeated: the states held in
//     memory are dropped, the marker is read again, the log is read again from
//     there. A worker that loses to another's writes twice in a row stands by.
//   - O2 A marker that went back (the store lost acknowledged writes) is a lost
//     write like any other: memory is dropped, the log rewound to the marker. A
//     missing marker is bootstrapped from Options.Origin: the log's start where
//     that still reaches back, or states at a cut that the log goes on from; else
//     it is refused. Bootstrap takes the marker first, sets the position last.
//   - K3 Nothing is reset: what cannot be continued is a typed error (errors.go).
//   - K4 A marker's position is a whole prefix of the partition: every record
//     below it is in the states, none at or beyond it.
//   - Ownership: with a Membership the worker has the partitions that its group
//     gave it. Revoked ones are written before the group goes on, lost ones are
//     not. That two never write at once does not rest on it (O1).
//   - B6 A Guard is asked before every write of what was folded: what it holds stays in
//     memory, the partition is read no further, and nothing written is undone. What it
//     counts, it counts once, also where a record is folded again.
//   - V8 What is quarantined is acknowledged before the marker passes it.
//   - Unflushed states are never evicted, flushed ones may be at any time.
//
// # The clock
//
// Markers of one partition differ after a crash. The partition is read once,
// from the least of them, and its clock continues from the one recorded there;
// a shard passes over what lies below its own marker, and when the reading gets
// there the clock must be the one that marker recorded (*ClockError).
//
// # Two hazards that are not obvious
//
// A state is loaded after the marker was read, and may belong to another one:
// another worker wrote in between, or the store has failed over to an older
// copy. As a rule that makes our next write fail, so that no harm is done; but
// the store may lose the other's write, or fail back, and then our marker is
// there again and the write succeeds. So states are loaded together with the
// marker that they belong to, and one that is not ours counts as a lost write
// (partition.load).
//
// transforms.State.TakeChanged forgets what it tells. A write that the store
// refused for want of memory is repeated, so the hours told are kept with the
// entry until a write that carries them is acknowledged. Likewise the version of the
// old part: what is in the store is that of the last acknowledged write (entry.old).
//
// # If debugging X, read Y
//
//   - a partition that stands still: Worker.Status and its Why, then partition.later (a
//     store or a quarantine that fails), partition.standBy and partition.hold (guard.go).
//   - wrong counts after a crash: partition.moveTo and partition.rewind.
//   - memory: cache.go and partition.shrink; Options.CacheBytes bound what is held,
//     clean, dirty or to be quarantined. A partition that waits reads no further.
package stream
