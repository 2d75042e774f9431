//go:build !linux

package testbed

// memoryDir is a file system in memory.
const memoryDir = ""

// freeInMemory returns the bytes free in memoryDir; 0 = there is none.
func freeInMemory() int64 { return 0 }
