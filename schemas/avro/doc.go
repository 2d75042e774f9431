// Package avro reads Avro: schema text, the Confluent frame, and record bodies
// through a projecting decoder compiled from a writer and a reader schema
// (DESIGN §8). goavro is its conformance oracle, in tests only.
//
// Invariants:
//
//   - A1 Every body is walked to its last byte, projected or not, so whether a
//     body is well-formed never depends on the paths asked for (S3, V6). Only
//     what the reader schema itself demands of a projected value can add a
//     failure: a union branch or an enum symbol that the reader does not have,
//     bytes read as a string that are not UTF-8.
//   - A2 Malformed or hostile bytes give a *DecodeError; nothing is allocated in
//     proportion to what the bytes claim (S3).
//   - A3 Nothing is allocated on the success path. Text aliases the body.
//   - A4 Only aliases and Avro promotions resolve by themselves. A field the
//     writer lacks, and any change of logical type, is refused unless the caller
//     says otherwise (S2), at any depth that a path leads to: there is never a
//     silent null. An item or a key that is not there is null, as it says.
//
// What can be read of a body is in path.go. Items of arrays and values of maps
// that nobody reads are walked, not resolved.
//
// Depth counts the records, arrays and maps around a value, below the top
// record; unions do not count.
package avro
