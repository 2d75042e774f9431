//go:build cpuprofile

package main

import (
	"fmt"
	"os"
	"runtime/pprof"
)

// profiled leaves a profile of fn's processor time in the directory that CPUPROFILE
// names: `make pgo`.
func profiled(fn func() int) int {
	f, err := os.Create(fmt.Sprintf("%s/%d.pprof", os.Getenv("CPUPROFILE"), os.Getpid()))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	code := 1
	if err == nil {
		code = fn()
		pprof.StopCPUProfile()
		err = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "CPUPROFILE:", err)
		return 1
	}
	return code
}
