// Package real holds the tests that need real servers: the built program against
// Kafka and Redis from integration/servers, each test with one kind of fault. Run
// them with `make test-real`; they need the build tag real.
//
// # What a test of a fault shows
//
// The fault happened: its own evidence (acknowledged writes lost, transactions
// refused, records aborted, …) is above zero, else the test fails. And nothing
// came of it (rig.verdict):
//
//   - `tallystick reconcile` finds the online store equal to a replay of the same
//     log, with no denominator of zero;
//   - every state and marker in Redis is, byte for byte, that of a fold of the log
//     which the test does by itself;
//   - the ledgers and the count of every entity are those that the producer of the
//     events knows, who numbers them: nothing lost, nothing twice.
//
// Where a fault must stop the program, the test holds its message word for word
// and the command that heals it.
//
// # Sizes
//
// -short is what CI runs. Without it the figures of docs/reliability.md come out;
// -write puts them there.
package real
