package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
)

// asProgram is a variable that makes the tests' binary the program itself, for
// tests that need a process of its own.
const asProgram = "RUN_AS_TALLYSTICK"

// TestMain runs the tests, or the program.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		testbed.CleanEnvironment()
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(run(ownProcess(ctx), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(testbed.Run(m))
}
