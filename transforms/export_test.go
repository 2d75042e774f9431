package transforms

import "slices"

// Checksummed appends the checksum of a part.
func Checksummed(b []byte) []byte { return appendCRC(slices.Clone(b), 0) }
