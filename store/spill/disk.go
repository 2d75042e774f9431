package spill

import (
	"fmt"
	"sync"
)

// Disk is what a job may leave in files together (B3). Its zero value and
// nil have no limit.
type Disk struct {
	limit int64

	mu   sync.Mutex
	used int64
}

// NewDisk returns a budget of limit bytes; 0 = no limit.
func NewDisk(limit int64) *Disk { return &Disk{limit: limit} }

// Take asks for n bytes; the error is ErrDisk.
func (d *Disk) Take(n int64) error {
	if d == nil || d.limit == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.used+n > d.limit {
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrDisk, d.used+n, d.limit)
	}
	d.used += n
	return nil
}

// Give returns what was taken. What had no limit was not.
func (d *Disk) Give(n int64) {
	if d != nil && d.limit != 0 {
		d.mu.Lock()
		d.used -= n
		d.mu.Unlock()
	}
}
