// Package integration holds what judges the whole from outside; it has tests
// only.
//
//   - testbed: embedded Kafka and Redis, and a small source, for all tests.
//   - oracle: brute force over raw records, sharing no code with the engine
//     (DESIGN R6). Its rules follow the executable model of the fold.
//   - scenario_test.go, generate_test.go: random views and the logs to fold.
//   - engine_test.go: drives the engine, keeps its states by (entity, partition).
//   - property_test.go: the properties of V1-V12 after every record of many
//     seeded histories; closed_test.go closed tiles, boundaries and retention
//     (V4, V11), shadow_test.go what a store holds (O1), daily_test.go ranges
//     through tables and remainders (B5) and complete knowledge, training_test.go
//     values at the clock (§10). `go test -run Properties -seeds 20000` runs more
//     of them, `-seed N` one alone.
//   - start_test.go: folds that start late (K8), and count_distinct (V2).
//   - hostile_test.go: bytes that Encode does not write (S3); readers at once.
//   - e2e_*_test.go: the built program on random projects, bit by bit; bad input.
//     `go test -run EndToEnd -e2e 200` runs more, `-e2e 1 -e2e-from N` one alone.
//   - golden_test.go, testdata/boundaries.csv: window boundaries worked out by
//     hand (V3, V10).
package integration
