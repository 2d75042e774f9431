//go:build !unix

package offline

import (
	"errors"
	"os"
)

// scratchBlob is a copy of an object in a file of ours.
type scratchBlob struct{ localBlob }

// unnamed does nothing: here a file that is open keeps its name until Close.
func (b *scratchBlob) unnamed() {}

// Close implements Blob.
func (b *scratchBlob) Close() error { return errors.Join(b.localBlob.Close(), os.Remove(b.Name())) }
