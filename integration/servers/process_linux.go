//go:build real

package servers

import "syscall"

// attributes make a server a process group, and let it die with the tests.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
