package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// asProgram is a variable that makes the tests' binary the program itself, for
// tests that need a process of its own.
const asProgram = "RUN_AS_TALLYSTICK"

// TestMain takes the addresses out of the environment: who has set them as the
// README says would have the tests write to those servers.
func TestMain(m *testing.M) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "TALLYSTICK_") {
			os.Unsetenv(name)
		}
	}
	if os.Getenv(asProgram) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
