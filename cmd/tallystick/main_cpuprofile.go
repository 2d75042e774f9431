//go:build cpuprofile

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// A program built with this tag leaves a profile of its processor time in the directory
// that CPUPROFILE names: `make pgo`.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f, err := os.Create(fmt.Sprintf("%s/%d.pprof", os.Getenv("CPUPROFILE"), os.Getpid()))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "CPUPROFILE:", err)
		os.Exit(1)
	}
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "CPUPROFILE:", err)
		code = 1
	}
	os.Exit(code)
}
