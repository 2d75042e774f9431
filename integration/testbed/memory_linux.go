package testbed

import "syscall"

// memoryDir is a file system in memory.
const memoryDir = "/dev/shm"

// freeInMemory returns the bytes free in memoryDir; 0 = there is none.
func freeInMemory() int64 {
	var fs syscall.Statfs_t
	const tmpfs = 0x01021994
	if syscall.Statfs(memoryDir, &fs) != nil || fs.Type != tmpfs {
		return 0
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}
