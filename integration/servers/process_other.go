//go:build real && !linux

package servers

import "syscall"

// attributes make a server a process group.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
