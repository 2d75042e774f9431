package spill

import (
	"fmt"
	"sync"

	"github.com/tallystick/tallystick/store/files"
)

// Disk is where a job leaves files, and how much they may take together (B3). Its
// zero value and nil have no limit.
type Disk struct {
	Files files.Files // nil = the operating system's
	limit int64

	mu   sync.Mutex
	used int64
}

// NewDisk returns a budget of limit bytes; 0 = no limit.
func NewDisk(limit int64) *Disk { return &Disk{limit: limit} }

func (d *Disk) system() files.Files {
	if d == nil || d.Files == nil {
		return files.OS{}
	}
	return d.Files
}

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
