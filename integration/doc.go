// Package integration holds what judges the whole from outside; it has tests
// only.
//
//   - oracle: brute force over raw records, sharing no code with the engine
//     (DESIGN R6). Its rules follow the executable model of the fold.
//   - scenario_test.go, generate_test.go: random views and the logs to fold.
//   - engine_test.go: drives the engine, keeps its states by (entity, partition).
//   - property_test.go and the files named after a rule: the properties of
//     V1-V12, K8 and B5, for many seeded histories. `go test -run Properties
//     -seeds 20000` runs more of them, `-seed N` one alone.
//   - golden_test.go, testdata/boundaries.csv: window boundaries worked out by
//     hand (V3, V10).
package integration
