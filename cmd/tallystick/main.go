// Command tallystick keeps features over Kafka event streams in an online and an
// offline store and shows that both agree.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	os.Exit(profiled(func() int { return run(ownProcess(ctx), os.Args[1:], os.Stdout, os.Stderr) }))
}
