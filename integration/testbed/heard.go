package testbed

import (
	"bytes"
	"sync"
)

// Heard is what a command has written so far, for others to read meanwhile.
type Heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (h *Heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(b)
}

func (h *Heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}
