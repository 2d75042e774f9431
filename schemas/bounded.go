package schemas

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// ReadFile reads a file of text that somebody has named, no more of it than most bytes: it
// may be a device without an end. A byte order mark, with which editors may begin it, is
// left out.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes: name another file", path, most)
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), err
}
