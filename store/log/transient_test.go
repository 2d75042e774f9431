package log

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"
)

// B4: a broken connection is worth another try, a disk that is full or broken is not.
func TestTransient(t *testing.T) {
	for err, want := range map[error]bool{
		&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}: true,
		&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}:                    false,
		&os.LinkError{Op: "rename", Old: "x", New: "y", Err: syscall.EIO}:             false,
	} {
		if got := Transient(fmt.Errorf("unit: %w", err)); got != want {
			t.Errorf("%v: transient %v", err, got)
		}
	}
}
