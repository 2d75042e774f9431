// Package schemas holds what every other package speaks in: typed values,
// instants, Kafka records and positions, decoded events, log clocks and cuts.
// It knows nothing of features. Avro lives in schemas/avro, the places that
// writer schemas come from in schemas/registry.
package schemas
