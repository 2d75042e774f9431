//go:build linux || darwin || freebsd || dragonfly

package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// volumeOf tells which volume a directory is on, and what is free there; false: the
// system does not say.
func volumeOf(dir string) (volume, bool) {
	var fs unix.Statfs_t
	st, err := os.Stat(dir)
	if err != nil || unix.Statfs(dir, &fs) != nil {
		return volume{}, false
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return volume{}, false
	}
	return volume{device: uint64(s.Dev), free: int64(uint64(fs.Bavail) * uint64(fs.Bsize))}, true
}
