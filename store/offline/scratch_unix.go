//go:build unix

package offline

import "os"

// scratchBlob is a copy of an object in a file of ours.
type scratchBlob struct{ localBlob }

// unnamed lets the file go with its last user, however that ends.
func (b *scratchBlob) unnamed() { os.Remove(b.Name()) }
