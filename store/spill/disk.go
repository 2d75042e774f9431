package spill

import (
	"fmt"
	"sync"
)

// Disk is what the sorters of a job may spill together (B3). Its zero value and
// nil have no limit.
type Disk struct {
	limit int64

	mu   sync.Mutex
	used int64
}

// NewDisk returns a budget of limit bytes; 0 = no limit.
func NewDisk(limit int64) *Disk { return &Disk{limit: limit} }

// take asks for n bytes; the error is ErrDisk.
func (d *Disk) take(n int64) error {
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

// give returns what was taken.
func (d *Disk) give(n int64) {
	if d != nil {
		d.mu.Lock()
		d.used -= n
		d.mu.Unlock()
	}
}
